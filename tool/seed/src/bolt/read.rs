//! Reading a bolt file that anybody wrote: every page of the last transaction, and nothing that the file only claims.
//!
//! What bbolt's own `check` demands is demanded: a page is used once and is not free, keys ascend, and those below a branch
//! are within what it says. Elements' bytes may not overlap either, so no more is held than the file has.

use super::bucket::{Bucket, Item, MAX_DEPTH, MAX_KEY};
use super::page::{
    BRANCH, BUCKET, BUCKET_HEADER, CHECKED, FREELIST, HEADER, LEAF, MAGIC, MANY, MAX_PAGE, META, MIN_PAGE,
    NO_FREELIST, VERSION, checksum, element_at, u16_at, u32_at, u64_at,
};

/// Says why bytes are no bolt file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BoltError {
    /// Neither meta page can be used.
    #[error("no meta page is valid: page 0: {first}; page 1: {second}")]
    Meta {
        /// What is wrong with the first.
        first: String,
        /// What is wrong with the second.
        second: String,
    },
    /// The file is shorter than its meta page says.
    #[error("expected {pages} pages of {page_size} bytes, found {found} bytes")]
    Cut {
        /// As many pages as were in use.
        pages: u64,
        /// The size of each.
        page_size: usize,
        /// The size of the file.
        found: usize,
    },
    /// A page is not what it should be.
    #[error("page {page}: expected {expected}, found {found}")]
    Page {
        /// Its number.
        page: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
}

fn fault<T>(page: u64, expected: impl Into<String>, found: impl ToString) -> Result<T, BoltError> {
    Err(BoltError::Page { page, expected: expected.into(), found: found.to_string() })
}

/// Reads the whole file as its last transaction left it.
///
/// # Errors
/// It is no bolt file, or one that contradicts itself.
pub fn decode(bytes: &[u8]) -> Result<Bucket, BoltError> {
    Ok(read(bytes)?.0)
}

/// Reads the file, and says what each of its pages is used for.
pub(super) fn read(bytes: &[u8]) -> Result<(Bucket, Vec<Use>), BoltError> {
    let meta = Meta::choose(bytes)?;
    let mut pages = Pages::new(bytes, &meta)?;
    if meta.freelist != NO_FREELIST {
        pages.mark_free(meta.freelist)?;
    }
    let root = pages.bucket(meta.root, meta.sequence, 1)?;
    Ok((root, pages.uses))
}

/// What a transaction left.
struct Meta {
    page_size: usize,
    root: u64,
    sequence: u64,
    freelist: u64,
    /// All pages in use are below this.
    pages: u64,
    transaction: u64,
}

impl Meta {
    /// Chooses the valid meta page of the later transaction, as bbolt does.
    fn choose(bytes: &[u8]) -> Result<Self, BoltError> {
        let first = Self::at(bytes, 0);
        let second = match &first {
            Ok(first) => Self::at(bytes, first.page_size),
            // Only a first page that can be read says where the second is.
            Err(_) => Self::search(bytes),
        };
        match (first, second) {
            (Ok(first), Ok(second)) if second.transaction > first.transaction => Ok(second),
            (Ok(first), _) => Ok(first),
            (_, Ok(second)) => Ok(second),
            (Err(first), Err(second)) => Err(BoltError::Meta { first, second }),
        }
    }

    fn search(bytes: &[u8]) -> Result<Self, String> {
        let sizes = std::iter::successors(Some(MIN_PAGE), |size| Some(size * 2));
        let found = sizes.take_while(|size| *size <= MAX_PAGE).find_map(|size| Self::at(bytes, size).ok());
        found.map_or_else(|| Self::at(bytes, MIN_PAGE), Ok)
    }

