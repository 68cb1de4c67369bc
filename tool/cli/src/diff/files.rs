//! What changed in a file system.

use std::fmt;

use ociseed_tree::listing::{self, Line};
use ociseed_tree::{Entry, Tree};
use serde::Serialize;
use serde_json::Value;

use super::documents::{ValueChange, compare_values};
use crate::failure::{Failure, chain};

/// A path that is on one side only, or that is another.
#[derive(Debug, Serialize)]
pub(super) struct FileChange {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<Line>,
    /// What differs, of a path on both sides.
    #[serde(skip)]
    changes: Vec<ValueChange>,
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.first, &self.second) {
            (Some(line), None) => write!(f, "- {path} ({})", summary(line)),
            (None, Some(line)) => write!(f, "+ {path} ({})", summary(line)),
            _ => {
                let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
                write!(f, "~ {path}: {}", changes.join(", "))
            }
        }
    }
}

fn summary(line: &Line) -> String {
    let mut words = vec![line.kind.to_owned()];
    words.extend(line.mode.clone());
    if let (Some(uid), Some(gid)) = (line.uid, line.gid) {
        words.push(format!("{uid}:{gid}"));
    }
    words.extend(line.size.map(|size| format!("{size} bytes")));
    words.extend(line.target.as_ref().or(line.link.as_ref()).map(|target| format!("-> {target}")));
    words.join(" ")
}

/// Compares two file systems path by path, with all metadata and content.
pub(super) fn compare_trees(first: Tree, second: Tree) -> Result<Vec<FileChange>, Failure> {
    let mut changes = Vec::new();
    let (mut one, mut two) = (first.iter().peekable(), second.iter().peekable());
    loop {
        let order = match (one.peek(), two.peek()) {
            (None, None) => return Ok(changes),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((one, _)), Some((two, _))) => one.cmp(two),
        };
        let first = if order.is_le() { one.next().map(line).transpose()? } else { None };
        let second = if order.is_ge() { two.next().map(line).transpose()? } else { None };
        changes.extend(compare_lines(first, second));
    }
}

fn line((path, entry): (&ociseed_spec::TreePath, &Entry)) -> Result<Line, Failure> {
    listing::line(path, entry).map_err(|error| Failure::new(chain(&error)))
}

fn compare_lines(first: Option<Line>, second: Option<Line>) -> Option<FileChange> {
    if first == second {
        return None;
    }
    let path = first.as_ref().or(second.as_ref())?.path.clone();
    let value = |line: &Option<Line>| serde_json::to_value(line).expect("a line is JSON");
    let changes = match (value(&first), value(&second)) {
        (first @ Value::Object(_), second @ Value::Object(_)) => compare_values(&first, &second),
        _ => Vec::new(),
    };
    Some(FileChange { path, first, second, changes })
}
