//! Outputs of steps, kept in memory by what decides them, up to a bound.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ociseed_spec::Digest;

use crate::context::Context;

/// What all kept outputs may have together: the server beside which a worker lives takes several times that.
pub(crate) const MOST_BYTES: usize = 128 << 20;
/// Outputs of one step that are larger would drive out what is asked for more often.
pub(crate) const MOST_BYTES_OF_ONE: usize = MOST_BYTES / 4;
/// What keeping outputs takes beside their bytes, not less than that; a lock or record has few.
const BYTES_BESIDE: usize = 1024;
/// How long it may take to notice that a request which waits for another's outputs was cancelled.
const LOOK: Duration = Duration::from_millis(50);

/// The files of a step, in the order in which they are asked for.
pub(crate) type Outputs = Arc<Vec<Vec<u8>>>;

/// Outputs by key.
#[derive(Debug)]
pub(crate) struct Kept {
    most: usize,
    state: Mutex<State>,
    /// Something is no longer being made.
    made: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// With the time at which they were last used.
    outputs: HashMap<Digest, (Outputs, u64)>,
    /// Keys by that time.
    by_use: BTreeMap<u64, Digest>,
    now: u64,
    bytes: usize,
    /// Keys of what is being made.
    making: HashSet<Digest>,
}

/// What there is for a key.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// It is kept.
    Kept(Outputs),
    /// The caller has to make it.
    Nothing(Making<'a>),
    /// Nobody waits for it any more.
    Cancelled,
}

/// The right to make the outputs of a key, for which others wait until this is dropped.
#[derive(Debug)]
pub(crate) struct Making<'a> {
    kept: &'a Kept,
    key: Digest,
}

impl Kept {
    /// Keeps at most so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, state: Mutex::default(), made: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds outputs; where another request makes them, waits for that.
    pub(crate) fn find(&self, key: Digest, context: &Context) -> Found<'_> {
        let mut state = self.state();
        while !context.is_cancelled() {
            if let Some(outputs) = state.used(&key) {
                return Found::Kept(outputs);
            }
            if state.making.insert(key) {
                return Found::Nothing(Making { kept: self, key });
            }
            let waited = self.made.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Found::Cancelled
    }
}

impl State {
    fn used(&mut self, key: &Digest) -> Option<Outputs> {
        let (outputs, last) = self.outputs.get_mut(key)?;
        self.now += 1;
        self.by_use.remove(last);
        self.by_use.insert(self.now, *key);
        *last = self.now;
        Some(Arc::clone(outputs))
    }

    fn keep(&mut self, key: Digest, outputs: Vec<Vec<u8>>, most: usize) {
        let size = size(&outputs);
        if size > most || self.outputs.contains_key(&key) {
            return;
        }
        while self.bytes + size > most {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            let gone = self.outputs.remove(&oldest);
            self.bytes -= gone.map_or(0, |(outputs, _)| self::size(&outputs));
        }
        self.bytes += size;
        self.now += 1;
        self.by_use.insert(self.now, key);
        self.outputs.insert(key, (Arc::new(outputs), self.now));
    }
}

fn size(outputs: &[Vec<u8>]) -> usize {
    BYTES_BESIDE + outputs.iter().map(Vec::capacity).sum::<usize>()
}

impl Making<'_> {
    /// Keeps what was made.
    pub(crate) fn keep(self, outputs: Vec<Vec<u8>>) {
        self.kept.state().keep(self.key, outputs, self.kept.most);
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.kept.state().making.remove(&self.key);
        self.kept.made.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn key(number: u8) -> Digest {
        Digest::of(&[number])
    }

    /// Makes outputs of so many bytes if they are not there; tells whether they were.
    fn ask(kept: &Kept, number: u8, bytes: usize) -> bool {
        match kept.find(key(number), &Context::default()) {
            Found::Kept(outputs) => {
                assert_eq!(*outputs, [vec![number; bytes]]);
                true
            }
            Found::Nothing(making) => {
                making.keep(vec![vec![number; bytes]]);
                false
            }
            Found::Cancelled => panic!("nobody cancelled it"),
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let bytes = 10_000;
        let kept = Kept::new(3 * (bytes + BYTES_BESIDE));
        for number in 0..3 {
            assert!(!ask(&kept, number, bytes));
        }
        assert!(ask(&kept, 0, bytes) && ask(&kept, 2, bytes));
        assert!(!ask(&kept, 3, bytes), "another one");
        assert!(ask(&kept, 0, bytes) && ask(&kept, 2, bytes) && ask(&kept, 3, bytes), "used since");
        assert!(!ask(&kept, 1, bytes), "the oldest is gone");
        assert!(!ask(&kept, 0, bytes), "then the next");
    }

    #[test]
    fn there_is_never_more_than_the_bound() {
        let most = 100_000;
        let kept = Kept::new(most);
        for number in 0..=255 {
            // Odd ones do not fit beside others, some not at all.
            ask(&kept, number, usize::from(number % 2) * 60_000 + usize::from(number) * 300);
            let state = kept.state();
            let sum: usize = state.outputs.values().map(|(outputs, _)| size(outputs)).sum();
            assert_eq!(state.bytes, sum);
            assert!(sum <= most, "{sum}");
            assert_eq!(state.outputs.len(), state.by_use.len());
        }
        assert!(!ask(&kept, 255, 136_500), "larger than all of it");
        assert!(ask(&kept, 254, 76_200), "which drives nothing out");
    }

    #[test]
    fn small_outputs_count_with_what_keeping_them_takes() {
        let kept = Kept::new(10 * BYTES_BESIDE);
        (0..100).for_each(|number| assert!(!ask(&kept, number, 0)));
        assert_eq!(kept.state().outputs.len(), 10);
    }

    #[test]
    fn what_is_being_made_is_waited_for() {
        let kept = Kept::new(MOST_BYTES);
        let Found::Nothing(making) = kept.find(key(1), &Context::default()) else {
            panic!("nothing is there")
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| ask(&kept, 1, 5));
            let failing = scope.spawn(|| ask(&kept, 2, 5));
            assert!(!failing.join().expect("no panic"), "another key waits for nobody");
            let gone = Context::default();
            gone.cancel();
            assert!(matches!(kept.find(key(1), &gone), Found::Cancelled));
            making.keep(vec![vec![1; 5]]);
            assert!(other.join().expect("no panic"), "what the one made, the other has");
        });
        // One that failed, or whose outputs cannot be kept, leaves it to the next.
        let Found::Nothing(making) = kept.find(key(3), &Context::default()) else {
            panic!("nothing is there")
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| ask(&kept, 3, 5));
            drop(making);
            assert!(!other.join().expect("no panic"));
        });
    }
}
