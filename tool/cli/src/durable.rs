//! A large file that goes to the disk while it is written, so that its end does not wait for all of it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use cap_std::fs::File;

/// After so many bytes the disk is given what there is: often enough that little is left at the end, and so seldom that
/// the journal of the file system does not count. Most outputs are smaller and need no thread.
const STEP: u64 = 64 << 20;

/// Writes a file, and asks a thread now and then to bring it to the disk.
pub(crate) struct Durable {
    file: Arc<File>,
    step: u64,
    /// Bytes that the thread was not asked for.
    new: u64,
    early: Option<Early>,
}

/// The thread that waits for the disk.
struct Early {
    ask: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Durable {
    pub(crate) fn new(file: Arc<File>) -> Self {
        Self { file, step: STEP, new: 0, early: None }
    }

    /// Waits for the thread. What it did not come to is left to a last sync, which does not say again what went wrong in
    /// an earlier one.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Some(Early { ask, thread }) = self.early else { return Ok(()) };
        drop(ask);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn ask(&mut self) {
        let early = self.early.get_or_insert_with(|| {
            let (ask, asked) = sync_channel(1);
            let file = Arc::clone(&self.file);
            let thread = std::thread::spawn(move || asked.iter().try_for_each(|()| file.sync_data()));
            Early { ask, thread }
        });
        // A thread that is still busy is asked again with the next bytes; one that failed is seen in the end.
        if early.ask.try_send(()).is_ok() {
            self.new = 0;
        }
    }
}

impl Write for Durable {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = (&*self.file).write(bytes)?;
        self.new += count as u64;
        if self.new >= self.step {
            self.ask();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;
    use cap_std::fs::OpenOptions;

    use super::*;

    #[test]
    fn what_the_disk_says_early_is_said_in_the_end() {
        // What cannot be synced stands for a disk that fails.
        let null = || {
            let options = OpenOptions::new().write(true).clone();
            let file = File::open_ambient_with("/dev/null", &options, ambient_authority());
            Durable::new(Arc::new(file.expect("Linux has it")))
        };
        for (step, bytes, failed) in [(4, 3, false), (4, 4, true), (4, 9, true)] {
            let mut file = Durable { step, ..null() };
            file.write_all(&vec![0; bytes]).expect("takes all");
            assert_eq!(file.finish().is_err(), failed, "{bytes} bytes");
        }
    }
}
