//! The tar form of a tree: sorted, ustar where it suffices, PAX where it does not.
//!
//! The form is a sequence of extents, so that a tar inside a tree costs memory
//! only for its headers, and those only while they are written.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Write;

use ociseed_spec::{Acl, Device, DeviceKind, OwnerName, Timestamp, TreePath, XattrName, XattrValue};

use super::{BLOCK, OPAQUE, WHITEOUT};
use crate::content::ReadError;
use crate::{Bytes, Content, Entry, Extent, Node, Pieces, Stat, Take, Tree};

/// The largest number that ustar's seven octal digits hold.
const MAX_USTAR_ID: u32 = 0o777_7777;
/// The largest number that ustar's eleven octal digits hold.
const MAX_USTAR_SIZE: u64 = 0o777_7777_7777;
/// The length of ustar's name and link name fields.
const MAX_USTAR_NAME: usize = 100;
/// The length of ustar's prefix field.
const MAX_USTAR_PREFIX: usize = 155;
/// The longest name of a user or group in a header: its field has 32 bytes, the last of them NUL.
const MAX_USTAR_OWNER: usize = 31;

/// A tar ends with so many zeros.
const END: u64 = 2 * BLOCK as u64;
/// What is written to something else than pieces is collected to this size, so that calls do not count.
const PIECE: usize = 256 * 1024;

/// Describes the tar of a tree as extents, in order; together they are the whole file.
pub fn extents(tree: &Tree) -> impl Iterator<Item = Extent> {
    members(tree).flat_map(Member::into_extents).chain([Extent::Zeros(END)])
}

/// Goes through a tree and makes the headers of each path.
fn members(tree: &Tree) -> impl Iterator<Item = Member<'_>> {
    let has_default = |stat: &Stat| stat.xattrs().keys().any(|name| name.as_bytes() == Acl::DEFAULT_XATTR);
    let with_default: BTreeSet<&TreePath> =
        tree.iter().filter(|(_, entry)| has_default(&entry.stat)).map(|(path, _)| path).collect();
    tree.iter().map(move |(path, entry)| {
        let inherits =
            !with_default.is_empty() && path.parent().is_some_and(|parent| with_default.contains(&parent));
        let described = if inherits { without_inherited(entry) } else { Cow::Borrowed(entry) };
        let content = match &entry.node {
            Node::File(content) => Some(content),
            _ => None,
        };
        Member { headers: all_headers(path, &described), content }
    })
}

/// What a tar has of one path.
struct Member<'a> {
    headers: Vec<u8>,
    content: Option<&'a Content>,
}

impl Member<'_> {
    /// How many zeros follow the content.
    fn padding(&self) -> u64 {
        self.content.map_or(0, |content| padding(content.size()) as u64)
    }

    fn into_extents(self) -> Vec<Extent> {
        let padding = Some(self.padding()).filter(|padding| *padding > 0).map(Extent::Zeros);
        let content = self.content.map(Content::extents).unwrap_or_default();
        let headers = Extent::Bytes(self.headers.into());
        [headers].into_iter().chain(content.iter().cloned()).chain(padding).collect()
    }
}

/// Says of what lies in a directory with a default list that it has no lists, where it has none.
///
/// The file system gives what is made there the directory's list. An empty one, which Linux takes as none, takes it away.
fn without_inherited(entry: &Entry) -> Cow<'_, Entry> {
    let lists: &[&[u8]] = match entry.node {
        Node::Directory { .. } => &[Acl::ACCESS_XATTR, Acl::DEFAULT_XATTR],
        Node::File(_) | Node::Device(_) | Node::Fifo => &[Acl::ACCESS_XATTR],
        // A link names what is there already; symbolic links have no lists.
        Node::Link(_) | Node::Symlink(_) | Node::Whiteout => &[],
    };
    let mut entry = Cow::Borrowed(entry);
    for list in lists {
        let name = XattrName::parse(list).expect("a name of Linux's own");
        if !entry.stat.xattrs().contains_key(&name) {
            let none = XattrValue::new(Acl::EMPTY).expect("four bytes");
            entry.to_mut().stat.set_xattr(name, none);
        }
    }
    entry
}

