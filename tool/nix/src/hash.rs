//! Hashes as Nix writes them.

use ociseed_spec::hex;

/// The digits of Nix's base 32.
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Returns a sha256 in the form of the database, `sha256:` and 64 hexadecimal digits, of `sha256:` and as many or 52 digits of
/// Nix's base 32 (the Nix manual, "Nix32 encoding"); nothing where it is neither.
pub(crate) fn normalized(text: &str) -> Option<String> {
    let digits = text.strip_prefix("sha256:")?.as_bytes();
    let bytes = match digits.len() {
        64 if digits.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte)) => {
            return Some(text.to_owned());
        }
        52 => from_base_32(digits)?,
        _ => return None,
    };
    Some(format!("sha256:{}", hex(&bytes)))
}

/// Reads a number of 256 bits, the last digit of which is the lowest, and whose first byte is the lowest.
fn from_base_32(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0u8; 32];
    for (number, digit) in digits.iter().rev().enumerate() {
        let value = u16::try_from(DIGITS.iter().position(|known| known == digit)?).ok()?;
        let (byte, bit) = (number * 5 / 8, number * 5 % 8);
        let [low, high] = (value << bit).to_le_bytes();
        bytes[byte] |= low;
        match bytes.get_mut(byte + 1) {
            Some(next) => *next |= high,
            None if high == 0 => {}
            None => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_both_forms() {
        // Of the empty text, as `nix-hash` prints it.
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(normalized(empty).as_deref(), Some(empty));
        let base_32 = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        assert_eq!(normalized(base_32).as_deref(), Some(empty));
        let bad = [
            "",
            "sha256:",
            &empty[7..],
            "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c7e",
            "sha256:zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
        ];
        for text in bad {
            assert_eq!(normalized(text), None, "{text}");
        }
    }
}
