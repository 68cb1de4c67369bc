//! Writing a bolt file: leaves filled to the size of a page, branches above them, small buckets inside their key's value.
//!
//! The same buckets give the same bytes. Pages are in the order in which they are known: those of the buckets in a bucket,
//! its leaves, its branches from the lowest level up, and the root bucket's root last. Nothing in the file is free, as in
//! one that bbolt itself compacted.
//!
//! **The freelist is written**, empty, as bbolt writes that of a new file and containerd 1.6 writes its own. Later containerd
//! asks bbolt not to write it (`NoFreelistSync`), but reads it where there is one and lets its page go with the first
//! transaction. Where there is none it walks the whole file when it starts (0.7 s where 70,000 images are, against 0.1 ms), and
//! programs that do not ask for that write one before they do anything else. So this costs a page once, and every version
//! opens the file without a walk or a write.

use std::borrow::Cow;
use std::ops::Range;

use super::bucket::{Bucket, Item, MAX_DEPTH};
use super::page::{
    BRANCH, BUCKET, BUCKET_HEADER, CHECKED, ELEMENT, FREELIST, HEADER, LEAF, MAGIC, META, PAGE, VERSION,
    checksum, element_at,
};

/// An inline bucket takes at most this part of a page, its sequence not counted: bbolt's `maxInlineBucketSize`.
const INLINE_PART: usize = 4;

/// The freelist's page.
const FREE_PAGE: u64 = 2;
/// The first page after the meta pages and the freelist.
const FIRST_PAGE: u64 = 3;

/// A branch has at least so many pages below it: where a page in it becomes too small bbolt joins it with the one beside it,
/// and stops the program if there is none (`parent must have at least 2 children`).
const MIN_BRANCH: usize = 2;

/// Writes the whole file.
///
/// # Panics
/// Buckets lie in one another deeper than [`MAX_DEPTH`]: [`decode`](super::decode) would not take them back.
pub fn encode(root: &Bucket) -> Vec<u8> {
    encode_in_pages(root, PAGE)
}

pub(super) fn encode_in_pages(root: &Bucket, page_size: usize) -> Vec<u8> {
    let mut file = File { page_size, bytes: vec![0; FIRST_PAGE as usize * page_size] };
    let root_page = file.bucket(root, 1);
    let pages = file.next_page();
    for id in 0..2 {
        let meta = file.meta_page(id, [root_page, root.sequence(), FREE_PAGE, pages, id]);
        file.bytes[id as usize * page_size..][..meta.len()].copy_from_slice(&meta);
    }
    let mut free = Vec::with_capacity(HEADER);
    push_header(&mut free, FREE_PAGE, FREELIST, 0, 0);
    file.bytes[FREE_PAGE as usize * page_size..][..HEADER].copy_from_slice(&free);
    file.bytes
}

/// The file as far as it is written, whole pages.
struct File {
    page_size: usize,
    bytes: Vec<u8>,
}

/// An element of a leaf.
struct Element<'a> {
    kind: u32,
    key: &'a [u8],
    value: Cow<'a, [u8]>,
}

impl Element<'_> {
    fn size(&self) -> usize {
        ELEMENT + self.key.len() + self.value.len()
    }
}

impl File {
    fn next_page(&self) -> u64 {
        (self.bytes.len() / self.page_size) as u64
    }

    /// Says what a transaction left: root page, its sequence, freelist, pages in use, and the transaction's number. The two
    /// meta pages of a new file say the same of the transactions 0 and 1.
    fn meta_page(&self, id: u64, left: [u64; 5]) -> Vec<u8> {
        let mut page = Vec::with_capacity(HEADER + CHECKED + 8);
        push_header(&mut page, id, META, 0, 0);
        let flags = 0;
        for number in [MAGIC, VERSION, self.page_size as u32, flags] {
            page.extend(number.to_le_bytes());
        }
        left.iter().for_each(|number| page.extend(number.to_le_bytes()));
        page.extend(checksum(&page[HEADER..]).to_le_bytes());
        page
    }

    /// Counts the pages that belong to one with elements of this size with their keys and values.
    fn overflow(&self, size: usize) -> usize {
        (HEADER + size).div_ceil(self.page_size) - 1
    }