    /// Reads the meta page that begins at a byte: the first, or that behind a page of this size.
    fn at(bytes: &[u8], at: usize) -> Result<Self, String> {
        let end = HEADER + CHECKED + 8;
        let page = bytes.get(at..at.saturating_add(end));
        let page = page.ok_or_else(|| format!("expected {} bytes, found {}", at + end, bytes.len()))?;
        let (header, meta) = page.split_at(HEADER);
        let same = |what: &str, expected: u64, found: u64| match expected == found {
            true => Ok(()),
            false => Err(format!("{what}: expected {expected:#x}, found {found:#x}")),
        };
        same("magic", MAGIC.into(), u32_at(meta, 0).into())?;
        same("version", VERSION.into(), u32_at(meta, 4).into())?;
        same("checksum", checksum(&meta[..CHECKED]), u64_at(meta, CHECKED))?;
        same("kind", META.into(), u16_at(header, 8).into())?;
        same("number", u64::from(at > 0), u64_at(header, 0))?;
        let page_size = u32_at(meta, 8) as usize;
        if !page_size.is_power_of_two() || !(MIN_PAGE..=MAX_PAGE).contains(&page_size) {
            let expected = format!("a power of two from {MIN_PAGE} to {MAX_PAGE}");
            return Err(format!("page size: expected {expected}, found {page_size}"));
        }
        if at > 0 {
            same("page size", at as u64, page_size as u64)?;
        }
        let [root, sequence, freelist, pages, transaction] = [16, 24, 32, 40, 48].map(|at| u64_at(meta, at));
        Ok(Self { page_size, root, sequence, freelist, pages, transaction })
    }
}

/// What a page is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Unknown,
    Used,
    Free,
}

/// The file's pages, and which of them were met.
struct Pages<'a> {
    bytes: &'a [u8],
    page_size: usize,
    uses: Vec<Use>,
}

/// A page with those that belong to it, or an inline bucket's.
#[derive(Clone, Copy)]
struct Page<'a> {
    /// For messages; an inline page has that of the page it is in.
    id: u64,
    kind: u16,
    count: usize,
    bytes: &'a [u8],
}

/// A page that is still to be read, and what its parents say of its keys.
struct Below<'a> {
    page: u64,
    bounds: Bounds<'a>,
}

/// Keys below a branch are at least its key, and less than its next one.
#[derive(Clone, Copy, Default)]
struct Bounds<'a> {
    least: Option<&'a [u8]>,
    limit: Option<&'a [u8]>,
}

impl<'a> Pages<'a> {
    fn new(bytes: &'a [u8], meta: &Meta) -> Result<Self, BoltError> {
        let Meta { page_size, pages, .. } = *meta;
        if pages > (bytes.len() / page_size) as u64 {
            return Err(BoltError::Cut { pages, page_size, found: bytes.len() });
        }
        let mut uses = vec![Use::Unknown; pages as usize];
        uses.iter_mut().take(2).for_each(|meta| *meta = Use::Used);
        Ok(Self { bytes, page_size, uses })
    }

    /// Notes what a page is for, which nothing else may use it for.
    fn mark(&mut self, id: u64, to: Use) -> Result<(), BoltError> {
        let pages = self.uses.len();
        match usize::try_from(id).ok().and_then(|id| self.uses.get_mut(id)) {
            None => fault(id, format!("one of {pages} pages"), "its number"),
            Some(Use::Used) => fault(id, "one use", "another"),
            Some(Use::Free) => fault(id, "one use", "it among the free pages"),
            Some(unknown) => {
                *unknown = to;
                Ok(())
            }
        }
    }

