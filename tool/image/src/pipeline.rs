//! The work on a layer blob, overlapped: reading and tar, hashing the tar, compressing, hashing and writing the blob.
//!
//! Each stage has a thread and hands pieces to the next through a channel that
//! holds few of them, so a slow stage holds back those before it and memory
//! does not grow with the layer. Pieces stay in their order, so the number of
//! threads changes no byte.

use std::io::{self, BufWriter, Write};
use std::ops::Deref;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use ociseed_spec::{Compression, Hasher};
use ociseed_tree::{Bytes, Pieces, ReadError, Tree, tar};

use crate::gzip::{Deflater, MEMBER};
use crate::layer::LayerError;
use crate::zstandard;

/// Pieces that are not members: large enough that handing them on costs nothing, small enough for caches.
const PIECE: usize = 256 * 1024;
/// Tars of fewer bytes are soon done, by [`small`]: they are one member and one block of zstd.
pub(crate) const SMALL: usize = zstandard::BLOCK;
/// How many pieces may wait between two stages.
const WAITING: usize = 2;
/// Each worker has up to three members and what they become in hand: 64 MiB at most.
const MAX_WORKERS: u32 = 16;
/// From this level on libdeflate searches for the best parse, with 5 MiB of tables for each worker.
const OPTIMAL_LEVEL: i32 = 10;
/// So many of those take no more.
const MAX_OPTIMAL_WORKERS: u32 = 8;

/// Is told how many more bytes of the tar are done; where it fails, so does the work.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64) -> io::Result<()> + Sync);

/// Bytes of the tar that two stages read.
type Piece = Arc<Lent>;

/// Memory that goes back when it is no longer read: the kernel takes as long to give new memory as reading takes.
struct Lent {
    bytes: Vec<u8>,
    memory: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The hashes of both ends.
pub(crate) struct Hashed {
    /// Of the tar.
    pub(crate) tar: Hasher,
    /// Of the blob.
    pub(crate) blob: Hasher,
}

/// Writes bytes as they are, and returns their hash where it is wanted.
pub(crate) fn plain<B: Bytes>(
    source: &B,
    hashed: bool,
    progress: Progress<'_>,
    out: &mut dyn Write,
) -> Result<Option<Hasher>, LayerError> {
    thread::scope(|scope| {
        let (to_hash, hasher) = hashed.then(|| hash(scope)).unzip();
        let (to_blob, blob) = sync_channel::<Piece>(WAITING);
        let reader = scope.spawn(move || {
            read(source, PIECE, progress, |piece| {
                to_hash.as_ref().map_or(Ok(()), |to_hash| give(to_hash, Arc::clone(&piece)))?;
                give(&to_blob, piece)
            })
        });
        let written = blob.iter().try_for_each(|piece| out.write_all(&piece));
        // Ends the reader where writing failed.
        drop(blob);
        let (read, hasher) = (join(reader), hasher.map(join));
        written.map_err(LayerError::Compress)?;
        read?;
        Ok(hasher)
    })
}

/// Does all of the work in this thread, for a tar of fewer than [`SMALL`] bytes: starting threads takes longer.
pub(crate) fn small(
    tree: &Tree,
    compression: Compression,
    progress: Progress<'_>,
    out: &mut dyn Write,
) -> Result<Hashed, LayerError> {
    let mut bytes = Vec::new();
    read(&tar::Form(tree), SMALL, progress, |piece| {
        bytes = piece.to_vec();
        Ok(())
    })?;
    let mut tar = Hasher::new();
    tar.update(&bytes);
    let compressed = match compression {
        Compression::None => Ok(bytes),
        Compression::Gzip(level) => Ok(Deflater::new(level).member(&bytes)),
        Compression::Zstd(level) => zstandard::block(&bytes, level),
    };
    let blob = compressed.and_then(|blob| write([blob].into_iter(), out)).map_err(LayerError::Compress)?;
    Ok(Hashed { tar, blob })
}

/// Writes the tar of a tree as gzip members.
pub(crate) fn gzip(
    tree: &Tree,
    level: i32,
    threads: u32,
    progress: Progress<'_>,
    out: &mut dyn Write,
) -> Result<Hashed, LayerError> {
    thread::scope(|scope| {
        let (to_hash, hasher) = hash(scope);
        // Piece n goes to worker n mod their number and is fetched there, so members leave in the order of pieces.
        let most = if level < OPTIMAL_LEVEL { MAX_WORKERS } else { MAX_OPTIMAL_WORKERS };
        let workers = (0..threads.clamp(1, most)).map(|_| {
            let (to_worker, pieces) = sync_channel::<Piece>(1);
            let (members, from_worker) = sync_channel(1);
            scope.spawn(move || {
                let mut deflater = Deflater::new(level);
                // Nobody takes a member any more when writing failed.
                pieces.iter().try_for_each(|piece| members.send(deflater.member(&piece)))
            });
            (to_worker, from_worker)
        });
        let (to_workers, from_workers): (Vec<_>, Vec<_>) = workers.unzip();
        let reader = scope.spawn(move || {
            let mut next = to_workers.iter().cycle();
            read(&tar::Form(tree), MEMBER, progress, |piece| {
                give(&to_hash, Arc::clone(&piece))?;
                give(next.next().expect("there is a worker"), piece)
            })
        });
        let members = (0..from_workers.len()).cycle().map_while(|worker| from_workers[worker].recv().ok());
        let written = write(members, out);
        drop(from_workers);
        let read = join(reader);
        let tar = join(hasher);
        Ok(Hashed { tar, blob: finish(written, Ok(()), read)? })
    })
}

/// Writes the tar of a tree as one zstd frame.
pub(crate) fn zstd(
    tree: &Tree,
    level: i32,
    threads: u32,
    progress: Progress<'_>,
    out: &mut dyn Write,
) -> Result<Hashed, LayerError> {
    thread::scope(|scope| {
        let (to_hash, hasher) = hash(scope);
        let (to_encoder, pieces) = sync_channel::<Piece>(WAITING);
        let (to_blob, blob) = sync_channel(WAITING);
        let encoder = scope.spawn(move || encode_zstd(pieces, level, threads, to_blob));
        let reader = scope.spawn(move || {
            read(&tar::Form(tree), PIECE, progress, |piece| {
                give(&to_hash, Arc::clone(&piece))?;
                give(&to_encoder, piece)
            })
        });
        let written = write(blob.into_iter(), out);
        let compressed = join(encoder);
        let read = join(reader);
        let tar = join(hasher);
        Ok(Hashed { tar, blob: finish(written, compressed, read)? })
    })
}

fn encode_zstd(
    pieces: Receiver<Piece>,
    level: i32,
    threads: u32,
    to_blob: SyncSender<Vec<u8>>,
) -> io::Result<()> {
    let sink = BufWriter::with_capacity(PIECE, Sink(|bytes: &[u8]| give(&to_blob, bytes.to_vec())));
    let mut encoder = zstandard::encoder(sink, level, threads)?;
    for piece in pieces {
        encoder.write_all(&piece)?;
    }
    encoder.finish()?.flush()
}

/// Starts the thread that hashes the tar.
fn hash<'scope>(scope: &'scope Scope<'scope, '_>) -> (SyncSender<Piece>, ScopedJoinHandle<'scope, Hasher>) {
    let (to_hash, pieces) = sync_channel::<Piece>(WAITING);
    let hasher = scope.spawn(move || {
        let mut hasher = Hasher::new();
        pieces.iter().for_each(|piece| hasher.update(&piece));
        hasher
    });
    (to_hash, hasher)
}

