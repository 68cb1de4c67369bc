//! How a file is compressed, told from its own first bytes.
//!
//! Neither its name nor a media type decides: images in the field claim the
//! wrong one, and engines look at the bytes too.

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all, or in a way that has no mark.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
    /// xz.
    Xz,
    /// lzma, which older tools write.
    Lzma,
    /// bzip2.
    Bzip2,
}

impl Packing {
    /// As many first bytes as tell them apart.
    pub const HEAD: usize = 13;

    /// Tells from the first [`Packing::HEAD`] bytes, or all where there are fewer.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            // A frame, or one that decoders skip.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y', ..] => Self::Bzip2,
            // No block, only the end: nothing was compressed.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, b'r', b'E', b'8', b'P', 0x90, ..] => Self::Bzip2,
            head if is_lzma(head) => Self::Lzma,
            _ => Self::Plain,
        }
    }

    /// Returns its name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "not compressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Bzip2 => "bzip2",
        }
    }
}

/// Tells whether these can be the first bytes of lzma, which has no mark of its own, as `file` and xz do it.
fn is_lzma(head: &[u8]) -> bool {
    let Some((props, rest)) = head.split_first() else { return false };
    let (Some(dictionary), Some(size)) = (rest.first_chunk(), rest.get(4..).and_then(<[u8]>::first_chunk))
    else {
        return false;
    };
    let (dictionary, size) = (u32::from_le_bytes(*dictionary), u64::from_le_bytes(*size));
    // Every encoder takes 2^n or 2^n + 2^(n-1).
    let usual =
        dictionary.count_ones() == 1 || dictionary.count_ones() == 2 && dictionary & dictionary >> 1 != 0;
    *props < 9 * 5 * 5 && dictionary >= 4096 && usual && (size == u64::MAX || size < 1 << 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_it_and_what_is_too_short_or_a_tar_is_plain() {
        let heads: [(&[u8], Packing); 9] = [
            (b"\x1f\x8b\x08\0", Packing::Gzip),
            (b"\x28\xb5\x2f\xfd\x04", Packing::Zstd),
            (b"\x52\x2a\x4d\x18\x04", Packing::Zstd),
            (b"\xfd7zXZ\0\0\x04", Packing::Xz),
            (b"BZh91AY&SY", Packing::Bzip2),
            (b"BZh1\x17rE8P\x90", Packing::Bzip2),
            (b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff", Packing::Lzma),
            (b"oci-layout\0\0\0", Packing::Plain),
            (&[0; Packing::HEAD], Packing::Plain),
        ];
        for (head, expected) in heads {
            assert_eq!(Packing::of(head), expected, "{head:?}");
            assert_eq!(Packing::of(&head[..2.min(head.len())]), Packing::Plain, "{head:?}");
        }
    }
}
