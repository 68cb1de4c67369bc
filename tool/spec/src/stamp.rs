//! What a file system says of a file that changes whenever the file does.

use crate::Timestamp;

/// Device, inode, size and times of a file: while they are the same, nobody has written to it.
///
/// See docs/format.md, "The cache", for what can escape it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the device that the file system is on.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// When the content was last written, which anybody may set to any time.
    pub modified: Timestamp,
    /// When content or metadata were last changed, which only the clock sets.
    pub changed: Timestamp,
}

impl Stamp {
    /// Makes a stamp of what `stat` says: each time as seconds and nanoseconds.
    pub fn new(device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64)) -> Self {
        let time =
            |(seconds, nanoseconds)| Timestamp::new(seconds, u32::try_from(nanoseconds).unwrap_or_default());
        Self { device, inode, size, modified: time(modified), changed: time(changed) }
    }

    /// What two changes can be apart and still have one time: twice the longest tick of Linux (100 Hz), in nanoseconds.
    const GRAIN: i128 = 20_000_000;
    /// The same where the file system has whole seconds, and FAT even ones.
    const COARSE_GRAIN: i128 = 2_000_000_000;

    /// Returns the first time, in nanoseconds since the epoch, at which a change would show in the stamp.
    pub fn settles(&self) -> i128 {
        // A file system without fractions may be one without a change time of its own.
        let whole = self.modified.nanoseconds() == 0 && self.changed.nanoseconds() == 0;
        if whole {
            nanoseconds(self.modified.max(self.changed)) + Self::COARSE_GRAIN
        } else {
            nanoseconds(self.changed) + Self::GRAIN
        }
    }
}

/// Returns nanoseconds since the epoch.
fn nanoseconds(time: Timestamp) -> i128 {
    i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanoseconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_settles_when_the_clock_has_surely_gone_on() {
        let stamp = |modified, changed| Stamp { device: 1, inode: 2, size: 3, modified, changed };
        let (early, late) = (Timestamp::new(10, 5), Timestamp::new(20, 7));
        assert_eq!(stamp(early, late).settles(), 20_020_000_007);
        // A modification time may be any; only the clock sets the other.
        assert_eq!(stamp(late, early).settles(), 10_020_000_005);
        // No fractions: a file system that has none.
        assert_eq!(stamp(Timestamp::new(9, 0), Timestamp::new(20, 0)).settles(), 22_000_000_000);
        assert_eq!(stamp(Timestamp::new(9, 0), late).settles(), 20_020_000_007);
    }
}