/// Brings bytes and cuts them into pieces of `size` bytes; the last one has the rest.
fn read<B: Bytes>(
    source: &B,
    size: usize,
    progress: Progress<'_>,
    mut take: impl FnMut(Piece) -> io::Result<()>,
) -> Result<(), ReadError> {
    let memory = Arc::new(Mutex::new(Vec::new()));
    let mut pieces = Pieces::new(size, |bytes| {
        let count = bytes.len() as u64;
        take(Arc::new(Lent { bytes, memory: Arc::clone(&memory) }))?;
        progress(count)?;
        let used = memory.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(used.unwrap_or_else(|| Vec::with_capacity(size)))
    });
    source.add_to(&mut pieces)?;
    pieces.finish().map_err(ReadError::Write)
}

/// Writes the pieces of the blob and hashes them.
fn write<P: AsRef<[u8]>>(blob: impl Iterator<Item = P>, out: &mut dyn Write) -> io::Result<Hasher> {
    let mut hasher = Hasher::new();
    for piece in blob {
        hasher.update(piece.as_ref());
        out.write_all(piece.as_ref())?;
    }
    Ok(hasher)
}

/// Chooses the error that the others follow from: a stage that ends early ends those before it.
fn finish(
    written: io::Result<Hasher>,
    compressed: io::Result<()>,
    read: Result<(), ReadError>,
) -> Result<Hasher, LayerError> {
    let blob = written.map_err(LayerError::Compress)?;
    compressed.map_err(LayerError::Compress)?;
    read?;
    Ok(blob)
}

/// Hands a piece to the next stage; the error says only that this one has ended.
fn give<P>(to: &SyncSender<P>, piece: P) -> io::Result<()> {
    to.send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// Waits for a stage, and panics as it did.
fn join<T>(stage: ScopedJoinHandle<'_, T>) -> T {
    stage.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A writer that is a function.
struct Sink<F>(F);

impl<F: FnMut(&[u8]) -> io::Result<()>> Write for Sink<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
