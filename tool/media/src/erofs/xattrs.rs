//! Extended attributes of inodes: those that several have are stored once, the others with their inode.

use std::collections::BTreeMap;

use ociseed_spec::{Acl, XattrName, XattrValue};
use ociseed_tree::Xattrs;

use super::read::u16_at;

/// Bytes before the first attribute of an inode.
const HEADER: usize = 12;
/// Everything begins at multiples of this.
const UNIT: usize = 4;
/// So many shared attributes an inode can have: their count is a byte.
const MAX_SHARED: usize = u8::MAX as usize;
/// Namespaces with their numbers, which stand for them (`EROFS_XATTR_INDEX_*`). Of lists only the whole name is known.
const PREFIXES: [(u8, &[u8]); 5] = [
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (1, b"user."),
    (4, b"trusted."),
    (6, b"security."),
];

/// Says that an attribute has no place in the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no number for the name's namespace.
    Name(XattrName),
    /// The kernel would not give it: its value is no list.
    List(XattrName),
}

impl Refused {
    pub(super) fn name(&self) -> &XattrName {
        let (Self::Name(name) | Self::List(name)) = self;
        name
    }
}

/// Returns the attributes that a tree's path has in an image: all but lists without entries, which are none.
fn kept(xattrs: &Xattrs) -> impl Iterator<Item = (&XattrName, &XattrValue)> {
    xattrs.iter().filter(|(name, value)| !is_list(name) || value.as_bytes() != Acl::EMPTY)
}

fn is_list(name: &XattrName) -> bool {
    [Acl::ACCESS_XATTR, Acl::DEFAULT_XATTR].contains(&name.as_bytes())
}

/// An attribute as the format has it: name and value with their lengths before them, to a multiple of four bytes.
fn encode(name: &XattrName, value: &XattrValue) -> Result<Vec<u8>, Refused> {
    if is_list(name) && Acl::from_xattr_value(value.as_bytes()).is_none() {
        return Err(Refused::List(name.clone()));
    }
    let (known, value) = (name, value.as_bytes());
    let name = known.as_bytes();
    let found = PREFIXES.iter().find_map(|(index, prefix)| Some((*index, name.strip_prefix(*prefix)?)));
    let whole = |index: u8, rest: &[u8]| !matches!(index, 2 | 3) || rest.is_empty();
    let (index, rest) =
        found.filter(|(index, rest)| whole(*index, rest)).ok_or_else(|| Refused::Name(known.clone()))?;
    let mut bytes = vec![rest.len() as u8, index];
    bytes.extend((value.len() as u16).to_le_bytes());
    bytes.extend(rest);
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(UNIT), 0);
    Ok(bytes)
}

/// All attributes of a tree that are stored once for all inodes that have them.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Where each begins, in units of four bytes from the first.
    places: BTreeMap<Vec<u8>, u32>,
    size: u32,
}

impl Shared {
    /// Chooses those that pay: an inode's share of four bytes, and itself once, are less than itself each time.
    pub(super) fn choose<'a>(inodes: impl Iterator<Item = &'a Xattrs>) -> Result<Self, Refused> {
        let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for xattrs in inodes {
            for (name, value) in kept(xattrs) {
                *counts.entry(encode(name, value)?).or_default() += 1;
            }
        }
        let mut shared = Self::default();
        for (bytes, count) in counts {
            if count * UNIT + bytes.len() < count * bytes.len() {
                let units = (bytes.len() / UNIT) as u32;
                shared.places.insert(bytes, shared.size);
                shared.size += units;
            }
        }
        Ok(shared)
    }

    /// Writes them all.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut all: Vec<_> = self.places.iter().collect();
        all.sort_unstable_by_key(|(_, place)| **place);
        all.into_iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect()
    }

    /// Returns how many bytes they take.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.size) * UNIT as u64
    }

    /// Writes the attributes of one inode; nothing where it has none.
    pub(super) fn body(&self, xattrs: &Xattrs) -> Result<Vec<u8>, Refused> {
        if kept(xattrs).next().is_none() {
            return Ok(Vec::new());
        }
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        for (name, value) in kept(xattrs) {
            let bytes = encode(name, value)?;
            match self.places.get(&bytes).filter(|_| shared.len() < MAX_SHARED) {
                Some(place) => shared.push(*place),
                None => own.extend(bytes),
            }
        }
        let mut body = vec![0; HEADER];
        // Of a filter of names, which later kernels know, every bit says "may be there".
        body[UNIT] = shared.len() as u8;
        shared.iter().for_each(|id| body.extend(id.to_le_bytes()));
        body.extend(own);
        Ok(body)
    }

    /// Returns what an inode says of the size of its attributes.
    pub(super) fn count(body: &[u8]) -> u16 {
        body.len().checked_sub(HEADER).map_or(0, |rest| (rest / UNIT) as u16 + 1)
    }
}

/// Returns how many bytes an inode's attributes take, from what it says of their size.
pub(super) fn size_of(count: u16) -> u64 {
    u64::from(count).checked_sub(1).map_or(0, |units| HEADER as u64 + units * UNIT as u64)
}

/// Divides an inode's attributes into the numbers of shared ones and its own.
pub(super) fn split(body: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let shared = usize::from(body[UNIT]) * UNIT;
    body[HEADER..]
        .split_at_checked(shared)
        .ok_or_else(|| format!("{shared} bytes of shared xattrs are not there"))
}

/// Returns how many bytes an attribute takes, from its first four.
pub(super) fn entry_size(bytes: &[u8]) -> u64 {
    let size = UNIT + usize::from(bytes[0]) + usize::from(u16_at(bytes, 2));
    size.next_multiple_of(UNIT) as u64
}

/// Returns the name and the value of an attribute.
pub(super) fn decode(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let (length, index) = (usize::from(bytes[0]), bytes[1]);
    let prefix = PREFIXES.iter().find(|(other, _)| *other == index);
    let (_, prefix) = prefix.ok_or_else(|| format!("no namespace of xattrs has the number {index}"))?;
    let (name, rest) = bytes[UNIT..].split_at(length);
    if matches!(index, 2 | 3) && !name.is_empty() {
        return Err(format!("the xattr of an access list has {length} bytes more of a name"));
    }
    let value = &rest[..usize::from(u16_at(bytes, 2))];
    Ok(([*prefix, name].concat(), value.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lists_are_whole() {
        assert_eq!(decode(&[0, 2, 0, 0]).expect("a list").0, b"system.posix_acl_access");
        for index in [2, 3] {
            assert!(decode(&[1, index, 0, 0, b'c']).expect_err("longer").contains("1 bytes more"));
        }
        assert_eq!(decode(&[1, 1, 1, 0, b'c', b'd']).expect("one"), (b"user.c".to_vec(), b"d".to_vec()));
    }
}
