//! Which file system a device or an image holds, and its label, from its first bytes.

/// How many of them say all that is asked.
pub(crate) const LENGTH: usize = 2048;

/// Where EROFS and ext4 have their superblocks.
const START: usize = 1024;

/// A file system that a seed can be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// Its name in Linux.
    pub(crate) kind: &'static str,
    /// Its label; empty where it has none.
    pub(crate) label: Vec<u8>,
    /// What tells it from others: its UUID; of squashfs, which has none, when it was made and all that its superblock says.
    pub(crate) id: Vec<u8>,
}

/// Reads a superblock.
pub(crate) fn parse(bytes: &[u8]) -> Option<Superblock> {
    // erofs_fs.h: magic, uuid, volume_name; ext4.h: s_magic, s_uuid, s_volume_name; squashfs_fs.h: s_magic, and it has no label.
    let id = |at: usize, length: usize| bytes.get(at..at + length).map(<[u8]>::to_vec);
    let is = |at: usize, magic: &[u8]| bytes.get(at..at + magic.len()) == Some(magic);
    if is(START, &[0xe2, 0xe1, 0xf5, 0xe0]) {
        return Some(Superblock { kind: "erofs", label: text(bytes, START + 64)?, id: id(START + 48, 16)? });
    }
    if is(START + 0x38, &[0x53, 0xef]) {
        return Some(Superblock {
            kind: "ext4",
            label: text(bytes, START + 0x78)?,
            id: id(START + 0x68, 16)?,
        });
    }
    if is(0, b"hsqs") {
        return Some(Superblock { kind: "squashfs", label: Vec::new(), id: id(0, 96)? });
    }
    None
}

/// Sixteen bytes, filled up with zeros.
fn text(bytes: &[u8], at: usize) -> Option<Vec<u8>> {
    let label = bytes.get(at..at + 16)?;
    Some(label.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pieces: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        for (at, piece) in pieces {
            bytes[*at..*at + piece.len()].copy_from_slice(piece);
        }
        bytes
    }

    #[test]
    fn file_systems_are_known_by_their_magic() {
        let erofs: &[u8] = &[0xe2, 0xe1, 0xf5, 0xe0];
        let uuid: &[u8] = b"0123456789abcdef";
        let squashfs = [b"hsqs".as_slice(), &[0; 92]].concat();
        let cases = [
            (with(&[(1024, erofs)]), Some(("erofs", "", &[0; 16][..]))),
            (with(&[(1024, erofs), (1072, uuid), (1088, b"seed")]), Some(("erofs", "seed", uuid))),
            (
                with(&[(1024, erofs), (1088, b"sixteen letters!more")]),
                Some(("erofs", "sixteen letters!", &[0; 16])),
            ),
            (with(&[(1080, &[0x53, 0xef]), (1128, uuid), (1144, b"a b")]), Some(("ext4", "a b", uuid))),
            (with(&[(0, b"hsqs")]), Some(("squashfs", "", &squashfs))),
            (with(&[]), None),
            (with(&[(1024, erofs)])[..1080].to_vec(), None),
            (b"hsqs".to_vec(), None),
            (Vec::new(), None),
        ];
        for (bytes, expected) in cases {
            let expected =
                expected.map(|(kind, label, id)| Superblock { kind, label: label.into(), id: id.to_vec() });
            assert_eq!(parse(&bytes), expected);
        }
    }
}