    /// Takes a page that nothing has used, with those that belong to it.
    fn take(&mut self, id: u64) -> Result<Page<'a>, BoltError> {
        self.mark(id, Use::Used)?;
        let start = id as usize * self.page_size;
        let header = &self.bytes[start..start + HEADER];
        let found = u64_at(header, 0);
        if found != id {
            return fault(id, "its own number", found);
        }
        let (kind, count, overflow) = (u16_at(header, 8), u16_at(header, 10), u32_at(header, 12));
        let left = self.uses.len() as u64 - id - 1;
        if u64::from(overflow) > left {
            return fault(id, format!("at most {left} pages that belong to it"), overflow);
        }
        for further in 1..=u64::from(overflow) {
            self.mark(id + further, Use::Used)?;
        }
        let bytes = &self.bytes[start..][..(overflow as usize + 1) * self.page_size];
        Ok(Page { id, kind, count: count.into(), bytes })
    }

    /// Notes all pages that the freelist names.
    fn mark_free(&mut self, id: u64) -> Result<(), BoltError> {
        let page = self.take(id)?;
        if page.kind != FREELIST {
            return fault(id, "a freelist", format_args!("a page of kind {:#x}", page.kind));
        }
        let mut ids = page.bytes[HEADER..].chunks_exact(8).map(|id| u64_at(id, 0));
        let room = ids.len() as u64;
        let count = match page.count {
            // A page has room for more numbers than none.
            count if count == usize::from(MANY) => ids.next().unwrap_or(0),
            count => count as u64,
        };
        if count > ids.len() as u64 {
            return fault(id, format!("at most {room} free pages"), count);
        }
        ids.take(count as usize).try_for_each(|id| self.mark(id, Use::Free))
    }

    /// Reads a bucket from its root page. Branches are walked without a call for each level: there may be as many as pages.
    fn bucket(&mut self, root: u64, sequence: u64, depth: usize) -> Result<Bucket, BoltError> {
        let mut items = Vec::new();
        let mut below = vec![Below { page: root, bounds: Bounds::default() }];
        while let Some(Below { page, bounds }) = below.pop() {
            let page = self.take(page)?;
            match page.kind {
                LEAF => self.leaf(page, bounds, depth, &mut items)?,
                BRANCH => below.extend(page.branch(bounds)?.into_iter().rev()),
                kind => {
                    return fault(page.id, "a leaf or a branch", format_args!("a page of kind {kind:#x}"));
                }
            }
        }
        Ok(Bucket::from_items(items, sequence))
    }

    fn leaf(
        &mut self,
        page: Page<'a>,
        bounds: Bounds<'a>,
        depth: usize,
        items: &mut Vec<(Vec<u8>, Item)>,
    ) -> Result<(), BoltError> {
        let mut keys = Keys::new(page, bounds)?;
        items.reserve(page.count);
        for index in 0..page.count {
            let [kind, position, key, value] = page.element(index);
            let key = keys.next(index, position, key)?;
            let value = keys.data.next(value as usize)?;
            let item = match kind {
                0 => Item::Value(value.to_vec()),
                BUCKET => Item::Bucket(self.child(page.id, value, depth + 1)?),
                kind => return fault(page.id, "a value or a bucket", format_args!("element kind {kind:#x}")),
            };
            items.push((key.to_vec(), item));
        }
        Ok(())
    }

    /// Reads a bucket that lies in another, from what stands for it there.
    fn child(&mut self, page: u64, value: &'a [u8], depth: usize) -> Result<Bucket, BoltError> {
        if depth > MAX_DEPTH {
            return fault(page, format!("buckets at most {MAX_DEPTH} deep"), "deeper ones");
        }
        if value.len() < BUCKET_HEADER {
            return fault(page, format!("a bucket of {BUCKET_HEADER} bytes or more"), value.len());
        }
        let (header, inline) = value.split_at(BUCKET_HEADER);
        let (root, sequence) = (u64_at(header, 0), u64_at(header, 8));
        match (root, inline.len()) {
            (0, ..HEADER) => fault(page, format!("an inline page of {HEADER} bytes or more"), inline.len()),
            (0, _) => inline_bucket(page, inline, sequence),
            (root, 0) => self.bucket(root, sequence, depth),
            (_, more) => fault(page, "nothing behind a bucket's root page", format_args!("{more} bytes")),
        }
    }
}

