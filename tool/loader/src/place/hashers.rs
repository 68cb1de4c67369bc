//! Threads that hash files while another one looks for more.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

use ociseed_spec::{Digest, Hasher};

use crate::notify::Notify;

/// Two, as most targets have two processors or more, and memory is what there is little of.
const THREADS: usize = 2;

/// How many files may be waited for. Each is an open file, of which a process may have 1024.
pub(crate) const WINDOW: usize = 256;

/// What is read at once.
const PIECE: usize = 64 << 10;

/// What became of a file: its digest and size.
type Hashed = io::Result<(Digest, u64)>;

struct Job {
    file: OwnedFd,
    reply: SyncSender<Hashed>,
}

/// A file that is being hashed.
#[derive(Debug)]
pub(crate) struct Pending(Receiver<Hashed>);

impl Pending {
    /// Waits for the digest and the size.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn wait(self) -> Hashed {
        self.0.recv().unwrap_or_else(|_| Err(io::Error::other("nobody hashed it")))
    }
}

/// The threads' queue; they end when it is dropped.
#[derive(Debug)]
pub(crate) struct Hashers(SyncSender<Job>);

impl Hashers {
    /// Starts the threads, which take their work from one queue.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>, notify: &'scope Notify) -> Self {
        let (sender, receiver) = sync_channel(WINDOW);
        let queue = Arc::new(Mutex::new(receiver));
        for _ in 0..THREADS {
            let queue = Arc::clone(&queue);
            scope.spawn(move || work(&queue, notify));
        }
        Self(sender)
    }

    /// Hands a file in.
    pub(crate) fn hash(&self, file: OwnedFd) -> Pending {
        let (reply, result) = sync_channel(1);
        // Threads that are gone say so when the result is waited for.
        let _ = self.0.send(Job { file, reply });
        Pending(result)
    }
}

fn work(queue: &Mutex<Receiver<Job>>, notify: &Notify) {
    let mut buffer = vec![0; PIECE];
    loop {
        let job = queue.lock().expect("nobody panics holding it").recv();
        let Ok(Job { file, reply }) = job else { return };
        // Who asked may have given up.
        let _ = reply.send(hash(&file, &mut buffer, &|| notify.alive()));
    }
}

/// Hashes a file from where it is read to its end; calls for each piece.
///
/// # Errors
/// It cannot be read.
pub(super) fn hash(file: &OwnedFd, buffer: &mut [u8], piece: &dyn Fn()) -> Hashed {
    let mut hasher = Hasher::new();
    loop {
        match rustix::io::read(file, &mut *buffer) {
            Ok(0) => break,
            Ok(length) => {
                piece();
                hasher.update(&buffer[..length]);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let size = hasher.size();
    Ok((hasher.finish(), size))
}
