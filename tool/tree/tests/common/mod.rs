//! What tests of archives share: files without names, tars made block by block, and other people's programs.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use cap_std::fs::{Dir, File, FileExt as _};
use ociseed_tree::{ArchiveError, Tree, listing, read_archive};

/// Makes a file without a name.
pub(crate) fn scratch() -> io::Result<File> {
    let file = rustix::fs::memfd_create("scratch", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(File::from_std(file.into()))
}

/// Makes a file of bytes.
pub(crate) fn file(bytes: &[u8]) -> Arc<File> {
    let file = scratch().expect("memory");
    file.write_all_at(bytes, 0).expect("memory");
    Arc::new(file)
}

/// Reads bytes as an archive called `in.tar`.
pub(crate) fn read(bytes: &[u8]) -> Result<Tree, ArchiveError> {
    read_archive(file(bytes), Path::new("in.tar").into(), &mut scratch)
}

/// Reads bytes as an archive, and returns the error with its reasons.
pub(crate) fn error(bytes: &[u8]) -> String {
    match read(bytes) {
        Ok(tree) => format!("no error:\n{}", lines(&tree)),
        Err(error) => chain(&error),
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Returns the canonical listing, which says all of a tree.
pub(crate) fn lines(tree: &Tree) -> String {
    let mut out = Vec::new();
    listing::write(tree, &mut out).expect("memory takes all");
    String::from_utf8(out).expect("listings are UTF-8")
}

/// Lists paths, with what they are where that is not a plain file.
pub(crate) fn paths(tree: &Tree) -> Vec<String> {
    use ociseed_tree::Node;
    let shown = |path: &ociseed_spec::TreePath| path.as_bytes().escape_ascii().to_string();
    let one = |path, node: &Node| match node {
        Node::Directory { opaque: true } => format!("{}/ opaque", shown(path)),
        Node::Directory { .. } => format!("{}/", shown(path)),
        Node::File(content) => {
            let mut bytes = Vec::new();
            content.copy_to(&mut bytes).expect("the archive is there");
            match bytes.len() {
                0 => shown(path),
                1..=40 => format!("{}: {}", shown(path), bytes.escape_ascii()),
                count => format!("{}: {count} bytes", shown(path)),
            }
        }
        Node::Symlink(target) => format!("{} -> {}", shown(path), target.escape_ascii()),
        Node::Link(target) => format!("{} = {}", shown(path), shown(target)),
        Node::Device(device) => format!("{} {device}", shown(path)),
        Node::Fifo => format!("{} fifo", shown(path)),
        Node::Whiteout => format!("{} gone", shown(path)),
    };
    tree.iter().map(|(path, entry)| one(path, &entry.node)).collect()
}

/// A tar made block by block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    /// Adds a header that `change` changes, with a right checksum, and data.
    pub(crate) fn header(
        mut self,
        kind: u8,
        name: &[u8],
        data: &[u8],
        change: impl FnOnce(&mut [u8]),
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        change(header.as_mut_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.data(data)
    }

    /// Adds bytes and what fills their last block.
    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn entry(self, kind: u8, name: &str, data: &[u8]) -> Self {
        self.header(kind, name.as_bytes(), data, |_| {})
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.entry(b'0', name, data.as_bytes())
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(b'5', name, b"")
    }

    /// Adds a link, hard (`1`) or symbolic (`2`).
    pub(crate) fn link(self, kind: u8, name: &str, target: &str) -> Self {
        self.header(kind, name.as_bytes(), b"", |block| {
            block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        })
    }

    /// Adds a PAX header with records.
    pub(crate) fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let body = records.iter().flat_map(|(key, value)| record(key, value)).collect::<Vec<_>>();
        self.entry(kind, "pax", &body)
    }

    /// Ends the tar.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// Makes a PAX record.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|sum| rest + sum.to_string().len() == *sum);
    let length = length.expect("some length counts itself").to_string();
    [length.as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

/// Runs a program that is on every build machine, and returns what it prints.
pub(crate) fn run(program: &str, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is on every build machine: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        // A program that needs no more input may close it.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("it ends")
    });
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Makes an empty directory for one test.
pub(crate) fn directory(name: &str) -> (String, Dir) {
    let root = env!("CARGO_TARGET_TMPDIR");
    let ambient = cap_std::ambient_authority();
    let dir = Dir::open_ambient_dir(root, ambient).expect("made by cargo");
    if dir.exists(name) {
        dir.remove_dir_all(name).expect("ours");
    }
    dir.create_dir(name).expect("not there");
    (format!("{root}/{name}"), dir.open_dir(name).expect("made just now"))
}
