//! The canonical listing of a tree: one line of JSON a path, with everything that is known of it.
//!
//! `docs/format.md`, section "Listings", is the contract. Two trees are the
//! same file system exactly if their listings are the same bytes.

use std::io::Write;

pub use ociseed_spec::escape;
pub use ociseed_spec::listing::Line;
use ociseed_spec::{DeviceKind, Digest, Hasher, TreePath};

use crate::{Content, Entry, Node, ReadError, Tree};

/// Describes one path; a file's bytes are read for their digest.
///
/// # Errors
/// A file cannot be read or is not what it was.
pub fn line(path: &TreePath, entry: &Entry) -> Result<Line, ReadError> {
    line_with(path, entry, None)
}

/// Describes one path; a file's bytes are read only where their digest is not known.
fn line_with(path: &TreePath, entry: &Entry, known: Option<Digest>) -> Result<Line, ReadError> {
    let mut line = Line::new(path, kind(&entry.node));
    match &entry.node {
        Node::Link(first) => return Ok(line.with_link(first)),
        Node::Whiteout => return Ok(line),
        Node::Directory { opaque } => line.opaque = *opaque,
        Node::File(content) => {
            (line.size, line.digest) =
                (Some(content.size()), Some(known.map_or_else(|| digest(content), Ok)?));
        }
        Node::Symlink(target) => line = line.with_target(target),
        Node::Device(device) => (line.major, line.minor) = (Some(device.major), Some(device.minor)),
        Node::Fifo => {}
    }
    let stat = &entry.stat;
    line.user = stat.user().map(|name| escape(name.as_bytes()));
    line.group = stat.group().map(|name| escape(name.as_bytes()));
    let xattrs = stat.xattrs().iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    Ok(line.with_stat(stat.mode, stat.owner, stat.mtime).with_xattrs(xattrs))
}

/// Returns the word for what a path is.
pub fn kind(node: &Node) -> &'static str {
    match node {
        Node::Directory { .. } => "directory",
        Node::File(_) => "file",
        Node::Symlink(_) => "symlink",
        Node::Link(_) => "link",
        Node::Device(device) if device.kind == DeviceKind::Block => "block",
        Node::Device(_) => "char",
        Node::Fifo => "fifo",
        Node::Whiteout => "whiteout",
    }
}

/// Reads a file's bytes for their digest.
///
/// # Errors
/// The file cannot be read or is not what it was.
pub fn digest(content: &Content) -> Result<Digest, ReadError> {
    let mut hasher = Hasher::new();
    content.copy_to(&mut hasher)?;
    Ok(hasher.finish())
}

/// Writes the canonical listing and returns its digest, the tree digest.
///
/// # Errors
/// A file cannot be read or is not what it was, or `out` cannot be written.
pub fn write(tree: &Tree, out: &mut (impl Write + ?Sized)) -> Result<Digest, ReadError> {
    write_with(tree, &|_| None, out)
}

/// Computes the tree digest, reading only files whose digest `known` does not say.
///
/// # Errors
/// A file cannot be read or is not what it was.
pub fn tree_digest(tree: &Tree, known: &dyn Fn(&TreePath) -> Option<Digest>) -> Result<Digest, ReadError> {
    write_with(tree, known, &mut std::io::sink())
}

fn write_with(
    tree: &Tree,
    known: &dyn Fn(&TreePath) -> Option<Digest>,
    out: &mut (impl Write + ?Sized),
) -> Result<Digest, ReadError> {
    let mut hasher = Hasher::new();
    for (path, entry) in tree {
        let bytes = line_with(path, entry, known(path))?.encode();
        hasher.update(&bytes);
        out.write_all(&bytes).map_err(ReadError::Write)?;
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Claim, Precedence};

    #[test]
    fn every_byte_of_a_name_is_said() {
        for (bytes, text) in
            [(&b"a\\b"[..], "a\\\\b"), (b"\xff\xc3\xa9\xc3", "\\xff\u{e9}\\xc3"), (b"\n", "\n")]
        {
            assert_eq!(escape(bytes), text);
        }
    }

    #[test]
    fn lines_say_what_is_there() {
        let path = |text: &str| text.parse::<TreePath>().expect(text);
        let mut builder = Builder::new();
        let mut file = Entry::file(Content::bytes(*b"x"));
        file.stat
            .set_xattr("user.a".parse().expect("name"), ociseed_spec::XattrValue::new(b"b").expect("short"));
        let link = Entry { node: Node::Link(path("/d/f")), ..file.clone() };
        for (at, entry) in [
            ("/d/f", file),
            ("/l", link),
            ("/n", Entry::device("c 1:3".parse().expect("device"))),
            ("/w", Entry::whiteout()),
            ("/s", Entry::symlink(*b"\xff")),
        ] {
            builder.insert(path(at), entry, Claim::new(0, Precedence::Explicit));
        }
        let mut out = Vec::new();
        let digest = write(&builder.finish().expect("no conflict"), &mut out).expect("in memory");
        assert_eq!(digest, Digest::of(&out));
        let expected = [
            r#"{"gid":0,"kind":"directory","mode":"0755","mtime":"0","path":"/d","uid":0}"#,
            r#"{"digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","gid":0,"kind":"file","mode":"0644","mtime":"0","path":"/d/f","size":1,"uid":0,"xattrs":{"user.a":"62"}}"#,
            r#"{"kind":"link","link":"/d/f","path":"/l"}"#,
            r#"{"gid":0,"kind":"char","major":1,"minor":3,"mode":"0600","mtime":"0","path":"/n","uid":0}"#,
            r#"{"gid":0,"kind":"symlink","mode":"0777","mtime":"0","path":"/s","target":"\\xff","uid":0}"#,
            r#"{"kind":"whiteout","path":"/w"}"#,
        ];
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected.join("\n") + "\n");
    }
}
