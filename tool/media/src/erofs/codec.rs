//! What compresses clusters: each on its own, as much of a file as fills a place.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer};

use super::BLOCK;
use super::lz4::{self, Lz4};

/// How files are compressed.
pub use ociseed_spec::ErofsCompression as Compression;

/// A cluster has at most so many bytes in the image. With twice that, images are 1 % smaller, and reading blocks here and
/// there takes a sixth longer; with a quarter they are 4 to 7 % larger.
pub(super) const CLUSTER: usize = 64 * 1024;
/// A zstd cluster has at most so many bytes of a file: kernels keep a window of this size for each processor.
const WINDOW: usize = 1 << WINDOW_LOG;
pub(super) const WINDOW_LOG: u8 = 19;
/// Kernels read no larger window (`Z_EROFS_ZSTD_MAX_DICT_SIZE`).
const MAX_WINDOW_LOG: u32 = 20;
/// What a zstd cluster may leave of its last block: half of a percent, and less is not found by guessing.
const SLACK: usize = 128;
/// How often it is guessed: the second guess is good in most cases.
const GUESSES: usize = 6;

const WHOLE: usize = BLOCK as usize;

/// Compression as the format numbers it (`Z_EROFS_COMPRESSION_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Algorithm {
    Lz4 = 0,
    Zstd = 3,
}

impl Algorithm {
    /// Returns that of a compression.
    pub(super) fn by(compression: Compression) -> Option<Self> {
        match compression {
            Compression::None => None,
            Compression::Lz4(_) => Some(Self::Lz4),
            Compression::Zstd(_) => Some(Self::Zstd),
        }
    }

    /// Returns what has this number, where that is read here.
    pub(super) fn of(number: u8) -> Option<Self> {
        [Self::Lz4, Self::Zstd].into_iter().find(|algorithm| *algorithm as u8 == number)
    }

    /// Returns its bit in a set of them.
    pub(super) fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// The memory of a compressor.
pub(super) enum Codec {
    Lz4(Lz4),
    Zstd(Zstd),
}

pub(super) struct Zstd {
    context: CCtx<'static>,
    buffer: Vec<u8>,
}

impl Codec {
    /// Makes one; nothing where nothing is compressed, or there is no memory.
    pub(super) fn new(compression: Compression) -> Option<Self> {
        match compression {
            Compression::None => None,
            Compression::Lz4(level) => Some(Self::Lz4(Lz4::new(level))),
            Compression::Zstd(level) => {
                let mut context = CCtx::try_create()?;
                context.set_parameter(CParameter::CompressionLevel(level)).ok()?;
                context.set_parameter(CParameter::WindowLog(WINDOW_LOG.into())).ok()?;
                Some(Self::Zstd(Zstd { context, buffer: Vec::new() }))
            }
        }
    }

    /// Compresses as much of `from` as fits into `to`, or a little less; returns how much that is, and what it became.
    pub(super) fn fill(&mut self, from: &[u8], to: &mut [u8]) -> Option<(usize, usize)> {
        match self {
            Self::Lz4(lz4) => lz4.fill(from, to),
            Self::Zstd(zstd) => zstd.fill(&from[..from.len().min(WINDOW)], to),
        }
    }
}

impl Zstd {
    /// Guesses how much becomes a whole number of blocks; of several guesses the one that leaves least is taken.
    fn fill(&mut self, from: &[u8], to: &mut [u8]) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        let mut before: Option<(usize, usize)> = None;
        let mut taken = from.len().min(to.len() * 3);
        for _ in 0..GUESSES {
            let made = self.compress(&from[..taken])?;
            if made <= to.len() {
                if best.is_none_or(|best| is_better((taken, made), best)) {
                    best = Some((taken, made));
                    to[..made].copy_from_slice(&self.buffer[..made]);
                }
                if taken == from.len() || made.next_multiple_of(WHOLE) - made <= SLACK {
                    break;
                }
            }
            // The next smaller number of blocks is near, where this is not far off.
            let near = made <= to.len() && made > to.len() / 16 * 15;
            let blocks = made - made % WHOLE;
            let wanted = if near && blocks > 0 { blocks } else { to.len() } - SLACK / 2;
            let next = guess(before, (taken, made), wanted).clamp(1, from.len());
            if next == taken {
                break;
            }
            (before, taken) = (Some((taken, made)), next);
        }
        best
    }