/// Writes the tar of a tree.
///
/// # Errors
/// A file of the tree cannot be read or is not what it was, or `out` cannot be written.
pub fn write(tree: &Tree, out: &mut (impl Write + ?Sized)) -> Result<(), ReadError> {
    let mut pieces = Pieces::new(PIECE, |piece: Vec<u8>| out.write_all(&piece).map(|()| piece));
    Form(tree).add_to(&mut pieces)?;
    pieces.finish().map_err(ReadError::Write)
}

/// The tar of a tree.
#[derive(Debug, Clone, Copy)]
pub struct Form<'a>(pub &'a Tree);

impl Form<'_> {
    /// Tells whether it has fewer bytes than `size`, without looking at more of the tree than it takes.
    #[must_use]
    pub fn is_below(&self, size: u64) -> bool {
        let left = members(self.0).try_fold(size.saturating_sub(END), |left, member| {
            let content = member.content.map_or(0, Content::size);
            left.checked_sub(member.headers.len() as u64 + content)?.checked_sub(member.padding())
        });
        left.is_some_and(|left| left > 0)
    }
}

impl Bytes for Form<'_> {
    fn add_to<F: Take>(&self, pieces: &mut Pieces<F>) -> Result<(), ReadError> {
        for member in members(self.0) {
            pieces.write_all(&member.headers).map_err(ReadError::Write)?;
            if let Some(content) = member.content {
                content.add_to(pieces)?;
            }
            pieces.zeros(member.padding()).map_err(ReadError::Write)?;
        }
        pieces.zeros(END).map_err(ReadError::Write)
    }
}

/// Makes all that stands in front of the content of a path.
fn all_headers(path: &TreePath, entry: &Entry) -> Vec<u8> {
    match &entry.node {
        Node::File(content) => headers(path.as_bytes(), entry, content.size()),
        Node::Directory { opaque } => {
            let mut headers = headers(&[path.as_bytes(), b"/"].concat(), entry, 0);
            if *opaque {
                headers.extend(marker(&[path.as_bytes(), b"/", OPAQUE].concat()));
            }
            headers
        }
        Node::Whiteout => {
            let parent = path.as_bytes().strip_suffix(path.name()).unwrap_or_default();
            marker(&[parent, WHITEOUT, path.name()].concat())
        }
        Node::Symlink(_) | Node::Link(_) | Node::Device(_) | Node::Fifo => headers(path.as_bytes(), entry, 0),
    }
}

/// Makes the header of an empty file that says something about its directory; it has no metadata of its own.
fn marker(name: &[u8]) -> Vec<u8> {
    headers(name, &Entry { stat: Stat::FILE, node: Node::Whiteout }, 0)
}

fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
    (BLOCK - over) % BLOCK
}

