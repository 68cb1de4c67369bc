//! POSIX access control lists (acl(5)), in text and in the binary form of Linux.

use std::fmt;
use std::str::FromStr;

use crate::text::string_form;

/// An access control list, written as getfacl does on one line, with numbers for ids.
///
/// Entries are in the order that Linux keeps them: owner, users, group, groups, mask, others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl(Vec<AclEntry>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct AclEntry {
    tag: Tag,
    /// [`NO_ID`] but for named users and groups.
    id: u32,
    permissions: u16,
}

/// The kinds of entries, with Linux's numbers; their order is the one that Linux wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Owner = 0x01,
    User = 0x02,
    OwningGroup = 0x04,
    Group = 0x08,
    Mask = 0x10,
    Other = 0x20,
}

/// ACL_UNDEFINED_ID.
const NO_ID: u32 = u32::MAX;
/// POSIX_ACL_XATTR_VERSION.
const XATTR_VERSION: u32 = 2;

/// Says that a text is not an access control list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    /// One of its entries is not spelt as expected.
    #[error(
        "ACL entry `{0}` is not `user:ID:rwx`, `group:ID:rwx`, `mask::rwx` or `other::rwx` (no ID for the owner)"
    )]
    Entry(String),
    /// Entries that every list needs are not there, or some are there twice.
    #[error(
        "ACL `{0}` needs `user::`, `group::` and `other::` once, each ID once, and with IDs `mask::` once"
    )]
    Set(String),
}

impl Acl {
    /// The xattr of the list that decides who may use a file.
    pub const ACCESS_XATTR: &'static [u8] = b"system.posix_acl_access";
    /// The xattr of the list that new files in a directory get.
    pub const DEFAULT_XATTR: &'static [u8] = b"system.posix_acl_default";
    /// The value of either for a list without entries, which Linux takes as no list at all.
    pub const EMPTY: &'static [u8] = &XATTR_VERSION.to_le_bytes();

    /// Returns the value of the xattr, little-endian: a version, then tag, permissions and id of each entry.
    pub fn xattr_value(&self) -> Vec<u8> {
        let mut bytes = XATTR_VERSION.to_le_bytes().to_vec();
        for entry in &self.0 {
            bytes.extend_from_slice(&(entry.tag as u16).to_le_bytes());
            bytes.extend_from_slice(&entry.permissions.to_le_bytes());
            bytes.extend_from_slice(&entry.id.to_le_bytes());
        }
        bytes
    }

    /// Reads the value of the xattr; nothing where it is no complete list, also where it is the empty one.
    pub fn from_xattr_value(bytes: &[u8]) -> Option<Self> {
        let (version, entries) = bytes.split_first_chunk()?;
        if u32::from_le_bytes(*version) != XATTR_VERSION || entries.len() % 8 != 0 {
            return None;
        }
        let mut list = Vec::new();
        for entry in entries.chunks_exact(8) {
            let [tag0, tag1, permission0, permission1, id0, id1, id2, id3] = *entry else { return None };
            let tag = Tag::of(u16::from_le_bytes([tag0, tag1]))?;
            let named = matches!(tag, Tag::User | Tag::Group);
            // Of other entries Linux looks at no id.
            let id = if named { u32::from_le_bytes([id0, id1, id2, id3]) } else { NO_ID };
            let permissions = u16::from_le_bytes([permission0, permission1]);
            if permissions > 7 {
                return None;
            }
            list.push(AclEntry { tag, id, permissions });
        }
        list.sort_unstable();
        Some(Self(list)).filter(Self::is_complete)
    }

    /// Returns the list after permission bits were set (chmod(2)): those of the group are the mask's, where there is one.
    pub fn with_mode_bits(mut self, bits: u16) -> Self {
        let masked = self.0.iter().any(|entry| entry.tag == Tag::Mask);
        for entry in &mut self.0 {
            match entry.tag {
                Tag::Owner => entry.permissions = bits >> 6 & 7,
                Tag::OwningGroup if !masked => entry.permissions = bits >> 3 & 7,
                Tag::Mask => entry.permissions = bits >> 3 & 7,
                Tag::Other => entry.permissions = bits & 7,
                Tag::OwningGroup | Tag::User | Tag::Group => {}
            }
        }
        self
    }

    /// Returns the nine permission bits that a file with this access list shows: the mask's where the group's would be.
    pub fn mode_bits(&self) -> u16 {
        let of = |tag| self.0.iter().find(|entry| entry.tag == tag).map(|entry| entry.permissions);
        let group = of(Tag::Mask).or_else(|| of(Tag::OwningGroup)).unwrap_or_default();
        of(Tag::Owner).unwrap_or_default() << 6 | group << 3 | of(Tag::Other).unwrap_or_default()
    }

    /// Tells whether the list says no more than the permission bits do: Linux keeps no access list then.
    pub fn is_mode_alone(&self) -> bool {
        self.0.len() == 3
    }

