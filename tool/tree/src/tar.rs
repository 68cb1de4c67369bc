//! The tar form of a tree: sorted, ustar where it suffices, PAX where it does not.
//!
//! `docs/format.md`, section "Layer tars", is the contract; golden files in
//! `tests/golden` hold the bytes. The form is a sequence of extents, so that a
//! tar inside a tree costs memory only for its headers.

use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock};

use ociseed_spec::{Device, DeviceKind, TreePath};

use crate::content::ReadError;
use crate::{Content, Entry, Extent, Node, Tree};

/// What a whiteout's name begins with (OCI image specification, "Whiteouts").
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// Tars are made of blocks of this size.
const BLOCK: usize = 512;
/// The largest id that ustar's seven octal digits hold.
const MAX_USTAR_ID: u32 = 0o777_7777;
/// The largest size that ustar's eleven octal digits hold.
const MAX_USTAR_SIZE: u64 = 0o777_7777_7777;
/// The length of ustar's name and link name fields.
const MAX_USTAR_NAME: usize = 100;
/// The length of ustar's prefix field.
const MAX_USTAR_PREFIX: usize = 155;

static ZEROS: LazyLock<Arc<[u8]>> = LazyLock::new(|| Arc::from([0; 2 * BLOCK]));

/// Describes the tar of a tree as extents, in order; together they are the whole file.
pub fn extents(tree: &Tree) -> impl Iterator<Item = Extent> {
    let end = Extent::Bytes(Arc::clone(&ZEROS));
    tree.iter().flat_map(|(path, entry)| entry_extents(path, entry)).chain([end])
}

/// Makes the tar of a tree the content of a file.
pub fn content(tree: &Tree) -> Content {
    extents(tree).collect()
}

/// Writes the tar of a tree.
///
/// # Errors
/// A file of the tree cannot be read or is not what it was, or `out` cannot be written.
pub fn write(tree: &Tree, out: &mut (impl Write + ?Sized)) -> Result<(), ReadError> {
    extents(tree).try_for_each(|extent| extent.copy_to(out))
}

fn entry_extents(path: &TreePath, entry: &Entry) -> Vec<Extent> {
    let Node::File(content) = &entry.node else {
        return vec![Extent::Bytes(headers(path, entry, 0).into())];
    };
    let size = content.size();
    let mut extents = vec![Extent::Bytes(headers(path, entry, size).into())];
    extents.extend_from_slice(content.extents());
    let padding = padding(size);
    if padding > 0 {
        extents.push(Extent::Bytes(ZEROS[..padding].into()));
    }
    extents
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    (BLOCK - over) % BLOCK
}

/// Makes the header block of an entry, with a PAX header in front where ustar cannot say it all.
fn headers(path: &TreePath, entry: &Entry, size: u64) -> Vec<u8> {
    let (kind, target): (_, &[u8]) = match &entry.node {
        Node::Directory { .. } => (tar::EntryType::Directory, b""),
        Node::File(_) | Node::Whiteout => (tar::EntryType::Regular, b""),
        Node::Symlink(target) => (tar::EntryType::Symlink, target),
        Node::Link(target) => (tar::EntryType::Link, target.as_bytes()),
        Node::Device(Device { kind: DeviceKind::Char, .. }) => (tar::EntryType::Char, b""),
        Node::Device(_) => (tar::EntryType::Block, b""),
        Node::Fifo => (tar::EntryType::Fifo, b""),
    };
    let slash: &[u8] = if kind.is_dir() { b"/" } else { b"" };
    let name = [path.as_bytes(), slash].concat();

    // Records are collected in the order of their keys.
    let mut records = Records::default();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(entry.stat.mode.bits().into());
    header.set_mtime(0);
    let gid = records.number("gid", entry.stat.owner.gid.into(), MAX_USTAR_ID.into());
    header.set_gid(gid);
    let target = records.text("linkpath", target, fits(target).then_some((&b""[..], target)));
    let (prefix, short) = records.text("path", &name, split(&name));
    let size = records.number("size", size, MAX_USTAR_SIZE);
    header.set_size(size);
    let uid = records.number("uid", entry.stat.owner.uid.into(), MAX_USTAR_ID.into());
    header.set_uid(uid);
    // new_ustar leaves these empty, but every reader takes "0" for the numbers that are not used.
    header.set_device_major(0).and_then(|()| header.set_device_minor(0)).expect("a ustar header has devices");

    let ustar = header.as_ustar_mut().expect("made as ustar");
    ustar.name[..short.len()].copy_from_slice(&short);
    ustar.prefix[..prefix.len()].copy_from_slice(&prefix);
    ustar.linkname[..target.1.len()].copy_from_slice(&target.1);
    header.set_cksum();

    let mut bytes = records.into_entry(path);
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

fn fits(text: &[u8]) -> bool {
    text.len() <= MAX_USTAR_NAME && text.is_ascii()
}

/// Cuts a path for ustar's prefix and name fields, as far right as possible.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if fits(path) {
        return Some((b"", path));
    }
    if !path.is_ascii() {
        return None;
    }
    // A directory's own slash at the end belongs to its name.
    let last = path.len().checked_sub(2)?.min(MAX_USTAR_PREFIX);
    let slash = path[..=last].iter().rposition(|byte| *byte == b'/').filter(|at| *at > 0)?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (name.len() <= MAX_USTAR_NAME).then_some((prefix, name))
}