    /// Writes a bucket's pages and returns the number of its root page.
    fn bucket(&mut self, bucket: &Bucket, depth: usize) -> u64 {
        assert!(depth <= MAX_DEPTH, "buckets lie in one another at most {MAX_DEPTH} deep");
        let mut elements = Vec::with_capacity(bucket.len());
        for (key, item) in bucket.iter() {
            let (kind, value) = match item {
                Item::Value(value) => (0, Cow::Borrowed(value.as_slice())),
                Item::Bucket(child) => (BUCKET, Cow::Owned(self.child(child, depth + 1))),
            };
            elements.push(Element { kind, key, value });
        }
        let leaves = split(elements.iter().map(Element::size), self.page_size, 1);
        let mut level: Vec<(&[u8], u64)> = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let elements = &elements[leaf];
            level.push((elements.first().map_or(&[], |first| first.key), self.leaf(elements)));
        }
        while level.len() > 1 {
            let pages = split(level.iter().map(|(key, _)| ELEMENT + key.len()), self.page_size, MIN_BRANCH);
            level = pages.into_iter().map(|page| (level[page.start].0, self.branch(&level[page]))).collect();
        }
        level[0].1
    }

    /// Writes what stands for a bucket in the one that it is in; its pages, if it has some.
    fn child(&mut self, bucket: &Bucket, depth: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(BUCKET_HEADER);
        match inline_elements(bucket, self.page_size / INLINE_PART) {
            Some(elements) => {
                push_bucket_header(&mut value, 0, bucket.sequence());
                push_leaf(&mut value, 0, 0, &elements);
            }
            None => push_bucket_header(&mut value, self.bucket(bucket, depth), bucket.sequence()),
        }
        value
    }

    fn leaf(&mut self, elements: &[Element<'_>]) -> u64 {
        let id = self.next_page();
        let overflow = self.overflow(elements.iter().map(Element::size).sum());
        push_leaf(&mut self.bytes, id, overflow, elements);
        self.fill_page();
        id
    }

    fn branch(&mut self, children: &[(&[u8], u64)]) -> u64 {
        let id = self.next_page();
        let overflow = self.overflow(children.iter().map(|(key, _)| ELEMENT + key.len()).sum());
        push_header(&mut self.bytes, id, BRANCH, children.len(), overflow);
        let mut data = element_at(children.len());
        for (index, (key, child)) in children.iter().enumerate() {
            for number in [data - element_at(index), key.len()] {
                self.bytes.extend((number as u32).to_le_bytes());
            }
            self.bytes.extend(child.to_le_bytes());
            data += key.len();
        }
        children.iter().for_each(|(key, _)| self.bytes.extend_from_slice(key));
        self.fill_page();
        id
    }

    fn fill_page(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(self.page_size), 0);
    }
}

/// Returns a bucket's elements if it is to be written inline: bbolt's own rule, by which it has no buckets and is small.
fn inline_elements(bucket: &Bucket, limit: usize) -> Option<Vec<Element<'_>>> {
    let mut size = HEADER;
    let mut elements = Vec::new();
    for (key, item) in bucket.iter() {
        let Item::Value(value) = item else { return None };
        let element = Element { kind: 0, key, value: Cow::Borrowed(value) };
        size += element.size();
        if size > limit {
            return None;
        }
        elements.push(element);
    }
    Some(elements)
}

/// Says which elements share a page: as many as fit, and at least `least`, so that a page overflows only for what is
/// too large to fit anywhere. No elements make one page too.
fn split(sizes: impl Iterator<Item = usize>, page_size: usize, least: usize) -> Vec<Range<usize>> {
    let mut pages: Vec<Range<usize>> = Vec::new();
    let (mut start, mut count, mut used) = (0, 0, HEADER);
    for size in sizes {
        if used + size > page_size && count - start >= least {
            pages.push(start..count);
            (start, used) = (count, HEADER);
        }
        used += size;
        count += 1;
    }
    if count - start < least
        && let Some(last) = pages.pop()
    {
        // Too few are left for a page of their own: the page before gives some of its, or takes them.
        if count - last.start >= 2 * least {
            pages.extend([last.start..count - least, count - least..count]);
        } else {
            pages.push(last.start..count);
        }
    } else {
        pages.push(start..count);
    }
    pages
}

fn push_leaf(out: &mut Vec<u8>, id: u64, overflow: usize, elements: &[Element<'_>]) {
    push_header(out, id, LEAF, elements.len(), overflow);
    let mut data = element_at(elements.len());
    for (index, Element { kind, key, value }) in elements.iter().enumerate() {
        out.extend(kind.to_le_bytes());
        // No page is larger than a key and a value can be together, which 32 bits hold.
        for number in [data - element_at(index), key.len(), value.len()] {
            out.extend((number as u32).to_le_bytes());
        }
        data += key.len() + value.len();
    }
    for Element { key, value, .. } in elements {
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
}

fn push_header(out: &mut Vec<u8>, id: u64, kind: u16, count: usize, overflow: usize) {
    out.extend(id.to_le_bytes());
    out.extend(kind.to_le_bytes());
    // Each element takes more than 16 bytes of a page of at most 64 KiB, or is alone, or there are three at most.
    out.extend((count as u16).to_le_bytes());
    out.extend((overflow as u32).to_le_bytes());
}

fn push_bucket_header(out: &mut Vec<u8>, root: u64, sequence: u64) {
    out.extend(root.to_le_bytes());
    out.extend(sequence.to_le_bytes());
}

#[cfg(test)]
mod tests;