    fn is_complete(&self) -> bool {
        let count = |tag| self.0.iter().filter(|entry| entry.tag == tag).count();
        let named = count(Tag::User) + count(Tag::Group) > 0;
        let twice = self.0.windows(2).any(|pair| (pair[0].tag, pair[0].id) == (pair[1].tag, pair[1].id));
        [Tag::Owner, Tag::OwningGroup, Tag::Other].map(count) == [1; 3]
            && (!named || count(Tag::Mask) == 1)
            && !twice
    }
}

impl Tag {
    fn of(number: u16) -> Option<Self> {
        let all = [Self::Owner, Self::User, Self::OwningGroup, Self::Group, Self::Mask, Self::Other];
        all.into_iter().find(|tag| *tag as u16 == number)
    }
}

impl AclEntry {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(':');
        let (tag, id, permissions) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let tag = match (tag, id.is_empty()) {
            ("user" | "u", true) => Tag::Owner,
            ("user" | "u", false) => Tag::User,
            ("group" | "g", true) => Tag::OwningGroup,
            ("group" | "g", false) => Tag::Group,
            ("mask" | "m", true) => Tag::Mask,
            ("other" | "o", true) => Tag::Other,
            _ => return None,
        };
        let id = match id {
            "" => NO_ID,
            id => Some(id).filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?,
        };
        if id == NO_ID && matches!(tag, Tag::User | Tag::Group) {
            return None;
        }
        Some(Self { tag, id, permissions: permission_bits(permissions)? })
    }
}

fn permission_bits(text: &str) -> Option<u16> {
    let letters = text.as_bytes();
    if letters.len() != 3 {
        return None;
    }
    letters.iter().zip(b"rwx").try_fold(0, |bits, (letter, expected)| match letter {
        b'-' => Some(bits << 1),
        letter if letter == expected => Some(bits << 1 | 1),
        _ => None,
    })
}

impl FromStr for Acl {
    type Err = AclError;

    fn from_str(text: &str) -> Result<Self, AclError> {
        let entry = |text: &str| AclEntry::parse(text).ok_or_else(|| AclError::Entry(text.to_owned()));
        let mut entries = text.split([',', '\n']).map(entry).collect::<Result<Vec<_>, _>>()?;
        entries.sort_unstable();
        let acl = Self(entries);
        if acl.is_complete() { Ok(acl) } else { Err(AclError::Set(text.to_owned())) }
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            let tag = match entry.tag {
                Tag::Owner | Tag::User => "user",
                Tag::OwningGroup | Tag::Group => "group",
                Tag::Mask => "mask",
                Tag::Other => "other",
            };
            let id = if entry.id == NO_ID { String::new() } else { entry.id.to_string() };
            let bit = |bit: u16, letter| if entry.permissions & bit == 0 { '-' } else { letter };
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{tag}:{id}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x'))?;
        }
        Ok(())
    }
}

string_form!(
    Acl,
    "Acl",
    "::",
    "A POSIX access control list, as `user::rw-,user:33:r--,group::r--,mask::r--,other::---`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_form_is_linuxs() {
        let acl: Acl = "other::---,user::rw-,g::r--,u:33:r-x,mask::r-x".parse().expect("good");
        assert_eq!(acl.to_string(), "user::rw-,user:33:r-x,group::r--,mask::r-x,other::---");
        #[rustfmt::skip]
        let expected = [
            2, 0, 0, 0,
            1, 0, 6, 0, 255, 255, 255, 255,
            2, 0, 5, 0, 33, 0, 0, 0,
            4, 0, 4, 0, 255, 255, 255, 255,
            16, 0, 5, 0, 255, 255, 255, 255,
            32, 0, 0, 0, 255, 255, 255, 255,
        ];
        assert_eq!(acl.xattr_value(), expected);
        assert_eq!(acl.mode_bits(), 0o650);
    }

    #[test]
    fn incomplete_lists_are_refused() {
        let whole = "user::rwx,group::rwx,other::rwx";
        assert_eq!(whole.parse::<Acl>().map(|acl| acl.is_mode_alone()), Ok(true));
        assert_eq!(whole.parse::<Acl>().map(|acl| acl.mode_bits()), Ok(0o777));
        for bad in [
            "",
            "user::rwx,group::rwx",
            "user::rwx,user::rwx,group::rwx,other::rwx",
            "user::rwx,group::rwx,other::rwx,user:1:rwx",
            "user::rwx,group::rwx,other::rwx,mask::rwx,user:1:rwx,user:1:r--",
            "user::rwx,group::rwx,other::rwx,mask::rwx,user:root:rwx",
            "user::rwx,group::rwx,other::rwx,mask::rwx,user:4294967295:rwx",
            "user::7,group::rwx,other::rwx",
            "user::xwr,group::rwx,other::rwx",
            "user::rwx:,group::rwx,other::rwx",
        ] {
            assert!(bad.parse::<Acl>().is_err(), "{bad}");
        }
    }
}
