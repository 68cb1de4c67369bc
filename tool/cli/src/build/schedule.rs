//! Running steps when what they need is there, many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::Scope;

use crate::failure::Failure;

/// What came of it.
#[derive(Debug)]
pub(super) struct Outcome<N> {
    /// Steps that failed, in their order.
    pub(super) failures: BTreeMap<N, Failure>,
    /// Steps that did not run.
    pub(super) skipped: BTreeSet<N>,
}

/// What is to happen after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Steps that have not begun are only checked, so that one run says all that is wrong.
    Stop,
    /// All run that do not need what failed.
    KeepGoing,
    /// Nothing is made from the start: something is known to be wrong.
    Check,
}

/// Runs all steps of a graph without circles, each after those that it needs.
///
/// `work` is told whether to check only; what needs a step that was only checked does not run.
pub(super) fn run<N: Ord + Clone + Send + Sync>(
    steps: &BTreeMap<N, BTreeSet<N>>,
    mode: Mode,
    work: impl Fn(&N, bool) -> Result<(), Failure> + Sync,
) -> Outcome<N> {
    let waiting = steps.iter().map(|(step, needs)| (step, needs.len())).collect();
    let failures = Mutex::new(BTreeMap::new());
    let mut needed_by: BTreeMap<&N, Vec<&N>> = BTreeMap::new();
    for (step, needs) in steps {
        needs.iter().for_each(|needed| needed_by.entry(needed).or_default().push(step));
    }
    let running = Running {
        needed_by,
        stops: mode != Mode::KeepGoing,
        work,
        waiting: Mutex::new(waiting),
        failures,
        checking: AtomicBool::new(mode == Mode::Check),
    };
    rayon::in_place_scope(|scope| {
        for step in steps.iter().filter(|(_, needs)| needs.is_empty()).map(|(step, _)| step) {
            running.spawn(scope, step);
        }
    });
    let waiting = running.waiting.into_inner().unwrap_or_else(PoisonError::into_inner);
    let failures = running.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    Outcome { failures, skipped: waiting.into_keys().cloned().collect() }
}

struct Running<'a, N, W> {
    needed_by: BTreeMap<&'a N, Vec<&'a N>>,
    stops: bool,
    work: W,
    /// How many needed steps each one that has not begun still waits for.
    waiting: Mutex<BTreeMap<&'a N, usize>>,
    failures: Mutex<BTreeMap<N, Failure>>,
    checking: AtomicBool,
}

impl<'a, N: Ord + Clone + Send + Sync, W: Fn(&N, bool) -> Result<(), Failure> + Sync> Running<'a, N, W> {
    fn spawn<'s>(&'s self, scope: &Scope<'s>, step: &'a N)
    where
        'a: 's,
    {
        scope.spawn(move |scope| {
            let checking = self.checking.load(Ordering::Relaxed);
            if !checking {
                self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(step);
            }
            match (self.work)(step, checking) {
                Ok(()) if checking => {}
                Ok(()) => self.ready(step).into_iter().for_each(|next| self.spawn(scope, next)),
                Err(failure) => {
                    self.checking.fetch_or(self.stops, Ordering::Relaxed);
                    let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.insert(step.clone(), failure);
                }
            }
        });
    }

    /// Notes that a step is done, and returns those that waited for nothing else.
    fn ready(&self, done: &N) -> Vec<&'a N> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = Vec::new();
        for step in self.needed_by.get(done).into_iter().flatten() {
            let left = waiting.get_mut(step).expect("a step waits until the last that it needs is done");
            *left -= 1;
            if *left == 0 {
                ready.push(*step);
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph: `d` needs `b` and `c`, `b` and `c` need `a`, `e` nothing.
    fn graph() -> BTreeMap<char, BTreeSet<char>> {
        [('a', ""), ('b', "a"), ('c', "a"), ('d', "bc"), ('e', "")]
            .map(|(step, needs)| (step, needs.chars().collect()))
            .into()
    }

    fn failing(names: &str, step: char) -> Result<(), Failure> {
        if names.contains(step) { Err(Failure::new(step.to_string())) } else { Ok(()) }
    }

    fn summary(outcome: Outcome<char>) -> (String, String) {
        (outcome.failures.into_keys().collect(), outcome.skipped.into_iter().collect())
    }

    #[test]
    fn each_step_runs_once_after_those_that_it_needs() {
        let done = Mutex::new(String::new());
        let outcome = run(&graph(), Mode::Stop, |step, _| {
            let mut done = done.lock().expect("no panic");
            assert!(graph()[step].iter().all(|needed| done.contains(*needed)), "{step} after {done}");
            done.push(*step);
            Ok(())
        });
        let mut done = done.into_inner().expect("no panic").into_bytes();
        done.sort_unstable();
        assert_eq!(done, b"abcde");
        assert_eq!(summary(outcome), (String::new(), String::new()));
    }

    #[test]
    fn what_needs_a_failed_step_does_not_run() {
        let outcome = run(&graph(), Mode::KeepGoing, |step, checking| {
            assert!(!checking);
            failing("be", *step)
        });
        assert_eq!(summary(outcome), ("be".to_owned(), "d".to_owned()));
    }

    #[test]
    fn after_a_failure_steps_are_only_checked() {
        // One thread, so that the order is known: the last that is ready first.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let made = Mutex::new(String::new());
        let outcome = pool.install(|| {
            run(&graph(), Mode::Stop, |step, checking| {
                if !checking {
                    made.lock().expect("no panic").push(*step);
                }
                failing("ae", *step)
            })
        });
        assert_eq!(made.into_inner().expect("no panic").len(), 1);
        let (failures, skipped) = summary(outcome);
        assert_eq!(failures, "ae", "both are said");
        assert_eq!(skipped.len(), 4);
    }

    #[test]
    fn a_check_makes_nothing() {
        let outcome = run(&graph(), Mode::Check, |step, checking| {
            assert!(checking);
            failing("e", *step)
        });
        assert_eq!(summary(outcome), ("e".to_owned(), "abcde".to_owned()));
    }
}
