//! Which digest the lock must have: what a flag says, and what the kernel's command line says.

use std::io;

use ociseed_spec::{Digest, DigestError};

/// The key on the kernel's command line.
const KEY: &str = "ociseed.expect-seed=";

/// Where the kernel shows it.
const COMMAND_LINE: &str = "/proc/cmdline";

/// Says why it is not known which digest a lock must have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExpectError {
    /// The command line cannot be read, so whatever it asks for would be passed over.
    #[error("cannot read `{COMMAND_LINE}`")]
    Read(#[source] io::Error),
    /// It asks for something that no lock can have.
    #[error("`{COMMAND_LINE}`: `{KEY}`")]
    Digest(#[source] DigestError),
}

/// Returns the digests that the lock must have, each of them.
///
/// # Errors
/// The kernel's command line cannot be read, or names no digest where it should.
pub(crate) fn expected(flag: Option<Digest>) -> Result<Vec<Digest>, ExpectError> {
    let line = std::fs::read(COMMAND_LINE).map_err(ExpectError::Read)?;
    let mut expected = on_command_line(&String::from_utf8_lossy(&line)).map_err(ExpectError::Digest)?;
    expected.extend(flag);
    Ok(expected)
}

/// Finds our key among the words of a command line; the kernel takes quotes around a word or around its value.
fn on_command_line(line: &str) -> Result<Vec<Digest>, DigestError> {
    let mut found = Vec::new();
    for word in line.split_whitespace() {
        if let Some(value) = word.trim_matches('"').strip_prefix(KEY) {
            found.push(value.trim_matches('"').parse()?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digest_of_the_command_line_counts() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let cases = [
            (String::new(), vec![]),
            ("quiet root=/dev/vda expect-seed=no".to_owned(), vec![]),
            (format!("quiet {KEY}{a} rw\n"), vec![a]),
            (format!("\"{KEY}{a}\" {KEY}\"{b}\""), vec![a, b]),
        ];
        for (line, digests) in cases {
            assert_eq!(on_command_line(&line), Ok(digests), "{line}");
        }
        for bad in ["", "sha256:", "none"] {
            assert!(on_command_line(&format!("{KEY}{bad}")).is_err(), "{bad}");
        }
    }
}
