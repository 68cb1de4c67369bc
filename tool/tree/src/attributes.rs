//! Putting what a spec says of paths over what they have.

use ociseed_spec::file::{Attributes, Rule, RuleKind};
use ociseed_spec::{Acl, Capabilities, DeviceKind, FileMode, XattrName, XattrValue};

use crate::links;
use crate::{Entry, Node, Stat, Tree};

/// Puts attributes over an entry's; what cannot have some of them is left without.
///
/// Links have no mode and no access list, only files have capabilities, only directories a default list, only
/// these two xattrs of users.
///
/// Tells whether anything was put.
pub fn apply(attributes: &Attributes, entry: &mut Entry) -> bool {
    let Entry { stat, node } = entry;
    let link = matches!(node, Node::Symlink(_));
    let mut put = false;
    if let Some(owner) = attributes.owner {
        stat.owner = owner;
        put = true;
    }
    if attributes.user.is_some() || attributes.group.is_some() {
        let user = attributes.user.as_ref().or(stat.user()).cloned();
        let group = attributes.group.as_ref().or(stat.group()).cloned();
        stat.set_names(user, group);
        put = true;
    }
    if let Some(mtime) = attributes.mtime {
        stat.mtime = mtime;
        put = true;
    }
    if let Some(mode) = attributes.mode.filter(|_| !link) {
        stat.mode = mode;
        put = true;
    }
    let takes_user = matches!(node, Node::File(_) | Node::Directory { .. });
    for (name, value) in attributes.xattrs.iter().filter(|(name, _)| takes_user || !name.is_user()) {
        stat.set_xattr(name.clone(), value.clone());
        put = true;
    }
    if let Some(acl) = attributes.acl.as_ref().filter(|_| !link) {
        // Linux keeps both in step: whoever sets the mode afterwards sets it to what the list says.
        stat.mode = FileMode::new(stat.mode.bits() & 0o7000 | acl.mode_bits());
        if !acl.is_mode_alone() {
            set(stat, Acl::ACCESS_XATTR, &acl.xattr_value());
        }
        put = true;
    }
    if let Some(acl) = attributes.default_acl.as_ref().filter(|_| matches!(node, Node::Directory { .. })) {
        set(stat, Acl::DEFAULT_XATTR, &acl.xattr_value());
        put = true;
    }
    if let Some(capabilities) = attributes.capabilities.as_ref().filter(|_| matches!(node, Node::File(_))) {
        set(stat, Capabilities::XATTR, &capabilities.xattr_value());
        put = true;
    }
    put
}

fn set(stat: &mut Stat, name: &[u8], value: &[u8]) {
    let name = XattrName::parse(name).expect("names of Linux's own");
    stat.set_xattr(name, XattrValue::new(value).expect("a list that was written in a spec is short"));
}

/// Applies rules in order; all names of one file change together.
///
/// # Errors
/// The numbers of rules that match nothing, or only what cannot have what they say.
pub fn apply_rules(tree: &mut Tree, rules: &[Rule]) -> Result<(), Vec<usize>> {
    let mut unmatched = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let attributes = rule.attributes().expect("rules are checked when a spec is read");
        let mut found = false;
        let mut through_links = Vec::new();
        for (_, entry) in tree.entries.iter_mut().filter(|(path, _)| rule.path.matches(path)) {
            match &entry.node {
                Node::Whiteout => {}
                Node::Link(target) => through_links.push(target.clone()),
                node if rule.kind.is_none_or(|kind| kind == kind_of(node)) => {
                    found |= apply(&attributes, entry);
                }
                _ => {}
            }
        }
        for target in through_links {
            if let Some(entry) = tree.entries.get_mut(&target)
                && rule.kind.is_none_or(|kind| kind == kind_of(&entry.node))
            {
                found |= apply(&attributes, entry);
            }
        }
        if !found {
            unmatched.push(index);
        }
    }
    links::normalize(&mut tree.entries);
    if unmatched.is_empty() { Ok(()) } else { Err(unmatched) }
}

fn kind_of(node: &Node) -> RuleKind {
    match node {
        Node::Directory { .. } => RuleKind::Directory,
        Node::Symlink(_) => RuleKind::Symlink,
        Node::Device(device) if device.kind == DeviceKind::Block => RuleKind::Block,
        Node::Device(_) => RuleKind::Char,
        Node::Fifo => RuleKind::Fifo,
        Node::File(_) | Node::Link(_) | Node::Whiteout => RuleKind::File,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Claim, Content, Precedence};

    fn tree() -> Tree {
        let mut builder = Builder::new();
        let claim = Claim::new(0, Precedence::Explicit);
        let file = || Entry::file(Content::bytes(*b"x"));
        for (path, entry) in [
            ("/bin/a", file()),
            ("/bin/b", file()),
            ("/bin/l", Entry::symlink(*b"a")),
            ("/z", Entry { node: Node::Link("/bin/a".parse().expect("path")), ..file() }),
        ] {
            builder.insert(path.parse().expect("path"), entry, claim);
        }
        builder.finish().expect("no conflict")
    }

    fn rules(text: &str) -> Vec<Rule> {
        serde_json::from_str(text).expect(text)
    }

    fn modes(tree: &Tree) -> Vec<(String, String)> {
        tree.iter().map(|(path, entry)| (path.to_string(), entry.stat.mode.to_string())).collect()
    }

    #[test]
    fn rules_change_what_they_match_and_all_names_of_it() {
        let mut changed = tree();
        let rules = rules(r#"[{"path":"bin/*","mode":"0700"},{"path":"z","mode":"4711"}]"#);
        assert_eq!(apply_rules(&mut changed, &rules), Ok(()));
        let expected =
            [("/bin", "0755"), ("/bin/a", "4711"), ("/bin/b", "0700"), ("/bin/l", "0777"), ("/z", "4711")];
        assert_eq!(modes(&changed), expected.map(|(path, mode)| (path.to_owned(), mode.to_owned())));
    }

    #[test]
    fn a_rule_that_matches_nothing_is_named() {
        let rules = rules(
            r#"[{"path":"**","mtime":1},{"path":"none","mtime":1},{"path":"bin","kind":"file","mtime":1},
                {"path":"bin/l","mode":"0600"},{"path":"bin","capabilities":"cap_kill=ep"}]"#,
        );
        assert_eq!(apply_rules(&mut tree(), &rules), Err(vec![1, 2, 3, 4]));
    }

    #[test]
    fn lists_and_capabilities_go_only_where_they_can_be() {
        let mut changed = tree();
        let rules = rules(
            r#"[{"path":"**","xattrs":{"user.a":"b"}},{"path":"**","acl":"user::rw-,user:7:r--,group::---,mask::r--,other::---","capabilities":"cap_kill=ep","user":"web"}]"#,
        );
        assert_eq!(apply_rules(&mut changed, &rules), Ok(()));
        let xattrs =
            |path: &str| changed.get(&path.parse().expect("path")).expect("there").stat.xattrs().len();
        assert_eq!([xattrs("/bin"), xattrs("/bin/a"), xattrs("/bin/l"), xattrs("/z")], [2, 3, 0, 3]);
        let file = &changed.get(&"/z".parse().expect("path")).expect("there").stat;
        assert_eq!((file.mode.bits(), file.user().map(ToString::to_string)), (0o640, Some("web".to_owned())));
    }
}
