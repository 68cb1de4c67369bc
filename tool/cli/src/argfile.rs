//! Arguments that stand in files, as build systems write them (docs/format.md, "Steps").

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::failure::Failure;
use crate::inputs::read_argument;

/// Returns the arguments of a process, the first of which is its name, with those that stand in files.
///
/// A single `@FILE` is replaced by the lines of the file; a program that is called otherwise than `ociseed` takes the lines of the
/// file `.args` beside it first.
///
/// # Errors
/// A file cannot be read.
pub(crate) fn expand(arguments: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, Failure> {
    let mut arguments: Vec<_> = arguments.collect();
    if let Some(file) = arguments.first().and_then(|program| beside(Path::new(program))) {
        let lines = read_lines(Path::new(&file))?;
        arguments.splice(1..1, lines);
        return Ok(arguments);
    }
    let [_, only] = arguments.as_slice() else { return Ok(arguments) };
    let Some(file) = only.as_bytes().strip_prefix(b"@").filter(|file| !file.is_empty()) else {
        return Ok(arguments);
    };
    let lines = read_lines(Path::new(OsStr::from_bytes(file)))?;
    arguments.truncate(1);
    arguments.extend(lines);
    Ok(arguments)
}

/// Returns the file with the arguments of a program that is called otherwise than `ociseed`, if there is one.
fn beside(program: &Path) -> Option<OsString> {
    // Without a directory it was found in some directory of PATH.
    let directory = program.parent().filter(|directory| !directory.as_os_str().is_empty());
    if directory.is_none() || program.file_name()? == "ociseed" {
        return None;
    }
    let mut file = program.as_os_str().to_owned();
    file.push(".args");
    Path::new(&file).is_file().then_some(file)
}

fn read_lines(file: &Path) -> Result<Vec<OsString>, Failure> {
    let text = read_argument(file)?;
    let lines = text.strip_suffix(b"\n").unwrap_or(&text);
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    Ok(lines.split(|byte| *byte == b'\n').map(|line| OsStr::from_bytes(line).to_owned()).collect())
}