/// Makes the header block of an entry, with a PAX header in front where ustar cannot say it all.
fn headers(name: &[u8], entry: &Entry, size: u64) -> Vec<u8> {
    let (kind, target): (_, &[u8]) = match &entry.node {
        Node::Directory { .. } => (tar::EntryType::Directory, b""),
        Node::File(_) | Node::Whiteout => (tar::EntryType::Regular, b""),
        Node::Symlink(target) => (tar::EntryType::Symlink, target),
        Node::Link(target) => (tar::EntryType::Link, target.as_bytes()),
        Node::Device(Device { kind: DeviceKind::Char, .. }) => (tar::EntryType::Char, b""),
        Node::Device(_) => (tar::EntryType::Block, b""),
        Node::Fifo => (tar::EntryType::Fifo, b""),
    };
    let Stat { mode, owner, mtime, .. } = entry.stat;

    // Records are collected in the order of their keys.
    let mut records = Records::default();
    for (name, value) in entry.stat.xattrs() {
        records.push(&[b"SCHILY.xattr.", name.as_bytes()].concat(), value.as_bytes());
    }
    let mut header = empty_header(kind, mode.bits().into());
    header.set_gid(records.number("gid", owner.gid.into(), MAX_USTAR_ID.into()));
    let group = records.name("gname", entry.stat.group());
    let target = records.text("linkpath", target, fits(target).then_some((&b""[..], target)));
    header.set_mtime(records.time(mtime));
    let (prefix, short) = records.text("path", name, split(name));
    header.set_size(records.number("size", size, MAX_USTAR_SIZE));
    header.set_uid(records.number("uid", owner.uid.into(), MAX_USTAR_ID.into()));
    let user = records.name("uname", entry.stat.user());

    let ustar = header.as_ustar_mut().expect("made as ustar");
    for (field, bytes) in [
        (&mut ustar.name[..], short),
        (&mut ustar.prefix, prefix),
        (&mut ustar.linkname, target.1),
        (&mut ustar.uname, user),
        (&mut ustar.gname, group),
    ] {
        field[..bytes.len()].copy_from_slice(bytes);
    }
    if let Node::Device(device) = &entry.node {
        set_device_number(&mut ustar.dev_major, device.major);
        set_device_number(&mut ustar.dev_minor, device.minor);
    }
    header.set_cksum();

    let mut bytes = records.into_entry(name);
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

/// Makes a header in which every number is 0 but the mode.
fn empty_header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(0);
    // new_ustar leaves these empty, but every reader takes "0" for the numbers that are not used.
    header.set_device_major(0).and_then(|()| header.set_device_minor(0)).expect("a ustar header has devices");
    header
}

/// Writes seven octal digits, or GNU's base-256 form where they do not suffice: PAX has no record for these.
fn set_device_number(field: &mut [u8; 8], number: u32) {
    if number <= MAX_USTAR_ID {
        field[..7].copy_from_slice(format!("{number:07o}").as_bytes());
        field[7] = 0;
    } else {
        *field = (1 << 63 | u64::from(number)).to_be_bytes();
    }
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
        self.push(key.as_bytes(), value.to_string().as_bytes());
        0
    }

    /// Returns what the header's field gets: whole seconds, or as many of them as it can hold, beside a record.
    fn time(&mut self, time: Timestamp) -> u64 {
        let seconds = u64::try_from(time.seconds()).ok().filter(|seconds| *seconds <= MAX_USTAR_SIZE);
        if seconds.is_none() || time.nanoseconds() > 0 {
            self.push(b"mtime", time.to_string().as_bytes());
        }
        seconds.unwrap_or_default()
    }

    /// Returns what the header's fields get: the split text, or its first bytes with a record in their place.
    fn text<'a>(
        &mut self,
        key: &str,
        value: &'a [u8],
        split: Option<(&'a [u8], &'a [u8])>,
    ) -> (&'a [u8], &'a [u8]) {
        split.unwrap_or_else(|| {
            self.push(key.as_bytes(), value);
            (b"", &value[..value.len().min(MAX_USTAR_NAME)])
        })
    }

    /// Returns what the header's field gets: the name, or nothing with a record in its place, as half a
    /// name may be somebody else's.
    fn name<'a>(&mut self, key: &str, name: Option<&'a OwnerName>) -> &'a [u8] {
        let name = name.map_or(&b""[..], OwnerName::as_bytes);
        if name.len() <= MAX_USTAR_OWNER && name.is_ascii() {
            return name;
        }
        self.push(key.as_bytes(), name);
        b""
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut digits = 1;
        while (rest + digits).to_string().len() > digits {
            digits += 1;
        }
        self.0.extend_from_slice(format!("{} ", rest + digits).as_bytes());
        for part in [key, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }

    /// Makes the blocks of the PAX header; none without records.
    fn into_entry(self, name: &[u8]) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut header = empty_header(tar::EntryType::XHeader, 0o644);
        header.set_size(self.0.len() as u64);
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let name = [b"PaxHeaders/", last].concat();
        let name = &name[..name.len().min(MAX_USTAR_NAME)];
        header.as_ustar_mut().expect("made as ustar").name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.0);
        bytes.resize(bytes.len() + padding(self.0.len() as u64), 0);
        bytes
    }
}
