//! What tests make trees of, here and in the crates that use this one; with the feature `testing`.

use ociseed_spec::{FileMode, Owner, Timestamp, TreePath};

use crate::{Builder, Claim, Content, Entry, Node, Precedence, Tree, listing};

/// Parses an absolute path.
pub fn path(text: &str) -> TreePath {
    text.parse().expect(text)
}

/// Makes a tree of entries that do not contradict each other.
pub fn built(entries: impl IntoIterator<Item = (TreePath, Entry)>) -> Tree {
    let mut builder = Builder::new();
    for (at, entry) in entries {
        builder.insert(at, entry, Claim::new(0, Precedence::Explicit));
    }
    builder.finish().expect("no conflict")
}

/// Makes a tree as [`built`], of entries whose paths are text.
pub fn tree<'a>(entries: impl IntoIterator<Item = (&'a str, Entry)>) -> Tree {
    built(entries.into_iter().map(|(at, entry)| (path(at), entry)))
}

/// Makes a file of bytes.
pub fn file(bytes: impl AsRef<[u8]>) -> Entry {
    Entry::file(Content::bytes(bytes.as_ref()))
}

/// Makes a further name of a file.
pub fn link(first: &str) -> Entry {
    Entry { node: Node::Link(path(first)), ..file("") }
}

/// Makes a device of a text as `c 1:3`.
pub fn device(text: &str) -> Entry {
    Entry::device(text.parse().expect(text))
}

/// Makes a directory with these permission bits.
pub fn directory(mode: u16) -> Entry {
    let mut entry = Entry::directory();
    entry.stat.mode = FileMode::new(mode);
    entry
}

/// Gives an entry a mode, an owner and a time.
pub fn with(mut entry: Entry, mode: u16, owner: (u32, u32), mtime: Timestamp) -> Entry {
    entry.stat.mode = FileMode::new(mode);
    entry.stat.owner = Owner { uid: owner.0, gid: owner.1 };
    entry.stat.mtime = mtime;
    entry
}

/// Returns the canonical listing, which says all of a tree.
pub fn listed(tree: &Tree) -> String {
    let mut bytes = Vec::new();
    listing::write(tree, &mut bytes).expect("all is there");
    String::from_utf8(bytes).expect("listings are UTF-8")
}
