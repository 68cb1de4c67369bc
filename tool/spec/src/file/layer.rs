//! `[layer.KEY]`: a list of things that are put into a layer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Packages;
use super::attributes::{Attributes, AttributesError, Rule, attributes_of};
use super::closure::{Closure, ClosureSpec};
use crate::{
    Acl, Capabilities, Compression, Device, FileMode, Key, Owner, OwnerName, Pattern, Timestamp, TreePath,
    XattrName, XattrValue,
};

/// One layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LayerSpec {
    /// How the blob is compressed; zstd level 3 unless said.
    pub compression: Compression,
    /// What is put in; no two entries may write one path, but directories are shared.
    pub add: Vec<Add>,
    /// Rules over what was put in, applied in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<Rule>,
}

impl LayerSpec {
    /// Walks the entries, each with the number of its first source.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Add)> {
        self.add.iter().scan(0u32, |next, add| {
            let first = *next;
            *next = first.saturating_add(add.sources());
            Some((first, add))
        })
    }

    /// Walks the other layers that this one takes.
    pub fn layers(&self) -> impl Iterator<Item = &Key> {
        self.add.iter().filter_map(|add| add.layer.as_ref())
    }

    /// Checks the rules.
    ///
    /// # Errors
    /// The number of the first rule that is wrong, and why.
    pub fn check_rules(&self) -> Result<(), (usize, String)> {
        for (index, rule) in self.set.iter().enumerate() {
            let attributes = rule.attributes().map_err(|error| (index, error.to_string()))?;
            if attributes.is_empty() {
                return Err((index, "it says nothing about the paths that it matches".to_owned()));
            }
        }
        Ok(())
    }
}

/// One entry of a layer as written: exactly one of the kinds, the first fourteen keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Add {
    /// A file of the build host; its content and executable bit count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A directory of the build host with all that is below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// A tar of the build host, compressed or not, with all of its metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tar: Option<String>,
    /// A Debian package of the build host, or several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deb: Option<Packages>,
    /// Another layer of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<Key>,
    /// Store paths of Nix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closure: Option<ClosureSpec>,
    /// A reference graph of the build host, whose paths get a database of Nix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nix_database: Option<String>,
    /// A file with this content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A symbolic link with this target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symlink: Option<String>,
    /// Another name of the file at this path of the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardlink: Option<TreePath>,
    /// A directory at this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mkdir: Option<TreePath>,
    /// A device node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// A named pipe at this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fifo: Option<TreePath>,
    /// The absence of what layers below have at this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whiteout: Option<TreePath>,
    /// Where it goes; `/` unless said for `dir` and `tar`, `/nix/store` for `closure`, needed for others that do not say it themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<TreePath>,
    /// Permission bits; of a directory of the host those of its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Owner of everything that the entry makes, but not of directories that it only implies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// Name of the owner beside its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<OwnerName>,
    /// Name of the group beside its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<OwnerName>,
    /// Time of everything that the entry makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<Timestamp>,
    /// Extended attributes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<XattrName, XattrValue>,
    /// File capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Access list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// List that new files in a directory get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_acl: Option<Acl>,
    /// What of a source is taken; all unless said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<Pattern>,
    /// What of a source is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Pattern>,
    /// How many leading parts of each path in a source go.
    #[serde(skip_serializing_if = "is_zero")]
    pub strip: u32,
    /// Whether a tar may hold devices.
    #[serde(skip_serializing_if = "is_false")]
    pub devices: bool,
    /// Whether what layers below have in a directory is gone.
    #[serde(skip_serializing_if = "is_false")]
    pub opaque: bool,
    /// Whether the package's status entry is made; it is unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<bool>,
    /// Whether the entry wins over those above it that write the same path.
    #[serde(skip_serializing_if = "is_false")]
    pub replace: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// An [`Add`] that was found to make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes.
    pub to: TreePath,
    /// What it is.
    pub source: Source,
    /// What the spec says of what it makes.
    pub attributes: Attributes,
    /// Whether it wins over entries above it.
    pub replace: bool,
}

