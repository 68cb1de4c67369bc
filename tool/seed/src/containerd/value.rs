//! How containerd writes numbers and times into its bolt files.

/// Seconds from the first year of Go's calendar to 1970.
const UNIX_EPOCH: i64 = 62_135_596_800;

/// Writes a number as Go's `binary.PutUvarint`.
pub(super) fn unsigned(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Writes a number as Go's `binary.PutVarint`, which puts the sign last.
pub(super) fn signed(number: u64) -> Vec<u8> {
    unsigned(number << 1)
}

/// Writes the start of 1970 in UTC as Go's `Time.MarshalBinary`: version, seconds, nanoseconds, and -1 for UTC.
pub(super) fn epoch() -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(UNIX_EPOCH.to_be_bytes());
    bytes.extend(0_i32.to_be_bytes());
    bytes.extend((-1_i16).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_go() {
        let cases: [(u64, &[u8], &[u8]); 5] = [
            (0, &[0], &[0]),
            (1, &[1], &[2]),
            (63, &[63], &[126]),
            (64, &[64], &[0x80, 1]),
            (300, &[0xac, 2], &[0xd8, 4]),
        ];
        for (number, plain, zigzag) in cases {
            assert_eq!((unsigned(number), signed(number)), (plain.to_vec(), zigzag.to_vec()), "{number}");
        }
        assert_eq!(unsigned(u64::MAX).len(), 10);
    }

    #[test]
    fn the_epoch_is_that_of_go() {
        // time.Unix(0, 0).UTC().MarshalBinary()
        let expected = [1, 0, 0, 0, 0x0e, 0x77, 0x91, 0xf7, 0, 0, 0, 0, 0, 0xff, 0xff];
        assert_eq!(epoch(), expected);
    }
}
