//! How libzstd is set up: so that its bytes follow from the level alone, and its memory has a limit.
//!
//! With workers libzstd cuts the tar into jobs and keeps several in memory, at
//! the strongest levels of 32 MiB each, beside tables for each worker. A layer
//! may take 128 MiB (docs/format.md), so there are as many workers as fit in.

use std::io::{self, Write};

use zstd::zstd_safe::CParameter;

/// What a level takes: from libzstd's table for input of unknown size (`ZSTD_defaultCParameters`), in MiB.
struct Cost {
    /// The tables of one worker.
    tables: u32,
    /// One job; four times the window unless set.
    job: u32,
}

/// What libzstd may take, in MiB: the rest of the 128 is for the program and the stages around it.
const BUDGET: u32 = 104;

impl Cost {
    fn of(level: i32) -> Self {
        let (tables, job) = match level {
            ..=2 => (1, 4),
            3..=4 => (2, 8),
            5..=7 => (6, 8),
            8 => (7, 8),
            9 => (12, 4),
            10 | 11 => (24, 4),
            12 | 14 | 16 => (50, 4),
            13 => (34, 4),
            15 => (66, 4),
            17 | 18 => (52, 8),
            _ => (84, 8),
        };
        Self { tables, job }
    }

    /// What so many workers take: tables, jobs at both ends, and three jobs of slack.
    fn with(&self, workers: u32) -> u32 {
        workers * (self.tables + 2 * self.job) + 4 * self.job
    }

    /// How many workers fit in; none where even two do not, for then there is nothing to share out.
    fn workers(&self) -> u32 {
        (2..=16).take_while(|workers| self.with(*workers) <= BUDGET).last().unwrap_or(0)
    }
}

/// Inputs of fewer bytes, which are one block, become the same with workers and without.
///
/// What ends with a block gets an empty one after it where there are no workers.
pub(crate) const BLOCK: usize = 128 << 10;

/// Compresses fewer than [`BLOCK`] bytes, as [`encoder`] does.
pub(crate) fn block(bytes: &[u8], level: i32) -> io::Result<Vec<u8>> {
    assert!(bytes.len() < BLOCK, "they are one block");
    let mut encoder = without_workers(Vec::new(), level)?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn without_workers<W: Write>(out: W, level: i32) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(out, level)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// Makes an encoder; `threads` is how many may compress at once, and changes no byte.
pub(crate) fn encoder<W: Write>(out: W, level: i32, threads: u32) -> io::Result<zstd::Encoder<'static, W>> {
    let cost = Cost::of(level);
    let mut encoder = without_workers(out, level)?;
    // Zero workers are another code path of libzstd with other bytes; one and more agree. So whether there are
    // any follows from the level alone.
    if cost.workers() > 0 {
        encoder.multithread(threads.clamp(1, cost.workers()))?;
        if level >= 9 {
            encoder.set_parameter(CParameter::JobSize(cost.job << 20))?;
        }
    }
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_a_block_becomes_the_same_without_workers() {
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        for size in [1024, 10_240, BLOCK - 1] {
            let mixed = (0..size).map(|at| if at % 4096 < 2000 { noise() } else { 7 }).collect();
            let noise = (0..size).map(|_| noise()).collect();
            for (kind, bytes) in [vec![0; size], mixed, noise].into_iter().enumerate() {
                for level in (1..=22).filter(|level| Cost::of(*level).workers() > 0) {
                    let mut encoder = encoder(Vec::new(), level, 1).expect("in memory");
                    encoder.write_all(&bytes).expect("in memory");
                    let with_workers = encoder.finish().expect("in memory");
                    let same = super::block(&bytes, level).expect("in memory") == with_workers;
                    assert!(same, "{size} bytes of kind {kind} at level {level}");
                }
            }
        }
    }

    #[test]
    fn the_default_has_workers_and_the_strongest_have_none() {
        let workers = |level| Cost::of(level).workers();
        assert_eq!([1, 3, 6, 9, 11, 12, 13, 15, 19].map(workers), [9, 4, 3, 4, 2, 0, 2, 0, 0]);
    }
}
