//! Digests and the two identities that are made of them: diff id and chain id.
//!
//! Only sha256 is accepted, as in every store that ociseed writes. The text
//! form is that of the OCI image specification, `sha256:` and 64 lower-case
//! hexadecimal digits; no other spelling of the same value exists.

use std::fmt;
use std::io;
use std::str::FromStr;

use sha2::Digest as _;

use crate::text::string_form;

/// A sha256 digest, written `sha256:<64 lower-case hexadecimal digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Says what is wrong with a text that should be a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("digest `{found}` is not `sha256:` and 64 lower-case hexadecimal digits")]
pub struct DigestError {
    found: String,
}

impl Digest {
    /// Computes the digest of bytes that are in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Takes the 32 bytes of a digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 hexadecimal digits, the name of the blob's file in an image layout.
    pub fn hex(&self) -> String {
        crate::hex(&self.0)
    }

    /// Parses the 64 hexadecimal digits alone.
    ///
    /// # Errors
    /// Anything but 64 digits of `0-9a-f`.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let error = || DigestError { found: hex.to_owned() };
        if hex.len() != 64 {
            return Err(error());
        }
        let mut value = [0; 32];
        for (byte, pair) in value.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte =
                nibble(pair[0]).zip(nibble(pair[1])).map(|(high, low)| high << 4 | low).ok_or_else(error)?;
        }
        Ok(Self(value))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let error = || DigestError { found: text.to_owned() };
        Self::from_hex(text.strip_prefix("sha256:").ok_or_else(error)?).map_err(|_| error())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

string_form!(Digest, "Digest", "^sha256:[0-9a-f]{64}$", "A sha256 digest.");

/// Computes a [`Digest`] and a size from bytes that pass by in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    size: u64,
}

impl Hasher {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Hashes all that a reader has left.
    ///
    /// # Errors
    /// What the reader says.
    pub fn read(&mut self, mut from: impl io::Read) -> io::Result<()> {
        // Large enough that calls do not count.
        let mut piece = vec![0; 128 * 1024];
        loop {
            match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(count) => self.update(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns how many bytes were added so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest of all bytes that were added.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

/// Hashes what is written.
impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of a layer's uncompressed tar (OCI image specification, "Layer DiffID").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct DiffId(Digest);

impl DiffId {
    /// States that `digest` is that of an uncompressed layer tar.
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a stack of layers (OCI image specification, "Layer ChainID").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct ChainId(Digest);

impl ChainId {
    /// Computes the chain id of `layer` on top of `parent`, or of `layer` alone.
    pub fn over(parent: Option<&Self>, layer: &DiffId) -> Self {
        match parent {
            None => Self(layer.0),
            Some(parent) => Self(Digest::of(format!("{} {}", parent.0, layer.0).as_bytes())),
        }
    }

    /// Computes the chain id of each prefix of `layers`, bottom first.
    pub fn chain(layers: &[DiffId]) -> Vec<Self> {
        let mut chain: Vec<Self> = Vec::with_capacity(layers.len());
        for layer in layers {
            chain.push(Self::over(chain.last(), layer));
        }
        chain
    }

    /// Returns the digest.
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn text_form_has_one_spelling() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
        for bad in ["", "sha256:", &EMPTY[7..], &EMPTY.to_uppercase(), &format!("{EMPTY}0"), "sha512:00"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hasher_counts_and_equals_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"ab");
        hasher.update(b"c");
        assert_eq!((hasher.size(), hasher.finish()), (3, Digest::of(b"abc")));
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let layers: Vec<_> = [b"a", b"b", b"c"].map(|bytes| DiffId::new(Digest::of(bytes))).to_vec();
        let chain = ChainId::chain(&layers);
        assert_eq!(chain[0].digest(), layers[0].digest());
        let second = Digest::of(format!("{} {}", layers[0], layers[1]).as_bytes());
        let third = Digest::of(format!("{second} {}", layers[2]).as_bytes());
        assert_eq!((chain[1].digest(), chain[2].digest()), (&second, &third));
    }
}
