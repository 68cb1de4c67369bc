//! `@FILE`: arguments that stand in a file, as build systems write them (docs/format.md, "Steps").

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::failure::Failure;
use crate::inputs::read_argument;

/// Returns the arguments of a process, the first of which is its name; a single `@FILE` is replaced by the lines of the file.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn expand(arguments: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, Failure> {
    let mut arguments: Vec<_> = arguments.collect();
    let [_, only] = arguments.as_slice() else { return Ok(arguments) };
    let Some(file) = only.as_bytes().strip_prefix(b"@").filter(|file| !file.is_empty()) else {
        return Ok(arguments);
    };
    let text = read_argument(Path::new(OsStr::from_bytes(file)))?;
    arguments.truncate(1);
    let lines = text.strip_suffix(b"\n").unwrap_or(&text);
    if !lines.is_empty() {
        arguments.extend(lines.split(|byte| *byte == b'\n').map(|line| OsStr::from_bytes(line).to_owned()));
    }
    Ok(arguments)
}
