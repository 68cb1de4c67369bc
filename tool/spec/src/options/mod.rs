//! Small values that specs and parameters write as one text or one small table.

mod acl;
mod capability;
mod compression;
mod datetime;
mod device;
mod erofs;
mod level;
mod mode;
mod owner;
#[cfg(feature = "file")]
mod pattern;
mod time;
mod version;
mod volume;
mod xattr;

pub use acl::{Acl, AclError};
pub use capability::{Capabilities, CapabilitiesError};
pub use compression::{Compression, CompressionError};
pub use datetime::{DateTime, DateTimeError};
pub use device::{Device, DeviceError, DeviceKind};
pub use erofs::{ErofsCompression, ErofsCompressionError};
pub use mode::{FileMode, FileModeError};
pub use owner::{Owner, OwnerError, OwnerName, OwnerNameError};
#[cfg(feature = "file")]
pub use pattern::{Pattern, PatternError};
pub use time::{Timestamp, TimestampError};
pub use version::{ContainerdVersion, ContainerdVersionError};
pub use volume::{Label, LabelError, Uuid, UuidError};
pub use xattr::{XattrError, XattrName, XattrValue};
