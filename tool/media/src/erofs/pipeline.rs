//! The work on files that are compressed, overlapped: one thread reads while all others compress.
//!
//! Files are cut into segments, and those collected in batches, so that small files are not handed on one by one. Results
//! come in the order of files, so the number of threads changes no byte. Three batches are in memory, and what one became:
//! at most 96 MiB, and beside that the memory of compressors.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ociseed_tree::{Content, ReadError};
use rayon::prelude::*;

use super::clusters::{Packed, SEGMENT};
use super::codec::{Codec, Compression};

/// So many bytes are compressed before what they became is written: twelve threads have something to do.
const BATCH: usize = 12 * SEGMENT;
/// So many segments, where they are small.
const MAX_SEGMENTS: usize = 8192;

/// A part of a file.
struct Segment {
    bytes: Vec<u8>,
    /// Whether the file ends there.
    last: bool,
}

/// What a part of a file became.
pub(super) struct Done {
    pub(super) packed: Packed,
    /// Bytes of the file.
    pub(super) size: u64,
    /// Whether the file ends there.
    pub(super) last: bool,
}

/// Says why files could not be compressed.
pub(super) enum Stopped<E> {
    /// The file of this number cannot be read.
    Read(usize, ReadError),
    /// There is no memory for a compressor.
    Memory,
    /// Whoever takes the results says so.
    Taker(E),
}

/// Compresses files, none of which is empty, and hands on what each segment of each becomes, in order.
pub(super) fn run<E>(
    files: &[&Content],
    compression: Compression,
    mut take: impl FnMut(Done) -> Result<(), E>,
) -> Result<(), Stopped<E>> {
    let codecs = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let (sender, batches) = sync_channel(1);
        let reader = scope.spawn(|| read(files, sender));
        let mut result = Ok(());
        for batch in batches {
            result = compress(batch, compression, &codecs)
                .ok_or(Stopped::Memory)
                .and_then(|done| done.into_iter().try_for_each(&mut take).map_err(Stopped::Taker));
            if result.is_err() {
                // Without a receiver the reader ends.
                break;
            }
        }
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and(read.map_err(|(number, error)| Stopped::Read(number, error)))
    })
}

/// Compresses a batch; compressors go back for the next one.
fn compress(batch: Vec<Segment>, compression: Compression, codecs: &Mutex<Vec<Codec>>) -> Option<Vec<Done>> {
    let codecs = || codecs.lock().unwrap_or_else(PoisonError::into_inner);
    let one = |Segment { bytes, last }: Segment| {
        let free = codecs().pop();
        let mut codec = free.or_else(|| Codec::new(compression))?;
        let packed = Packed::of(&bytes, last, &mut codec);
        codecs().push(codec);
        Some(Done { packed, size: bytes.len() as u64, last })
    };
    batch.into_par_iter().map(one).collect()
}

/// Reads all files; the error says which one it is of.
fn read(files: &[&Content], sender: SyncSender<Vec<Segment>>) -> Result<(), (usize, ReadError)> {
    let mut cutter = Cutter { batch: Vec::new(), size: 0, current: Vec::new(), sender };
    for (number, content) in files.iter().enumerate() {
        let expected = usize::try_from(content.size()).unwrap_or(SEGMENT).min(SEGMENT);
        cutter.current = Vec::with_capacity(expected);
        let read = content.copy_to(&mut cutter);
        let ended = read.and_then(|()| cutter.cut(true).map_err(ReadError::Write));
        match ended {
            // Nobody takes batches any more: who did knows why.
            Err(ReadError::Write(_)) => return Ok(()),
            other => other.map_err(|error| (number, error))?,
        }
    }
    drop(cutter.send());
    Ok(())
}

/// Cuts files into segments, and collects those.
struct Cutter {
    batch: Vec<Segment>,
    /// Bytes in the batch.
    size: usize,
    current: Vec<u8>,
    sender: SyncSender<Vec<Segment>>,
}

impl Cutter {
    fn cut(&mut self, last: bool) -> io::Result<()> {
        self.size += self.current.len();
        self.batch.push(Segment { bytes: std::mem::take(&mut self.current), last });
        match self.size >= BATCH || self.batch.len() >= MAX_SEGMENTS {
            true => self.send(),
            false => Ok(()),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        self.size = 0;
        let batch = std::mem::take(&mut self.batch);
        self.sender.send(batch).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Cutter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.len() == SEGMENT {
            self.cut(false)?;
            self.current.reserve(SEGMENT);
        }
        let now = bytes.len().min(SEGMENT - self.current.len());
        self.current.extend_from_slice(&bytes[..now]);
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
