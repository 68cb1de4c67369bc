//! The overlay form: a layer as containerd unpacks it over those below, ready to be a lower directory of overlayfs.
//!
//! This follows `pkg/archive` of containerd, the same in 1.6, 1.7 and 2.1: `applyNaive`, `mkparent` and `OverlayConvertWhiteout`.
//! docs/format.md, section "Overlay form", says what comes of it.

use std::collections::BTreeMap;

use ociseed_spec::{Acl, Device, DeviceKind, FileMode, Timestamp, TreePath, XattrName, XattrValue};

use crate::tree::Unpacking;
use crate::{Entry, Node, Stat, Tree, Xattrs};

/// Times after this are taken for errors: nanoseconds since the epoch in 63 bits.
const LAST_SECOND: i64 = i64::MAX / 1_000_000_000;
const LAST_NANOSECOND: u32 = (i64::MAX % 1_000_000_000) as u32;
/// So many links are followed on the way to a directory.
const MAX_LINKS: usize = 255;

/// Makes the overlay form of a layer over those below, bottom first, which are in that form.
///
/// The layer is what its tar says: one that was not read from a tar implies directories that its tar would list.
/// Whiteouts become devices 0:0 and opaque directories get their xattr, but in the lowest layer, where there is nothing to
/// hide; directories that the layer does not list are those of the layers below; what containerd does not unpack is gone.
pub fn overlay(lowers: &[&Tree], layer: &Tree) -> Tree {
    let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
    for (path, entry) in layer {
        let implied = layer.implied.contains(path);
        let note = layer.unpacking.get(path).copied().unwrap_or_default();
        if let Some(entry) = unpacked(lowers, path, entry, implied, note) {
            let parent = path.parent().and_then(|parent| entries.get(&parent));
            let default = parent.and_then(|parent| parent.stat.xattrs().get(&default_list()).cloned());
            entries.insert(path.clone(), with_lists(entry, default, note));
        }
    }
    repeat_for_links(&mut entries);
    Tree { entries, ..Tree::default() }
}

/// Returns what containerd makes of one path, but for access control lists.
fn unpacked(
    lowers: &[&Tree],
    path: &TreePath,
    entry: &Entry,
    implied: bool,
    note: Unpacking,
) -> Option<Entry> {
    let mut stat = entry.stat.clone();
    stat.set_names(None, None);
    stat.mtime = bound(stat.mtime);
    let mut xattrs = kept_xattrs(&entry.node, entry.stat.xattrs());
    xattrs.retain(|name, _| !note.loses_capabilities || name.as_bytes() != b"security.capability");
    stat.set_xattrs(xattrs);
    let node = match &entry.node {
        Node::Whiteout if lowers.is_empty() => return None,
        Node::Whiteout => {
            let device = Device { kind: DeviceKind::Char, major: 0, minor: 0 };
            let stat = Stat::new(FileMode::new(0), entry.stat.owner, Timestamp::EPOCH);
            return Some(Entry { stat, node: Node::Device(device) });
        }
        Node::Directory { opaque } => {
            if implied && let Some(below) = directory_below(lowers, path) {
                stat = below;
            }
            if note.late
                && let Some(below) = directory_below(lowers, path)
            {
                let mut xattrs = below.xattrs().clone();
                xattrs.extend(stat.xattrs().iter().map(|(name, value)| (name.clone(), value.clone())));
                stat.set_xattrs(xattrs);
            }
            if *opaque && !lowers.is_empty() {
                stat.set_xattr(XattrName::overlay_opaque(), XattrValue::new(b"y").expect("one byte"));
            }
            Node::Directory { opaque: false }
        }
        other => other.clone(),
    };
    Some(Entry { stat, node })
}

/// Returns the metadata of the directory that a layer does not list, from the highest layer below that has the path.
fn directory_below(lowers: &[&Tree], path: &TreePath) -> Option<Stat> {
    let found = lowers.iter().rev().find_map(|lower| lower.get(&resolve(lower, path)))?;
    // Something else in its place is replaced: the new directory has nothing of it.
    found.is_directory().then(|| {
        let mut stat = found.stat.clone();
        let xattrs = stat.xattrs().iter().filter(|(name, _)| !name.as_bytes().starts_with(b"trusted."));
        let xattrs = xattrs.map(|(name, value)| (name.clone(), value.clone())).collect();
        stat.set_xattrs(xattrs);
        stat
    })
}

