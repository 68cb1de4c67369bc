//! The words of ociseed as types, with one parse function each and no I/O.
//!
//! Everything that two crates, the Bazel rules, the Nix functions or the
//! loader must agree on is here: digests, references, platforms, paths inside
//! an image, the spec file, the parameters and metadata of single steps, and
//! the lock. `docs/format.md` is the contract that these types follow.

pub mod annotation;
pub mod containerd_root;
mod digest;
pub mod document;
#[cfg(feature = "file")]
pub mod file;
pub mod json;
mod key;
pub mod listing;
pub mod load;
pub mod lock;
pub mod media_type;
pub mod metadata;
mod options;
mod packing;
#[cfg(feature = "file")]
pub mod params;
mod path;
mod platform;
pub mod records;
mod reference;
mod stamp;
mod store_path;
mod text;

pub use digest::{ChainId, DiffId, Digest, DigestError, Hasher};
pub use key::{Key, KeyError};
pub use options::{
    Acl, AclError, Capabilities, CapabilitiesError, Compression, CompressionError, ContainerdVersion,
    ContainerdVersionError, DateTime, DateTimeError, Device, DeviceError, DeviceKind, ErofsCompression,
    ErofsCompressionError, FileMode, FileModeError, Label, LabelError, Owner, OwnerError, OwnerName,
    OwnerNameError, Timestamp, TimestampError, Uuid, UuidError, XattrError, XattrName, XattrValue,
};
#[cfg(feature = "file")]
pub use options::{Pattern, PatternError};
pub use packing::Packing;
pub use path::{TreePath, TreePathError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use stamp::Stamp;
pub use store_path::{LayerPlan, LayerPlanError, StorePathName, StorePathNameError};
pub use text::{chain, escape, hex, shown, shown_path};