/// The records of a PAX header.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// Returns what the header's field gets: the number, or 0 with a record in its place.
    fn number(&mut self, key: &str, value: u64, max: u64) -> u64 {
        if value <= max {
            return value;
        }
        self.push(key, value.to_string().as_bytes());
        0
    }

    /// Returns what the header's fields get: the split text, or its first bytes with a record in their place.
    fn text(&mut self, key: &str, value: &[u8], split: Option<(&[u8], &[u8])>) -> (Vec<u8>, Vec<u8>) {
        if let Some((prefix, name)) = split {
            return (prefix.to_vec(), name.to_vec());
        }
        self.push(key, value);
        (Vec::new(), value[..value.len().min(MAX_USTAR_NAME)].to_vec())
    }

    fn push(&mut self, key: &str, value: &[u8]) {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut digits = 1;
        while (rest + digits).to_string().len() > digits {
            digits += 1;
        }
        self.0.extend_from_slice(format!("{} {key}=", rest + digits).as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// Makes the blocks of the PAX header; none without records.
    fn into_entry(self, path: &TreePath) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(self.0.len() as u64);
        header
            .set_device_major(0)
            .and_then(|()| header.set_device_minor(0))
            .expect("a ustar header has devices");
        let name = [b"PaxHeaders/", path.name()].concat();
        let name = &name[..name.len().min(MAX_USTAR_NAME)];
        header.as_ustar_mut().expect("made as ustar").name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.0);
        bytes.resize(bytes.len() + padding(self.0.len() as u64), 0);
        bytes
    }
}

/// One entry of a tar that is read for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The path as the tar has it.
    pub path: String,
    /// The type: `file`, `directory`, `symlink`, or tar's own type character.
    pub kind: String,
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub uid: u64,
    /// Group id.
    pub gid: u64,
    /// Size in bytes.
    pub size: u64,
    /// Target of a link.
    pub target: Option<String>,
}

/// Lists the entries of any tar, with GNU and PAX names resolved.
///
/// # Errors
/// It cannot be read, is no tar, or ends without the two zero blocks that say that it is whole.
pub fn list(tar: impl Read, mut each: impl FnMut(Listed)) -> io::Result<()> {
    let mut archive = tar::Archive::new(EndSeen { inner: tar, end_seen: false });
    for entry in archive.entries()? {
        let mut entry = entry?;
        // Sizes, owners and names may be in PAX records; tar-rs applies names and sizes, not owners.
        let (mut uid, mut gid) = (entry.header().uid()?, entry.header().gid()?);
        if let Some(records) = entry.pax_extensions()? {
            for record in records.filter_map(Result::ok) {
                let number = record.value().ok().and_then(|value| value.parse().ok());
                match (record.key(), number) {
                    (Ok("uid"), Some(number)) => uid = number,
                    (Ok("gid"), Some(number)) => gid = number,
                    _ => {}
                }
            }
        }
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => "file".to_owned(),
            tar::EntryType::Directory => "directory".to_owned(),
            tar::EntryType::Symlink => "symlink".to_owned(),
            other => char::from(other.as_byte()).to_string(),
        };
        each(Listed {
            path: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            kind,
            mode: entry.header().mode()? & 0o7777,
            uid,
            gid,
            size: entry.size(),
            target: entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned()),
        });
    }
    // tar-rs takes the end of the data for the end of the tar, which hides a cut between two entries.
    match archive.into_inner().end_seen {
        true => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the tar ends without two zero blocks: it was cut",
        )),
        false => Ok(()),
    }
}

/// Remembers whether the end of the data was met.
struct EndSeen<R> {
    inner: R,
    end_seen: bool,
}

impl<R: Read> Read for EndSeen<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.end_seen |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}
