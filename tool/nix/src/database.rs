//! The database by which Nix knows what is in its store.

use std::collections::BTreeMap;

use ociseed_spec::StorePathName;
use rusqlite::{Connection, params};

use crate::graph::{Graph, StorePath};

/// What `/nix/var/nix/db/schema` says: the version of the database's tables since Nix 2.0.
pub const SCHEMA: &str = "10";

/// Says why no database could be made.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite's own words.
    #[error("cannot make a database of Nix")]
    Sqlite(#[from] rusqlite::Error),
    /// A number that a database cannot hold.
    #[error("`{0}` has more bytes than a database can say")]
    Size(String),
}

/// The tables of schema 10, as Nix makes them (`src/libstore/schema.sql` of its source): names, columns, keys and what follows a
/// removal are what its queries and its garbage collection go by.
const TABLES: &str = "
CREATE TABLE ValidPaths (
    id               INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    path             TEXT UNIQUE NOT NULL,
    hash             TEXT NOT NULL,
    registrationTime INTEGER NOT NULL,
    deriver          TEXT,
    narSize          INTEGER,
    ultimate         INTEGER,
    sigs             TEXT,
    ca               TEXT
);
CREATE TABLE Refs (
    referrer  INTEGER NOT NULL,
    reference INTEGER NOT NULL,
    PRIMARY KEY (referrer, reference),
    FOREIGN KEY (referrer) REFERENCES ValidPaths(id) ON DELETE CASCADE,
    FOREIGN KEY (reference) REFERENCES ValidPaths(id) ON DELETE RESTRICT
);
CREATE INDEX IndexReferrer ON Refs(referrer);
CREATE INDEX IndexReference ON Refs(reference);
CREATE TRIGGER DeleteSelfRefs BEFORE DELETE ON ValidPaths
BEGIN
    DELETE FROM Refs WHERE referrer = old.id AND reference = old.id;
END;
CREATE TABLE DerivationOutputs (
    drv  INTEGER NOT NULL,
    id   TEXT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (drv, id),
    FOREIGN KEY (drv) REFERENCES ValidPaths(id) ON DELETE CASCADE
);
CREATE INDEX IndexDerivationOutputs ON DerivationOutputs(path);
";

/// Makes the database for all paths of a graph; the same one each time.
///
/// Paths are registered at time 0, without the derivation that made them and without signatures.
///
/// # Errors
/// Only what SQLite may say of its memory, and sizes that no file has.
pub fn database(graph: &Graph) -> Result<Vec<u8>, DatabaseError> {
    let mut connection = Connection::open_in_memory()?;
    // What it would take of the library's build.
    connection
        .execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = 0; PRAGMA encoding = 'UTF-8';")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    {
        let mut add = transaction.prepare(
            "INSERT INTO ValidPaths (id, path, hash, registrationTime, narSize) VALUES (?, ?, ?, 0, ?)",
        )?;
        let mut refer = transaction.prepare("INSERT INTO Refs (referrer, reference) VALUES (?, ?)")?;
        let numbers: BTreeMap<&StorePathName, i64> = graph.paths().map(|(name, _)| name).zip(1..).collect();
        for (name, StorePath { nar_hash, nar_size, .. }) in graph.paths() {
            let size = i64::try_from(*nar_size).map_err(|_| DatabaseError::Size(name.to_string()))?;
            add.execute(params![numbers[name], format!("{}/{name}", graph.directory()), nar_hash, size])?;
        }
        for (name, path) in graph.paths() {
            for reference in &path.references {
                refer.execute(params![numbers[name], numbers[reference]])?;
            }
        }
    }
    transaction.commit()?;
    Ok(connection.serialize("main")?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::graph;

    #[test]
    fn it_is_the_same_each_time_and_holds() {
        let references: Vec<Vec<usize>> =
            (0..300).map(|at| (at / 2..at).step_by(7).chain([at]).collect()).collect();
        let paths: Vec<_> = references.iter().enumerate().map(|(at, to)| (at, at as u64, &**to)).collect();
        let graph = graph(&paths);
        let bytes = database(&graph).expect("a database");
        assert_eq!(database(&graph).expect("a database"), bytes);
        let mut connection = Connection::open_in_memory().expect("memory");
        connection.deserialize_read_exact("main", &*bytes, bytes.len(), true).expect("a database");
        let text = |query: &str| connection.query_row(query, [], |row| row.get::<_, String>(0)).expect(query);
        assert_eq!(text("PRAGMA integrity_check"), "ok");
        let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0)).expect(query);
        assert_eq!(number("SELECT count(*) FROM ValidPaths"), 300);
        assert_eq!(
            number("SELECT count(*) FROM Refs"),
            i64::try_from(references.iter().map(Vec::len).sum::<usize>()).expect("few")
        );
        assert_eq!(number("SELECT count(*) FROM pragma_foreign_key_check"), 0);
        // The first refers to itself alone, and many refer to it.
        assert_eq!(number("SELECT count(*) FROM Refs WHERE referrer = 1"), 1);
        assert!(number("SELECT count(*) FROM Refs WHERE reference = 150") > 1);
        assert_eq!(number("SELECT max(narSize) FROM ValidPaths"), 299);
        assert!(text("SELECT path FROM ValidPaths WHERE id = 300").ends_with("299-n299"));
    }
}