/// Follows the symbolic links on the way to a path, and at its end, within one layer.
fn resolve(tree: &Tree, path: &TreePath) -> TreePath {
    let mut pending: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
    pending.reverse();
    let (mut at, mut links) = (TreePath::root(), 0);
    while let Some(part) = pending.pop() {
        if part == b".." {
            at = at.parent().unwrap_or(at);
            continue;
        }
        // What no path can have is nowhere.
        let Ok(next) = at.join(&part) else { return path.clone() };
        match tree.get(&next).map(|entry| &entry.node) {
            Some(Node::Symlink(target)) if links < MAX_LINKS => {
                links += 1;
                if target.first() == Some(&b'/') {
                    at = TreePath::root();
                }
                let parts = target.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
                pending.extend(parts.rev().map(<[u8]>::to_vec));
            }
            _ => at = next,
        }
    }
    at
}

/// Leaves out what cannot be set when a layer is unpacked: `trusted.*` is never, `user.*` only of files and directories.
fn kept_xattrs(node: &Node, xattrs: &Xattrs) -> Xattrs {
    let plain = matches!(node, Node::File(_) | Node::Directory { .. } | Node::Link(_));
    let list = |name: &XattrName| [Acl::ACCESS_XATTR, Acl::DEFAULT_XATTR].contains(&name.as_bytes());
    let keeps = |name: &XattrName| match name.as_bytes() {
        bytes if bytes.starts_with(b"trusted.") => false,
        bytes if bytes.starts_with(b"system.") => list(name),
        _ => plain || !name.is_user(),
    };
    xattrs.iter().filter(|(name, _)| keeps(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn bound(time: Timestamp) -> Timestamp {
    let last = Timestamp::new(LAST_SECOND, LAST_NANOSECOND);
    if time < Timestamp::EPOCH || time > last { Timestamp::EPOCH } else { time }
}

fn access_list() -> XattrName {
    XattrName::parse(Acl::ACCESS_XATTR).expect("a name of Linux's own")
}

fn default_list() -> XattrName {
    XattrName::parse(Acl::DEFAULT_XATTR).expect("a name of Linux's own")
}

/// Gives an entry the lists of the directory that it is made in, where it has none of its own, and lets its mode have the last
/// word, as unpacking does. A list that says no more than the mode is none.
fn with_lists(mut entry: Entry, default: Option<XattrValue>, note: Unpacking) -> Entry {
    if matches!(entry.node, Node::Symlink(_) | Node::Link(_)) {
        return entry;
    }
    let directory = entry.is_directory();
    let xattrs = entry.stat.xattrs();
    let has_lists = [access_list(), default_list()].iter().any(|name| xattrs.contains_key(name));
    if default.is_none() && !has_lists {
        return entry;
    }
    let mut xattrs = xattrs.clone();
    if let Some(default) = default {
        if !note.no_access_list {
            xattrs.entry(access_list()).or_insert_with(|| default.clone());
        }
        if directory && !note.no_default_list {
            xattrs.entry(default_list()).or_insert(default);
        }
    }
    for name in [access_list(), default_list()] {
        let Some(value) = xattrs.remove(&name) else { continue };
        let Some(list) = Acl::from_xattr_value(value.as_bytes()) else { continue };
        let access = name.as_bytes() == Acl::ACCESS_XATTR;
        let list = if access { list.with_mode_bits(entry.stat.mode.bits()) } else { list };
        if !access || !list.is_mode_alone() {
            let value = XattrValue::new(&list.xattr_value()).expect("as long as it was");
            xattrs.insert(name, value);
        }
    }
    entry.stat.set_xattrs(xattrs);
    entry
}

/// Repeats the metadata of files for their further names, which have the same inode.
fn repeat_for_links(entries: &mut BTreeMap<TreePath, Entry>) {
    let links: Vec<(TreePath, TreePath)> = entries
        .iter()
        .filter_map(|(path, entry)| match &entry.node {
            Node::Link(first) => Some((path.clone(), first.clone())),
            _ => None,
        })
        .collect();
    for (path, first) in links {
        let stat = entries.get(&first).map(|entry| entry.stat.clone());
        if let (Some(entry), Some(stat)) = (entries.get_mut(&path), stat) {
            entry.stat = stat;
        }
    }
}

#[cfg(test)]
mod tests {
    use ociseed_spec::Owner;

    use super::*;
    use crate::listing;
    use crate::testing::{file, tree as layer};

    fn directory(mode: u16, owner: u32) -> Entry {
        let mut entry = Entry::directory();
        entry.stat.mode = FileMode::new(mode);
        entry.stat.owner = Owner { uid: owner, gid: owner };
        entry
    }

    fn opaque(mut entry: Entry) -> Entry {
        entry.node = Node::Directory { opaque: true };
        entry
    }

    fn shown(tree: &Tree) -> Vec<String> {
        let line = |(path, entry): (&TreePath, &Entry)| {
            let stat = &entry.stat;
            let names = stat.xattrs().keys().map(|name| format!(" {name}")).collect::<String>();
            format!("{path} {} {} {}{names}", listing::kind(&entry.node), stat.mode, stat.owner.uid)
        };
        tree.iter().map(line).collect()
    }

    #[test]
    fn whiteouts_and_opaque_directories_are_what_overlayfs_takes_for_them_but_at_the_bottom() {
        let tree = layer([
            ("/gone", Entry::whiteout()),
            ("/o", opaque(directory(0o700, 5))),
            ("/d/gone", Entry::whiteout()),
        ]);
        assert_eq!(shown(&overlay(&[], &tree)), ["/d directory 0755 0", "/o directory 0700 5"]);
        let lower = Tree::default();
        let expected = [
            "/d directory 0755 0",
            "/d/gone char 0000 0",
            "/gone char 0000 0",
            "/o directory 0700 5 trusted.overlay.opaque",
        ];
        assert_eq!(shown(&overlay(&[&lower], &tree)), expected);
    }

    #[test]
    fn the_owner_of_a_whiteout_is_the_devices() {
        let mut whiteout = Entry::whiteout();
        whiteout.stat.owner = Owner { uid: 7, gid: 9 };
        let form = overlay(&[&Tree::default()], &layer([("/w", whiteout)]));
        assert_eq!(shown(&form), ["/w char 0000 7"]);
    }

    #[test]
    fn directories_that_are_not_listed_are_those_of_the_highest_layer_below_that_has_the_path() {
        let bottom = layer([
            ("/a/b", directory(0o711, 1)),
            ("/f/x", directory(0o711, 1)),
            ("/w", directory(0o711, 1)),
        ]);
        let mut opaque_a = opaque(directory(0o750, 2));
        opaque_a.stat.set_xattr("user.x".parse().expect("a name"), XattrValue::new(b"1").expect("short"));
        let middle = layer([
            ("/a", opaque_a),
            ("/f", file("1")),
            ("/link", Entry::symlink(*b"/real/./x/..")),
            ("/real/x", file("1")),
            ("/w", Entry::whiteout()),
        ]);
        let bottom = overlay(&[], &bottom);
        let middle = overlay(&[&bottom], &middle);
        let upper = layer([
            ("/a/b/c", file("1")),
            ("/f/y", file("1")),
            ("/link/y", file("1")),
            ("/none/y", file("1")),
            ("/w/y", file("1")),
        ]);
        let expected = [
            // Not opaque, which only says what the layer below hides; its other xattrs stay.
            "/a directory 0750 2 user.x",
            // Although it is hidden: unpacking looks at each layer alone.
            "/a/b directory 0711 1",
            "/a/b/c file 0644 0",
            "/f directory 0755 0",
            "/f/y file 0644 0",
            "/link directory 0755 0",
            "/link/y file 0644 0",
            "/none directory 0755 0",
            "/none/y file 0644 0",
            "/w directory 0755 0",
            "/w/y file 0644 0",
        ];
        assert_eq!(shown(&overlay(&[&bottom, &middle], &upper)), expected);
    }

    #[test]
    fn what_is_never_unpacked_is_gone() {
        let value = || XattrValue::new(b"1").expect("short");
        let all = |mut entry: Entry| {
            for name in ["trusted.a", "user.a", "security.a", "system.nfs4_acl"] {
                entry.stat.set_xattr(name.parse().expect("a name"), value());
            }
            entry.stat.mtime = Timestamp::new(-1, 0);
            entry
        };
        let link = Entry { node: Node::Link("/f".parse().expect("a path")), ..file("1") };
        let tree = layer([
            ("/f", all(file("1"))),
            ("/g", link),
            ("/p", all(Entry::fifo())),
            ("/s", all(Entry::symlink(*b"f"))),
        ]);
        let expected = [
            "/f file 0644 0 security.a user.a",
            "/g link 0644 0 security.a user.a",
            "/p fifo 0644 0 security.a",
            "/s symlink 0777 0 security.a",
        ];
        let found = overlay(&[], &tree);
        assert_eq!(shown(&found), expected);
        assert!(found.iter().all(|(_, entry)| entry.stat.mtime == Timestamp::EPOCH));
    }

    #[test]
    fn lists_are_inherited_and_the_mode_has_the_last_word() {
        let list =
            |text: &str| XattrValue::new(&text.parse::<Acl>().expect(text).xattr_value()).expect("short");
        let mut above = directory(0o755, 0);
        above.stat.set_xattr(default_list(), list("u::rwx,u:7:rwx,g::r-x,m::rwx,o::---"));
        let mut none = file("1");
        none.stat.set_xattr(access_list(), XattrValue::new(Acl::EMPTY).expect("short"));
        let mut plain = file("1");
        plain.stat.set_xattr(access_list(), list("u::rwx,g::rwx,o::rwx"));
        let tree = layer([
            ("/d", above),
            ("/d/f", file("1")),
            ("/d/none", none),
            ("/d/sub", directory(0o700, 0)),
            ("/plain", plain),
        ]);
        let found = overlay(&[], &tree);
        let lists = |path: &str| -> Vec<Option<XattrValue>> {
            let stat = &found.get(&path.parse().expect("a path")).expect("is there").stat;
            [access_list(), default_list()].map(|name| stat.xattrs().get(&name).cloned()).to_vec()
        };
        let default = list("u::rwx,u:7:rwx,g::r-x,m::rwx,o::---");
        assert_eq!(lists("/d"), [None, Some(default.clone())]);
        assert_eq!(lists("/d/f"), [Some(list("u::rw-,u:7:rwx,g::r-x,m::r--,o::r--")), None]);
        assert_eq!(lists("/d/none"), [None, None]);
        assert_eq!(lists("/d/sub"), [Some(list("u::rwx,u:7:rwx,g::r-x,m::---,o::---")), Some(default)]);
        assert_eq!(lists("/plain"), [None, None]);
    }

    /// Writes a tree as a tar and reads that.
    fn through_a_tar(tree: &Tree) -> Tree {
        let scratch = rustix::fs::memfd_create("tar", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
        let mut file = cap_std::fs::File::from_std(scratch.into());
        crate::tar::write(tree, &mut file).expect("in memory");
        crate::tar::read(std::sync::Arc::new(file), std::path::Path::new("a.tar").into()).expect("a layer")
    }

    #[test]
    fn a_list_that_a_tar_says_to_be_none_is_not_inherited() {
        let list =
            |text: &str| XattrValue::new(&text.parse::<Acl>().expect(text).xattr_value()).expect("short");
        let mut above = directory(0o755, 0);
        above.stat.set_xattr(default_list(), list("u::rwx,u:7:rwx,g::r-x,m::rwx,o::---"));
        // Our own tars say of everything below that it has no list.
        let link = Entry { node: Node::Link("/d/f".parse().expect("a path")), ..file("1") };
        let said =
            layer([("/d", above), ("/d/f", file("1")), ("/d/l", link), ("/d/sub", directory(0o700, 0))]);
        let form = overlay(&[], &through_a_tar(&said));
        let names = |path: &str| form.get(&path.parse().expect(path)).expect(path).stat.xattrs().len();
        assert_eq!(["/d", "/d/f", "/d/l", "/d/sub"].map(names), [1, 0, 0, 0]);
        let inherited = overlay(&[], &said);
        assert_eq!(inherited.get(&"/d/sub".parse().expect("a path")).expect("there").stat.xattrs().len(), 2);
    }

    #[test]
    fn a_tar_holds_the_form_but_is_no_layer() {
        let form = overlay(
            &[&Tree::default()],
            &layer([("/o", opaque(directory(0o700, 5))), ("/w", Entry::whiteout())]),
        );
        let scratch = rustix::fs::memfd_create("tar", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
        let mut file = cap_std::fs::File::from_std(scratch.into());
        crate::tar::write(&form, &mut file).expect("in memory");
        let (file, shown) = (std::sync::Arc::new(file), std::path::Path::new("disk.tar").into());
        let read = crate::tar::read_file_system(std::sync::Arc::clone(&file), std::sync::Arc::clone(&shown));
        assert_eq!(self::shown(&read.expect("a file system")), self::shown(&form));
        let refused = crate::tar::read(file, shown).expect_err("not a layer").to_string();
        assert!(refused.contains("`disk.tar`"), "{refused}");
    }
}
