//! What entries and rules say of paths: mode, owner, time, extended attributes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Acl, Capabilities, FileMode, Owner, OwnerName, Pattern, Timestamp, XattrName, XattrValue};

/// What is said of a path; what is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<FileMode>,
    /// Owner by numbers.
    pub owner: Option<Owner>,
    /// Name of the owner.
    pub user: Option<OwnerName>,
    /// Name of the group.
    pub group: Option<OwnerName>,
    /// Time.
    pub mtime: Option<Timestamp>,
    /// Extended attributes by name.
    pub xattrs: BTreeMap<XattrName, XattrValue>,
    /// File capabilities.
    pub capabilities: Option<Capabilities>,
    /// Access list.
    pub acl: Option<Acl>,
    /// List that new files in the directory get.
    pub default_acl: Option<Acl>,
}

/// Collects the [`Attributes`] of a rule or an entry, which both have these keys.
///
/// One struct within both would need serde's `flatten`, which knows neither unknown keys nor where it is.
macro_rules! attributes_of {
    ($it:expr) => {
        $crate::file::Attributes {
            mode: $it.mode,
            owner: $it.owner,
            user: $it.user.clone(),
            group: $it.group.clone(),
            mtime: $it.mtime,
            xattrs: $it.xattrs.clone(),
            capabilities: $it.capabilities.clone(),
            acl: $it.acl.clone(),
            default_acl: $it.default_acl.clone(),
        }
    };
}

pub(super) use attributes_of;

/// Says that attributes contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// One thing said twice.
    #[error("`{0}` and the xattr `{1}` say the same thing")]
    Twice(&'static str, XattrName),
    /// The access list gives other permissions than the mode.
    #[error("`acl` gives the mode {acl}, but `mode` is {mode}")]
    Mode {
        /// What the list says.
        acl: FileMode,
        /// What the mode says.
        mode: FileMode,
    },
}

impl Attributes {
    /// Tells whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that the parts do not contradict each other.
    ///
    /// # Errors
    /// An xattr that another key also says; an access list that does not fit the mode.
    pub fn check(&self) -> Result<(), AttributesError> {
        let twice = [
            ("capabilities", Capabilities::XATTR, self.capabilities.is_some()),
            ("acl", Acl::ACCESS_XATTR, self.acl.is_some()),
            ("default-acl", Acl::DEFAULT_XATTR, self.default_acl.is_some()),
        ];
        for (key, xattr, _) in twice.into_iter().filter(|(.., said)| *said) {
            if let Some(name) = self.xattrs.keys().find(|name| name.as_bytes() == xattr) {
                return Err(AttributesError::Twice(key, name.clone()));
            }
        }
        match (&self.acl, self.mode) {
            (Some(acl), Some(mode)) if mode.bits() & 0o777 != acl.mode_bits() => {
                Err(AttributesError::Mode { acl: FileMode::new(acl.mode_bits()), mode })
            }
            _ => Ok(()),
        }
    }
}

/// The kinds of paths that a rule can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RuleKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// A rule that changes what the entries of a layer made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Which paths it changes.
    pub path: Pattern,
    /// Which kind of them only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<RuleKind>,
    /// Permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Owner by numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Name of the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<OwnerName>,
    /// Name of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<OwnerName>,
    /// Time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtime: Option<Timestamp>,
    /// Extended attributes that are added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<XattrName, XattrValue>,
    /// File capabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Access list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// List that new files in a directory get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_acl: Option<Acl>,
}

impl Rule {
    /// Returns what the rule says.
    ///
    /// # Errors
    /// Parts that contradict each other.
    pub fn attributes(&self) -> Result<Attributes, AttributesError> {
        let attributes = attributes_of!(self);
        attributes.check()?;
        Ok(attributes)
    }
}