    /// Compresses all of it into the buffer.
    fn compress(&mut self, from: &[u8]) -> Option<usize> {
        self.buffer.resize(zstd::zstd_safe::compress_bound(from.len()), 0);
        self.context.compress2(self.buffer.as_mut_slice(), from).ok()
    }
}

/// Tells whether a guess fills its blocks with more of the file than another.
fn is_better((taken, made): (usize, usize), other: (usize, usize)) -> bool {
    taken * other.1.next_multiple_of(WHOLE) > other.0 * made.next_multiple_of(WHOLE)
}

/// Guesses how much becomes `wanted`, from what two amounts became: on the line through both, or through nothing.
fn guess(before: Option<(usize, usize)>, last: (usize, usize), wanted: usize) -> usize {
    let (taken, made) = (last.0 as i64, last.1 as i64);
    let (other_taken, other_made) = before.map_or((0, 0), |(taken, made)| (taken as i64, made as i64));
    let (run, rise) = (taken - other_taken, made - other_made);
    // Two that are close say little, and more may become less.
    let (run, rise) = if run.signum() == rise.signum() && rise != 0 { (run, rise) } else { (taken, made) };
    usize::try_from(taken + (wanted as i64 - made) * run / rise).unwrap_or(1)
}

/// What decompresses clusters.
pub(super) struct Decoder(DCtx<'static>);

impl Decoder {
    pub(super) fn new() -> Option<Self> {
        let mut context = DCtx::try_create()?;
        context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).ok()?;
        Some(Self(context))
    }

    /// Decompresses until `to` is full; returns whether it is.
    pub(super) fn fill(&mut self, algorithm: Algorithm, from: &[u8], to: &mut [u8]) -> bool {
        match algorithm {
            Algorithm::Lz4 => lz4::decompress(from, to),
            Algorithm::Zstd => self.zstd(from, to).is_some(),
        }
    }

    /// A cluster may have more than is wanted of it, so it is read as a stream.
    fn zstd(&mut self, from: &[u8], to: &mut [u8]) -> Option<()> {
        self.0.init().ok()?;
        let (room, mut from) = (to.len(), InBuffer::around(from));
        let mut to = OutBuffer::around(to);
        while to.pos() < room {
            let before = (from.pos(), to.pos());
            let hint = self.0.decompress_stream(&mut to, &mut from).ok()?;
            if to.pos() < room && (hint == 0 || before == (from.pos(), to.pos())) {
                return None;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_fills_blocks_and_is_read_back() {
        // Words in no order: as text is, and no guess is right at once.
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let words: Vec<Vec<u8>> =
            (0..1000).map(|_| (0..3 + next() % 8).map(|_| (next() % 26) as u8 + b'a').collect()).collect();
        let from: Vec<u8> = (0..200_000).flat_map(|_| words[next() as usize % 1000].clone()).collect();
        for compression in [Compression::Lz4(9), Compression::Zstd(3)] {
            let mut codec = Codec::new(compression).expect("there is memory");
            for size in [4096, 16 * 1024, CLUSTER] {
                let mut to = vec![0; size];
                let (taken, made) = codec.fill(&from, &mut to).expect("it fits");
                assert!(taken > made && made <= size, "{compression:?}: {taken} become {made}");
                let blocks = made.next_multiple_of(4096);
                assert!(blocks - made <= 2 * SLACK, "{compression:?}, {size}: {} are left", blocks - made);
                let (mut back, algorithm) =
                    (vec![0; taken], Algorithm::by(compression).expect("there is one"));
                let mut decoder = Decoder::new().expect("there is memory");
                assert!(decoder.fill(algorithm, &to[..made], &mut back) && back == from[..taken]);
                assert!(decoder.fill(algorithm, &to[..made], &mut back[..9]), "less than there is");
                assert!(!decoder.fill(algorithm, &to[..made], &mut vec![0; taken + 1]), "more than there is");
            }
        }
    }
}
