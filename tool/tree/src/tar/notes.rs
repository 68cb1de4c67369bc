//! What the entries of a tar say that no tree shows, but that decides what unpacking makes of them (docs/format.md,
//! "Overlay form").

use std::collections::{BTreeMap, BTreeSet};

use ociseed_spec::{Acl, TreePath};

use super::members::Kind;
use crate::Stat;
use crate::tree::Unpacking;

/// The xattr that a change of owner takes away.
const CAPABILITY: &[u8] = b"security.capability";

/// What was noted so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    paths: BTreeMap<TreePath, Unpacking>,
    /// Files of which the last further name does not say that they have capabilities.
    losing: BTreeSet<usize>,
}

/// Which access control lists an entry says to be none, or no more than the mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Listless {
    /// The one that decides who may use a file.
    pub(super) access: bool,
    /// The one that new files in a directory get.
    pub(super) default: bool,
}

impl Listless {
    /// Tells by the lists that an entry names, and by those that are kept of it: of access, and the default one.
    pub(super) fn of(named: [bool; 2], kept: [bool; 2]) -> Self {
        Self { access: named[0] && !kept[0], default: named[1] && !kept[1] }
    }

    /// The names of both.
    pub(super) const NAMES: [&'static [u8]; 2] = [Acl::ACCESS_XATTR, Acl::DEFAULT_XATTR];
}

impl Notes {
    /// Notes what an entry says of its lists, and whether it is a directory that comes `late`. Of a directory that is listed
    /// again both count, of others the last.
    pub(super) fn is_listed(&mut self, path: &TreePath, kind: Kind, late: bool, listless: Listless) {
        let directory = kind == Kind::Directory;
        let before = self.paths.remove(path).filter(|_| directory).unwrap_or_default();
        let now = Unpacking {
            no_access_list: before.no_access_list || listless.access,
            no_default_list: before.no_default_list || listless.default,
            late: before.late || directory && late,
            loses_capabilities: false,
        };
        if now != Unpacking::default() {
            self.paths.insert(path.clone(), now);
        }
    }

    /// Notes what a further name of a file says.
    pub(super) fn is_linked(&mut self, file: usize, name: &Stat) {
        match name.xattrs().keys().any(|name| name.as_bytes() == CAPABILITY) {
            true => self.losing.remove(&file),
            false => self.losing.insert(file),
        };
    }

    /// Returns all notes; what was noted with one name of a file is noted of it, under all of them.
    pub(super) fn finish(mut self, names: &BTreeMap<TreePath, usize>) -> BTreeMap<TreePath, Unpacking> {
        let mut files: BTreeMap<usize, Unpacking> = BTreeMap::new();
        for (path, file) in names {
            let note = self.paths.get(path).copied().unwrap_or_default();
            let known = files.entry(*file).or_default();
            known.no_access_list |= note.no_access_list;
            known.no_default_list |= note.no_default_list;
            known.loses_capabilities = self.losing.contains(file);
        }
        for (path, file) in names {
            self.paths.insert(path.clone(), files[file]);
        }
        self.paths.retain(|_, note| *note != Unpacking::default());
        self.paths
    }
}
