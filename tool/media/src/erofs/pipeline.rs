//! The work on files that are compressed, overlapped: one thread reads, the others compress, and results are taken in order.
//!
//! Files are cut into segments, and small ones are put together, so that they are not handed on one by one. Each such piece
//! of work is done on its own while later ones are read, and its result waits for its turn: no thread waits for another's, and
//! their number changes no byte. A window of pieces is in memory, and what they became: at most 96 MiB, and beside that the
//! memory of compressors.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use ociseed_tree::{Content, ReadError};
use rayon::Yield;

use super::clusters::{Packed, SEGMENT};
use super::codec::{Codec, Compression};

/// Small files are put together until they have so many bytes; a piece of work has at most that and a segment.
const PIECE: usize = SEGMENT / 4;
/// So many segments, where they are small.
const MAX_SEGMENTS: usize = 1024;
/// So many pieces of work are begun or done and not taken yet: some threads have something to do behind a slow one.
const WINDOW: usize = 16;

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
    thread::scope(|threads| {
        let (sender, pieces) = sync_channel(1);
        let reader = threads.spawn(|| read(files, sender));
        let result = rayon::in_place_scope(|scope| {
            let mut window: VecDeque<Waiting> = VecDeque::new();
            let mut pieces = pieces.into_iter();
            let mut hand_on = |window: &mut VecDeque<Waiting>| match window.pop_front().map(wait) {
                None => Ok(()),
                Some(None) => Err(Stopped::Memory),
                Some(Some(done)) => done.into_iter().try_for_each(&mut take).map_err(Stopped::Taker),
            };
            // Without a receiver, which an error drops, the reader ends.
            for piece in &mut pieces {
                let (done, receiver) = sync_channel(1);
                let codecs = &codecs;
                // Nobody waits for it where another one failed.
                scope.spawn(move |_| drop(done.send(compress(piece, compression, codecs))));
                window.push_back(receiver);
                if window.len() == WINDOW {
                    hand_on(&mut window)?;
                }
            }
            while !window.is_empty() {
                hand_on(&mut window)?;
            }
            Ok(())
        });
        let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result.and(read.map_err(|(number, error)| Stopped::Read(number, error)))
    })
}

/// What a piece of work becomes; nothing where there is no memory for it.
type Waiting = Receiver<Option<Vec<Done>>>;

/// Waits for a piece of work, and does others of ours meanwhile where this is one of rayon's threads.
fn wait(receiver: Waiting) -> Option<Vec<Done>> {
    loop {
        match receiver.try_recv() {
            Err(TryRecvError::Empty) => {}
            done => return done.ok()?,
        }
        if rayon::yield_local() != Some(Yield::Executed) {
            // Nothing is left to begin, so others work on it.
            return receiver.recv().ok()?;
        }
    }
}

/// Compresses a piece of work; the compressor goes back for the next one.
fn compress(piece: Vec<Segment>, compression: Compression, codecs: &Mutex<Vec<Codec>>) -> Option<Vec<Done>> {
    let codecs = || codecs.lock().unwrap_or_else(PoisonError::into_inner);
    let free = codecs().pop();
    let mut codec = free.or_else(|| Codec::new(compression))?;
    let mut one = |Segment { bytes, last }: Segment| {
        let packed = Packed::of(&bytes, last, &mut codec);
        Done { packed, size: bytes.len() as u64, last }
    };
    let done = piece.into_iter().map(&mut one).collect();
    codecs().push(codec);
    Some(done)
}

/// Reads all files; the error says which one it is of.
fn read(files: &[&Content], sender: SyncSender<Vec<Segment>>) -> Result<(), (usize, ReadError)> {
    let mut cutter = Cutter { piece: Vec::new(), size: 0, current: Vec::new(), sender };
    for (number, content) in files.iter().enumerate() {
        let expected = usize::try_from(content.size()).unwrap_or(SEGMENT).min(SEGMENT);
        cutter.current = Vec::with_capacity(expected);
        let read = content.copy_to(&mut cutter);
        let ended = read.and_then(|()| cutter.cut(true).map_err(ReadError::Write));
        match ended {
            // Nobody takes pieces any more: who did knows why.
            Err(ReadError::Write(_)) => return Ok(()),
            other => other.map_err(|error| (number, error))?,
        }
    }
    drop(cutter.send());
    Ok(())
}

/// Cuts files into segments, and collects those.
struct Cutter {
    piece: Vec<Segment>,
    /// Bytes in the piece of work.
    size: usize,
    current: Vec<u8>,
    sender: SyncSender<Vec<Segment>>,
}

impl Cutter {
    fn cut(&mut self, last: bool) -> io::Result<()> {
        self.size += self.current.len();
        self.piece.push(Segment { bytes: std::mem::take(&mut self.current), last });
        match self.size >= PIECE || self.piece.len() >= MAX_SEGMENTS {
            true => self.send(),
            false => Ok(()),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        self.size = 0;
        let piece = std::mem::take(&mut self.piece);
        self.sender.send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
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