/// Reads a bucket whose page is in its key's value; it holds values alone.
fn inline_bucket(id: u64, bytes: &[u8], sequence: u64) -> Result<Bucket, BoltError> {
    let page = Page { id, kind: u16_at(bytes, 8), count: u16_at(bytes, 10).into(), bytes };
    if page.kind != LEAF {
        return fault(id, "an inline leaf", format_args!("a page of kind {:#x}", page.kind));
    }
    let mut keys = Keys::new(page, Bounds::default())?;
    let mut items = Vec::with_capacity(page.count);
    for index in 0..page.count {
        let [kind, position, key, value] = page.element(index);
        let key = keys.next(index, position, key)?;
        let value = keys.data.next(value as usize)?;
        if kind != 0 {
            return fault(id, "values alone in an inline bucket", format_args!("element kind {kind:#x}"));
        }
        items.push((key.to_vec(), Item::Value(value.to_vec())));
    }
    Ok(Bucket::from_items(items, sequence))
}

impl<'a> Page<'a> {
    /// Returns the numbers of an element; [`Keys`] has found that there is room for all of them.
    fn element(&self, index: usize) -> [u32; 4] {
        [0, 4, 8, 12].map(|at| u32_at(self.bytes, element_at(index) + at))
    }

    /// Returns the pages below a branch in their order.
    fn branch(&self, bounds: Bounds<'a>) -> Result<Vec<Below<'a>>, BoltError> {
        if self.count == 0 {
            return fault(self.id, "a branch with pages below it", "none");
        }
        let mut keys = Keys::new(*self, bounds)?;
        let mut below: Vec<Below<'a>> = Vec::with_capacity(self.count);
        for index in 0..self.count {
            let [position, size, ..] = self.element(index);
            let key = keys.next(index, position, size)?;
            if let Some(before) = below.last_mut() {
                before.bounds.limit = Some(key);
            }
            let page = u64_at(self.bytes, element_at(index) + 8);
            below.push(Below { page, bounds: Bounds { least: Some(key), limit: bounds.limit } });
        }
        Ok(below)
    }
}

/// What elements point to, one after the other: none may overlap, so that all of it together is no more than the page.
struct Data<'a> {
    page: Page<'a>,
    at: usize,
}

impl<'a> Data<'a> {
    fn next(&mut self, size: usize) -> Result<&'a [u8], BoltError> {
        let left = self.page.bytes.len() - self.at;
        if size > left {
            return fault(self.page.id, format!("at most {left} bytes of a key or value"), size);
        }
        let data = &self.page.bytes[self.at..][..size];
        self.at += size;
        Ok(data)
    }
}

/// The keys of a page, which ascend.
struct Keys<'a> {
    data: Data<'a>,
    bounds: Bounds<'a>,
    last: Option<&'a [u8]>,
}

impl<'a> Keys<'a> {
    fn new(page: Page<'a>, bounds: Bounds<'a>) -> Result<Self, BoltError> {
        let at = element_at(page.count);
        if at > page.bytes.len() {
            let room = (page.bytes.len() - HEADER) / (element_at(1) - HEADER);
            return fault(page.id, format!("at most {room} elements"), page.count);
        }
        Ok(Self { data: Data { page, at }, bounds, last: None })
    }

    /// Returns the key of an element, which points to it from where it begins itself.
    fn next(&mut self, index: usize, position: u32, size: u32) -> Result<&'a [u8], BoltError> {
        let Page { id, bytes, .. } = self.data.page;
        let start = element_at(index).saturating_add(position as usize);
        if !(self.data.at..=bytes.len()).contains(&start) {
            let expected = format!("element {index} to point to bytes {} to {}", self.data.at, bytes.len());
            return fault(id, expected, start);
        }
        self.data.at = start;
        let size = size as usize;
        if !(1..=MAX_KEY).contains(&size) {
            return fault(id, format!("a key of 1 to {MAX_KEY} bytes"), size);
        }
        let key = self.data.next(size)?;
        let Bounds { least, limit } = self.bounds;
        let ascends = self.last.is_none_or(|last| last < key);
        if !ascends || least.is_some_and(|least| key < least) || limit.is_some_and(|limit| key >= limit) {
            return fault(id, "ascending keys", format_args!("element {index} out of order"));
        }
        self.last = Some(key);
        Ok(key)
    }
}

#[cfg(test)]
mod tests;
