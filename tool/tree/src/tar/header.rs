//! One header block, whoever wrote it.

use super::BLOCK;
use super::error::{TarProblem, shown};

/// A header block whose checksum is right.
pub(super) struct Header(tar::Header);

/// Who made up the fields behind the link's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Version 7 of Unix: there are none.
    Old,
    Ustar,
    Gnu,
}

impl Header {
    /// Takes a block; nothing where it is zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Option<Self>, TarProblem> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = tar::Header::from_byte_slice(block).clone();
        let field = &header.as_old().cksum;
        // The field itself counts as blanks.
        let sum = |value: &dyn Fn(u8) -> i32| {
            let bytes = |bytes: &[u8]| bytes.iter().map(|byte| value(*byte)).sum::<i32>();
            bytes(block) - bytes(field) + 8 * i32::from(b' ')
        };
        let expected = sum(&i32::from);
        let found = octal(field);
        // Some old programs added up signed bytes.
        let signed = || sum(&|byte| i32::from(byte.cast_signed()));
        if found == Some(expected.into()) || found == Some(signed().into()) {
            return Ok(Some(Self(header)));
        }
        Err(TarProblem::Checksum { expected, found: shown(text(field)) })
    }

    pub(super) fn kind(&self) -> u8 {
        self.0.as_old().linkflag[0]
    }

    pub(super) fn format(&self) -> Format {
        match &self.0.as_bytes()[257..263] {
            b"ustar " => Format::Gnu,
            [b'u', b's', b't', b'a', b'r', _] => Format::Ustar,
            _ => Format::Old,
        }
    }

    /// Returns the header as GNU tar lays it out.
    pub(super) fn as_gnu(&self) -> Option<&tar::GnuHeader> {
        (self.format() == Format::Gnu).then(|| self.0.as_gnu()).flatten()
    }

    /// Returns the path, with ustar's prefix.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0.as_old().name);
        match self.format() {
            Format::Ustar => match text(&self.0.as_bytes()[345..500]) {
                b"" => name.to_vec(),
                prefix => [prefix, b"/", name].concat(),
            },
            _ => name.to_vec(),
        }
    }

    pub(super) fn link(&self) -> &[u8] {
        text(&self.0.as_old().linkname)
    }

    /// Returns the names of user and group; empty where there are none.
    pub(super) fn names(&self) -> [&[u8]; 2] {
        match self.format() {
            Format::Old => [b"", b""],
            _ => [text(&self.0.as_bytes()[265..297]), text(&self.0.as_bytes()[297..329])],
        }
    }

    pub(super) fn mode(&self) -> Result<u16, TarProblem> {
        let bits = number("mode", &self.0.as_old().mode, 0, i128::from(u64::MAX))?;
        Ok(u16::try_from(bits & 0o7777).expect("twelve bits"))
    }

    pub(super) fn uid(&self) -> Result<u64, TarProblem> {
        unsigned("uid", &self.0.as_old().uid)
    }

    pub(super) fn gid(&self) -> Result<u64, TarProblem> {
        unsigned("gid", &self.0.as_old().gid)
    }

    pub(super) fn size(&self) -> Result<u64, TarProblem> {
        unsigned("size", &self.0.as_old().size)
    }

    pub(super) fn mtime(&self) -> Result<i64, TarProblem> {
        let mtime = number("mtime", &self.0.as_old().mtime, i64::MIN.into(), i64::MAX.into())?;
        Ok(i64::try_from(mtime).expect("in that range"))
    }

    /// Returns the numbers of a device; 0 where the header has no room for any.
    pub(super) fn device(&self) -> Result<[u32; 2], TarProblem> {
        if self.format() == Format::Old {
            return Ok([0, 0]);
        }
        let number = |name, at: usize| {
            let field = &self.0.as_bytes()[at..at + 8];
            number(name, field, 0, u32::MAX.into())
                .map(|number| u32::try_from(number).expect("in that range"))
        };
        Ok([number("devmajor", 329)?, number("devminor", 337)?])
    }
}

/// Reads a number that cannot be negative.
pub(super) fn unsigned(name: &'static str, field: &[u8]) -> Result<u64, TarProblem> {
    // Sizes are added to each other and to offsets, which are signed for the operating system.
    number(name, field, 0, i64::MAX.into()).map(|number| u64::try_from(number).expect("in that range"))
}

/// Reads octal digits, or GNU's base-256 form.
fn number(name: &'static str, field: &[u8], min: i128, max: i128) -> Result<i128, TarProblem> {
    let value = if field[0] & 0x80 == 0 { octal(field) } else { Some(base_256(field)) };
    let value = value.ok_or_else(|| TarProblem::number(name, text(field), "octal digits"))?;
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    let expected = if value < min { "a number from 0 on" } else { "a smaller number" };
    Err(TarProblem::number(name, value.to_string().as_bytes(), expected))
}

/// Reads octal digits between blanks and NULs; none at all are 0.
fn octal(field: &[u8]) -> Option<i128> {
    let field = field.trim_ascii_start();
    let end = field.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(field.len());
    let (digits, rest) = field.split_at(end);
    if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| match digit {
        b'0'..=b'7' => Some(sum * 8 + i128::from(digit - b'0')),
        _ => None,
    })
}

/// Reads a two's complement number in all bits but the first, which marks the form.
fn base_256(field: &[u8]) -> i128 {
    // The marked bit is not part of the number, whose sign is the next one.
    let first = i128::from((field[0] << 1).cast_signed() >> 1);
    field[1..].iter().fold(first, |sum, byte| sum << 8 | i128::from(*byte))
}

/// Cuts a field at its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: [(&[u8], Option<i128>); 13] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0\0\0\0\0", Some(0o644)),
            (b"77777777", Some(0o7777_7777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"0000648\0", None),
            (b"64 4\0\0\0\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\0", Some(-256)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff", Some((1 << 62) - 1)),
        ];
        for (field, expected) in cases {
            let found = number("size", field, i128::MIN, i128::MAX);
            assert_eq!(found.ok(), expected, "{}", field.escape_ascii());
        }
        let twelve = b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(number("size", twelve, i128::MIN, i128::MAX), Ok(u64::MAX.into()));
        assert!(unsigned("size", twelve).is_err());
    }
}
