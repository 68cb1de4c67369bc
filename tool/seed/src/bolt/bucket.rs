//! Buckets in memory: sorted maps from keys to values or further buckets, each with a sequence.

use std::collections::BTreeMap;

/// A key has at most so many bytes, and at least one: bbolt's `MaxKeySize`.
pub const MAX_KEY: usize = 32768;

/// A value has at most so many bytes: bbolt's `MaxValueSize`.
pub const MAX_VALUE: usize = (1 << 31) - 2;

/// Buckets lie in one another at most so deep, the root being the first. bbolt has no limit; containerd's lie eight deep
/// at most, and those who walk buckets call themselves for each.
pub const MAX_DEPTH: usize = 64;

/// A sorted map from keys to values or buckets, and a sequence.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Bucket {
    items: BTreeMap<Vec<u8>, Item>,
    sequence: u64,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Bytes.
    Value(Vec<u8>),
    /// Further keys.
    Bucket(Bucket),
}

impl Bucket {
    /// Makes an empty bucket.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a key a value, in place of whatever it stood for.
    ///
    /// # Panics
    /// The key is empty or longer than [`MAX_KEY`], the value longer than [`MAX_VALUE`]: bbolt takes no such, and keys that
    /// come from outside are to be checked there.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let value = value.into();
        assert!(value.len() <= MAX_VALUE, "a value of {} bytes, at most {MAX_VALUE} can be", value.len());
        self.items.insert(checked(key.into()), Item::Value(value));
    }

    /// Finds the bucket of a key, or makes an empty one.
    ///
    /// # Panics
    /// The key stands for a value, which nobody may lose by asking for a bucket; the key is none that
    /// [`put`](Self::put) takes.
    pub fn bucket(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        let item = self.items.entry(checked(key.into())).or_insert_with(|| Item::Bucket(Self::new()));
        item.as_bucket_mut().expect("a key that a bucket is wanted of stands for no value")
    }

    /// Sets the number that bbolt's `NextSequence` counts on from.
    pub fn set_sequence(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    /// Returns the number that was last given out.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns what a key stands for.
    pub fn get(&self, key: &[u8]) -> Option<&Item> {
        self.items.get(key)
    }

    /// Returns the value of a key, if it stands for one.
    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        match self.get(key)? {
            Item::Value(value) => Some(value),
            Item::Bucket(_) => None,
        }
    }

    /// Returns the bucket of a key, if it stands for one.
    pub fn child(&self, key: &[u8]) -> Option<&Self> {
        match self.get(key)? {
            Item::Value(_) => None,
            Item::Bucket(bucket) => Some(bucket),
        }
    }

    /// Goes through keys and what they stand for, in the order of the keys' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Item)> {
        self.items.iter().map(|(key, item)| (key.as_slice(), item))
    }

    /// Counts the keys.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Says whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Makes a bucket of keys that were checked already.
    pub(super) fn from_items(items: Vec<(Vec<u8>, Item)>, sequence: u64) -> Self {
        Self { items: items.into_iter().collect(), sequence }
    }
}

impl Item {
    fn as_bucket_mut(&mut self) -> Option<&mut Bucket> {
        match self {
            Self::Value(_) => None,
            Self::Bucket(bucket) => Some(bucket),
        }
    }
}

fn checked(key: Vec<u8>) -> Vec<u8> {
    let length = key.len();
    assert!((1..=MAX_KEY).contains(&length), "a key of {length} bytes, 1 to {MAX_KEY} can be");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_as_what_they_stand_for() {
        let mut root = Bucket::new();
        assert!(root.is_empty());
        root.put("b", "1");
        root.put("b", "2");
        root.bucket("a").put([0], []);
        root.bucket("a").set_sequence(7);
        assert_eq!((root.len(), root.is_empty(), root.sequence()), (2, false, 0));
        assert_eq!((root.value(b"b"), root.child(b"b")), (Some(&b"2"[..]), None));
        let child = root.child(b"a").expect("a bucket");
        assert_eq!((child.len(), child.sequence(), child.value(&[0])), (1, 7, Some(&[][..])));
        assert_eq!((root.value(b"a"), root.get(b"c")), (None, None));
        assert_eq!(root.iter().map(|(key, _)| key).collect::<Vec<_>>(), [b"a", b"b"]);
        root.put("a", "3");
        assert_eq!(root.value(b"a"), Some(&b"3"[..]), "a bucket is replaced too");
    }

    #[test]
    #[should_panic(expected = "stands for no value")]
    fn a_value_is_not_lost_to_a_bucket() {
        let mut root = Bucket::new();
        root.put("a", "1");
        root.bucket("a");
    }

    #[test]
    fn keys_have_limits() {
        for (length, taken) in [(0, false), (1, true), (MAX_KEY, true), (MAX_KEY + 1, false)] {
            let put = std::panic::catch_unwind(|| Bucket::new().put(vec![b'k'; length], ""));
            let bucket = std::panic::catch_unwind(|| Bucket::new().bucket(vec![b'k'; length]).len());
            assert_eq!((put.is_ok(), bucket.is_ok()), (taken, taken), "{length}");
        }
    }
}
