//! File capabilities (capabilities(7)), in the text form of `setcap` and the binary form of Linux.

use std::fmt;
use std::str::FromStr;

use crate::text::string_form;

/// Names by number, as in Linux's `include/uapi/linux/capability.h`, without `cap_` in front.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Capabilities that a program gets when it is run, written `"cap_net_raw,cap_kill=ep"`.
///
/// Several groups are separated by blanks. Effective is one flag of the file: it is
/// given with all of the permitted or inheritable capabilities or with none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    permitted: u64,
    inheritable: u64,
    effective: bool,
}

/// Says that a text does not say capabilities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilitiesError {
    /// It is not spelt as expected.
    #[error(
        "capabilities `{0}` are not `NAME[,NAME…]=FLAGS` with flags of `e`, `i` and `p`, as in `cap_net_raw=ep`"
    )]
    Syntax(String),
    /// There is no such capability.
    #[error("no capability `{0}`")]
    Unknown(String),
    /// A file cannot say this.
    #[error("capabilities `{0}`: `e` is given with all of a file's capabilities or with none")]
    Effective(String),
}

impl Capabilities {
    /// The xattr that holds them.
    pub const XATTR: &'static [u8] = b"security.capability";

    /// VFS_CAP_REVISION_2: two 32-bit words of each set.
    const REVISION: u32 = 0x0200_0000;
    /// VFS_CAP_FLAGS_EFFECTIVE.
    const EFFECTIVE: u32 = 1;

    /// Returns the value of the xattr: `struct vfs_cap_data`, little-endian.
    pub fn xattr_value(&self) -> Vec<u8> {
        let magic = Self::REVISION | if self.effective { Self::EFFECTIVE } else { 0 };
        let low = |set: u64| (set & u64::from(u32::MAX)) as u32;
        let high = |set: u64| (set >> 32) as u32;
        let words =
            [magic, low(self.permitted), low(self.inheritable), high(self.permitted), high(self.inheritable)];
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn groups(text: &str) -> Result<Vec<(u64, &str)>, CapabilitiesError> {
        let syntax = || CapabilitiesError::Syntax(text.to_owned());
        let group = |group: &str| -> Result<u64, CapabilitiesError> {
            let bit = |name: &str| {
                let lower = name.to_ascii_lowercase();
                let short = lower.strip_prefix("cap_").unwrap_or_default();
                let number = NAMES.iter().position(|known| *known == short);
                number.map(|number| 1u64 << number).ok_or_else(|| CapabilitiesError::Unknown(name.to_owned()))
            };
            group.split(',').map(bit).try_fold(0, |set, bit| Ok(set | bit?))
        };
        let split = |word| {
            let (names, flags) = str::split_once(word, ['=', '+']).ok_or_else(syntax)?;
            if flags.is_empty() || !flags.bytes().all(|flag| b"eip".contains(&flag)) {
                return Err(syntax());
            }
            Ok((group(names)?, flags))
        };
        text.split_ascii_whitespace().map(split).collect()
    }
}

impl FromStr for Capabilities {
    type Err = CapabilitiesError;

    fn from_str(text: &str) -> Result<Self, CapabilitiesError> {
        let groups = Self::groups(text)?;
        if groups.is_empty() {
            return Err(CapabilitiesError::Syntax(text.to_owned()));
        }
        let set = |flag: char| {
            groups.iter().filter(|(_, flags)| flags.contains(flag)).fold(0, |set, (bits, _)| set | bits)
        };
        let (effective, inheritable, permitted) = (set('e'), set('i'), set('p'));
        if effective != 0 && effective != permitted | inheritable {
            return Err(CapabilitiesError::Effective(text.to_owned()));
        }
        Ok(Self { permitted, inheritable, effective: effective != 0 })
    }
}

/// Writes one group for each set of flags, in the order of capability numbers.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = self.permitted & self.inheritable;
        let groups = [(both, "ip"), (self.inheritable & !both, "i"), (self.permitted & !both, "p")];
        let mut separator = "";
        for (bits, flags) in groups.into_iter().filter(|(bits, _)| *bits != 0) {
            let names = NAMES.iter().enumerate().filter(|(number, _)| bits >> number & 1 == 1);
            let names: Vec<_> = names.map(|(_, name)| format!("cap_{name}")).collect();
            let effective = if self.effective { "e" } else { "" };
            write!(f, "{separator}{}={effective}{flags}", names.join(","))?;
            separator = " ";
        }
        Ok(())
    }
}

string_form!(Capabilities, "Capabilities", "=", "File capabilities, as `cap_net_raw=ep`.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_form_is_linuxs() {
        // What `setcap cap_net_bind_service,cap_net_raw=ep` stores, read back with getfattr.
        let capabilities: Capabilities = "cap_net_raw,cap_net_bind_service+ep".parse().expect("good");
        let expected = [1, 0, 0, 2, 0, 0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(capabilities.xattr_value(), expected);
        assert_eq!(capabilities.to_string(), "cap_net_bind_service,cap_net_raw=ep");
        let high: Capabilities = "cap_bpf=i cap_chown=p".parse().expect("good");
        let expected = [0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0];
        assert_eq!(high.xattr_value(), expected);
        assert_eq!(high.to_string().parse(), Ok(high));
    }

    #[test]
    fn what_a_file_cannot_have_is_refused() {
        for bad in
            ["", "cap_kill", "cap_kill=", "cap_kill=x", "kill=ep", "cap_nothing=ep", "cap_kill=e cap_chown=p"]
        {
            assert!(bad.parse::<Capabilities>().is_err(), "{bad}");
        }
    }
}