/// What an [`Entry`] puts into a layer; host files by path or input name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of the build host.
    File(String),
    /// A directory of the build host.
    Dir(String, Filter),
    /// A tar of the build host.
    Tar(String, Filter),
    /// Debian packages of the build host, and whether their status entries are made.
    Deb(Packages, Filter, bool),
    /// Another layer of the spec, or an input that is a layer blob.
    Layer(Key),
    /// Store paths of Nix.
    Closure(Closure),
    /// The database for the store paths of a reference graph, by path or input name.
    NixDatabase(String),
    /// A file with this content.
    Text(String),
    /// A symbolic link with this target.
    Symlink(String),
    /// Another name of the file at this path.
    Hardlink(TreePath),
    /// A directory; whether it is opaque.
    Mkdir(bool),
    /// A device node.
    Device(Device),
    /// A named pipe.
    Fifo,
    /// The absence of what layers below have.
    Whiteout,
}

/// What of a source is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only what one of these covers; all when there is none.
    pub include: Vec<Pattern>,
    /// Not what one of these covers.
    pub exclude: Vec<Pattern>,
    /// How many leading parts of each path go.
    pub strip: usize,
    /// Whether devices are taken; they are errors otherwise.
    pub devices: bool,
}

/// Says what is wrong with an entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// None or several of the kinds.
    #[error("expected exactly one of {expected}, found {0}", expected = kinds())]
    Kind(String),
    /// A key that this kind of entry needs.
    #[error("`{0}` needs the key `{1}`")]
    Missing(&'static str, &'static str),
    /// A key that this kind of entry cannot have.
    #[error("`{0}` cannot have the key `{1}`{2}")]
    Extra(&'static str, &'static str, &'static str),
    /// The image's root cannot be made by this kind of entry.
    #[error("`{0}` cannot make `/`")]
    Root(&'static str),
    /// A link target that no file system takes.
    #[error("symlink target must have 1 to 4095 bytes without NUL")]
    Target,
    /// A name that means in a layer that something is not there.
    #[error("path `{0}` has a part that begins with `.wh.`, which means a whiteout in a layer{1}")]
    WhiteoutName(TreePath, &'static str),
    /// A whiteout whose name in the layer would be too long.
    #[error("whiteout `{0}`: its last part has more than 251 bytes, which `.wh.` makes too long")]
    LongWhiteout(TreePath),
    /// An xattr that Linux does not keep of this kind.
    #[error("`{0}` cannot have the xattr `{1}`: Linux keeps `user.*` of files and directories only")]
    UserXattr(&'static str, XattrName),
    /// Keys of a closure that do not fit each other.
    #[error("`closure`: {0}")]
    Closure(&'static str),
    /// Attributes that contradict each other.
    #[error(transparent)]
    Attributes(#[from] AttributesError),
}

/// The names of all kinds, for messages.
const KINDS: [&str; 14] = [
    "file",
    "dir",
    "tar",
    "deb",
    "layer",
    "closure",
    "nix-database",
    "text",
    "symlink",
    "hardlink",
    "mkdir",
    "device",
    "fifo",
    "whiteout",
];

fn kinds() -> String {
    let quoted: Vec<_> = KINDS.iter().map(|kind| format!("`{kind}`")).collect();
    let (last, others) = quoted.split_last().expect("there are kinds");
    format!("{} and {last}", others.join(", "))
}

/// Kinds that make one path with permission bits.
const WITH_MODE: &[&str] = &["file", "text", "mkdir", "device", "fifo"];
/// Kinds that make paths with an owner and a time.
const WITH_OWNER: &[&str] =
    &["file", "dir", "tar", "deb", "closure", "text", "symlink", "mkdir", "device", "fifo"];
/// Kinds that read many paths.
const WITH_FILTER: &[&str] = &["dir", "tar", "deb"];

impl Add {
    /// Returns the words by which the entry names what the host has: those of its packages, one, or none.
    pub fn words(&self) -> impl Iterator<Item = &String> {
        let one = [&self.file, &self.dir, &self.tar, &self.nix_database].into_iter().flatten();
        let many = self.deb.iter().flat_map(Packages::words);
        one.chain(many).chain(self.closure.iter().flat_map(ClosureSpec::words))
    }

    /// Returns these words, to change them.
    pub fn words_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let one = [&mut self.file, &mut self.dir, &mut self.tar, &mut self.nix_database];
        let many = self.deb.iter_mut().flat_map(Packages::words_mut);
        one.into_iter().flatten().chain(many).chain(self.closure.iter_mut().flat_map(ClosureSpec::words_mut))
    }

    /// Returns how many sources the entry has: as many as packages, one of every other kind.
    pub fn sources(&self) -> u32 {
        self.deb.as_ref().map_or(1, |packages| packages.words().len().try_into().unwrap_or(u32::MAX))
    }

    /// Finds out which kind of entry this is and checks that its keys fit.
    ///
    /// # Errors
    /// Keys that are missing, too many or contradict each other.
    pub fn entry(&self) -> Result<Entry, AddError> {
        let (kind, source) = self.kind()?;
        self.check_keys(kind)?;
        let to = self.place(kind, &source)?;
        if matches!(&source, Source::Symlink(target)
            // PATH_MAX counts the NUL byte at the end.
            if target.is_empty() || target.len() >= 4096 || target.contains('\0'))
        {
            return Err(AddError::Target);
        }
        if to.parts().any(|part| part.starts_with(b".wh.")) {
            let why = if kind == "whiteout" { ": say the path that is gone" } else { ": use `whiteout`" };
            return Err(AddError::WhiteoutName(to, why));
        }
        if source == Source::Whiteout && to.name().len() > 251 {
            return Err(AddError::LongWhiteout(to));
        }
        let attributes = attributes_of!(self);
        attributes.check()?;
        if let Some(name) = attributes.xattrs.keys().find(|name| name.is_user())
            && matches!(source, Source::Device(_) | Source::Fifo)
        {
            return Err(AddError::UserXattr(kind, name.clone()));
        }
        Ok(Entry { to, source, attributes, replace: self.replace })
    }

    fn kind(&self) -> Result<(&'static str, Source), AddError> {
        let filter = || Filter {
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            strip: self.strip as usize,
            devices: self.devices,
        };
        let path = |path: &Option<TreePath>, source| path.as_ref().map(|_| source);
        let sources = [
            self.file.clone().map(Source::File),
            self.dir.clone().map(|dir| Source::Dir(dir, filter())),
            self.tar.clone().map(|tar| Source::Tar(tar, filter())),
            self.deb.clone().map(|deb| Source::Deb(deb, filter(), self.status.unwrap_or(true))),
            self.layer.clone().map(Source::Layer),
            match &self.closure {
                Some(closure) => Some(Source::Closure(closure.closure().map_err(AddError::Closure)?)),
                None => None,
            },
            self.nix_database.clone().map(Source::NixDatabase),
            self.text.clone().map(Source::Text),
            self.symlink.clone().map(Source::Symlink),
            self.hardlink.clone().map(Source::Hardlink),
            path(&self.mkdir, Source::Mkdir(self.opaque)),
            self.device.map(Source::Device),
            path(&self.fifo, Source::Fifo),
            path(&self.whiteout, Source::Whiteout),
        ];
        let found: Vec<_> =
            KINDS.into_iter().zip(sources).filter_map(|(kind, source)| Some((kind, source?))).collect();
        match <[_; 1]>::try_from(found) {
            Ok([found]) => Ok(found),
            Err(found) if found.is_empty() => Err(AddError::Kind("none".to_owned())),
            Err(found) => {
                let names: Vec<_> = found.iter().map(|(kind, _)| format!("`{kind}`")).collect();
                Err(AddError::Kind(names.join(" and ")))
            }
        }
    }

    /// Refuses keys that the kind cannot have.
    fn check_keys(&self, kind: &'static str) -> Result<(), AddError> {
        let no_mode = match kind {
            "dir" => ": use `set`",
            "tar" | "deb" => ": its files keep what they have; use `set`",
            "closure" => ": its files have the modes of a Nix store; use `set`",
            "symlink" => ": a link has none",
            _ => "",
        };
        let keys: [(&'static str, bool, &[&str], &'static str); 19] = [
            ("mode", self.mode.is_some() && kind != "dir", WITH_MODE, no_mode),
            ("owner", self.owner.is_some(), WITH_OWNER, ""),
            ("user", self.user.is_some(), WITH_OWNER, ""),
            ("group", self.group.is_some(), WITH_OWNER, ""),
            ("mtime", self.mtime.is_some(), WITH_OWNER, ""),
            ("xattrs", !self.xattrs.is_empty(), WITH_MODE, no_mode),
            ("capabilities", self.capabilities.is_some(), &["file", "text"], ""),
            ("acl", self.acl.is_some(), WITH_MODE, no_mode),
            ("default-acl", self.default_acl.is_some(), &["mkdir"], ""),
            ("include", !self.include.is_empty(), WITH_FILTER, ""),
            ("exclude", !self.exclude.is_empty(), WITH_FILTER, ""),
            ("strip", self.strip > 0, &["dir", "tar"], ""),
            ("devices", self.devices, &["tar", "deb"], ""),
            ("opaque", self.opaque, &["mkdir"], ""),
            ("status", self.status.is_some(), &["deb"], ""),
            (
                "to",
                self.to.is_some() && ["mkdir", "fifo", "whiteout"].contains(&kind),
                &[],
                ": the path is its value",
            ),
            ("to", self.to.is_some() && kind == "deb", &[], ": a package says its paths itself"),
            ("to", self.to.is_some() && kind == "layer", &[], ": a layer says its paths itself"),
            ("to", self.to.is_some() && kind == "nix-database", &[], ": Nix says where it is"),
        ];
        match keys.into_iter().find(|(_, there, kinds, _)| *there && !kinds.contains(&kind)) {
            None => Ok(()),
            Some((key, _, _, why)) => Err(AddError::Extra(kind, key, why)),
        }
    }

    /// Returns where the entry goes.
    fn place(&self, kind: &'static str, source: &Source) -> Result<TreePath, AddError> {
        let own = self.mkdir.as_ref().or(self.fifo.as_ref()).or(self.whiteout.as_ref());
        let many = matches!(
            source,
            Source::Dir(..)
                | Source::Tar(..)
                | Source::Deb(..)
                | Source::Layer(_)
                | Source::Closure(_)
                | Source::NixDatabase(_)
        );
        match own.or(self.to.as_ref()) {
            Some(path) if path.is_root() && !many => Err(AddError::Root(kind)),
            Some(path) => Ok(path.clone()),
            None if matches!(source, Source::Closure(_)) => {
                Ok(TreePath::parse(b"/nix/store").expect("a path"))
            }
            None if many => Ok(TreePath::root()),
            None => Err(AddError::Missing(kind, "to")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_with_wrong_keys() {
        let bad = [
            "{}",
            r#"{"text":"x","file":"x","to":"/a"}"#,
            r#"{"file":"x"}"#,
            r#"{"mkdir":"/a","to":"/a"}"#,
            r#"{"fifo":"/a","to":"/a"}"#,
            r#"{"dir":"x","acl":"user::rw-,group::r--,other::r--"}"#,
            r#"{"tar":"x","mode":"0755"}"#,
            r#"{"tar":"x","xattrs":{"user.a":"b"}}"#,
            r#"{"symlink":"x","to":"/a","mode":"0755"}"#,
            r#"{"symlink":"","to":"/a"}"#,
            r#"{"text":"x","to":"/"}"#,
            r#"{"text":"x","to":"/a","strip":1}"#,
            r#"{"text":"x","to":"/a","opaque":true}"#,
            r#"{"mkdir":"/a","capabilities":"cap_kill=ep"}"#,
            r#"{"text":"x","to":"/a","default-acl":"user::r--,group::r--,other::r--"}"#,
            r#"{"text":"x","to":"/a","mode":"0600","acl":"user::r--,group::r--,other::r--"}"#,
            r#"{"text":"x","to":"/a","capabilities":"cap_kill=ep","xattrs":{"security.capability":"a"}}"#,
            r#"{"whiteout":"/a","owner":"0:0"}"#,
            r#"{"hardlink":"/a","to":"/b","mtime":1}"#,
            r#"{"deb":"a","to":"/b"}"#,
            r#"{"deb":["a","b"],"tar":"c"}"#,
            r#"{"deb":"a","strip":1}"#,
            r#"{"layer":"a","owner":"1:1"}"#,
            r#"{"tar":"a","status":false}"#,
            r#"{"fifo":"/a","xattrs":{"user.a":"b"}}"#,
            r#"{"text":"x","to":"/a/.wh.x"}"#,
            r#"{"mkdir":"/a/.wh..wh..opq"}"#,
            r#"{"tar":"x","to":"/.wh.x/y"}"#,
            r#"{"whiteout":"/.wh.x"}"#,
            r#"{"closure":{"store":"s"}}"#,
            r#"{"closure":{"graph":"g"}}"#,
            r#"{"closure":{"store":"s","graph":"g","paths":[]}}"#,
            r#"{"closure":{"store":"s","graph":"g","plan":"p"}}"#,
            r#"{"closure":{"store":"s","graph":"g","part":0}}"#,
            r#"{"closure":{"store":"s","paths":[],"disallow":["gcc*"]}}"#,
            r#"{"closure":{"store":"s","paths":[],"max-size":1}}"#,
            r#"{"closure":{"store":"s","graph":"g"},"mode":"0755"}"#,
            r#"{"nix-database":"g","to":"/a"}"#,
            r#"{"nix-database":"g","owner":"1:1"}"#,
        ];
        for text in bad {
            let add: Add = serde_json::from_str(text).expect(text);
            assert!(add.entry().is_err(), "{text}");
        }
        let long = Add { whiteout: TreePath::parse(&[b'a'; 252]).ok(), ..Add::default() };
        assert!(matches!(long.entry(), Err(AddError::LongWhiteout(_))));
    }

    #[test]
    fn entries_of_every_kind() {
        let good = [
            r#"{"file":"x","to":"/a","capabilities":"cap_kill=ep","mtime":1}"#,
            r#"{"dir":"x","include":["*.so"],"exclude":["a/**"],"strip":1,"owner":"1:1","mode":"0755"}"#,
            r#"{"tar":"x","to":"/opt","strip":1,"devices":true,"replace":true}"#,
            r#"{"deb":"x","status":false,"exclude":["usr/share/doc"]}"#,
            r#"{"deb":["x","y"],"include":["usr/**"],"replace":true}"#,
            r#"{"layer":"x"}"#,
            r#"{"text":"x","to":"/a","mode":"4644","acl":"user::rw-,group::r--,other::r--"}"#,
            r#"{"hardlink":"/a","to":"/b"}"#,
            r#"{"mkdir":"/a","opaque":true,"default-acl":"user::r--,group::r--,other::r--"}"#,
            r#"{"device":"c 1:3","to":"/dev/null","mode":"0666"}"#,
            r#"{"fifo":"/a","user":"root","group":"adm"}"#,
            r#"{"whiteout":"/a"}"#,
            r#"{"closure":{"store":"s","graph":"g","plan":"p","part":0,"disallow":["gcc*"],"max-size":1}}"#,
            r#"{"closure":{"store":"s","paths":[]},"to":"/a","owner":"1:1"}"#,
            r#"{"nix-database":"g"}"#,
        ];
        for text in good {
            let add: Add = serde_json::from_str(text).expect(text);
            assert!(add.entry().is_ok(), "{text}: {:?}", add.entry());
            let again: Add = serde_json::from_slice(&crate::json::encode(&add)).expect("own JSON");
            assert_eq!(again, add);
        }
    }
}
