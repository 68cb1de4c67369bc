//! What steps of a build made so far, for those that need it.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError, RwLock};

use ociseed_image::{Image, Index};
use ociseed_spec::{Digest, Key};

use super::layers::Layer;
use crate::report::Target;

/// Layers, images, indexes and targets that are done.
#[derive(Default)]
pub(super) struct Made {
    layers: RwLock<BTreeMap<Key, Layer>>,
    images: RwLock<BTreeMap<Key, Image>>,
    indexes: RwLock<BTreeMap<Key, Index>>,
    targets: Mutex<BTreeMap<String, Done>>,
}

/// A target that is in the output directory when the build ends.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) report: Target,
    pub(super) key: Option<Digest>,
    /// Whether it lies in the stage and has yet to be moved to its place.
    pub(super) staged: bool,
}

fn put<T>(map: &RwLock<BTreeMap<Key, T>>, key: &Key, value: T) {
    map.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), value);
}

/// Returns what a step made; steps run after those that they need.
fn get<T: Clone>(map: &RwLock<BTreeMap<Key, T>>, key: &Key) -> T {
    map.read().unwrap_or_else(PoisonError::into_inner)[key].clone()
}

impl Made {
    pub(super) fn add_layer(&self, key: &Key, layer: Layer) {
        put(&self.layers, key, layer);
    }

    pub(super) fn layer(&self, key: &Key) -> Layer {
        get(&self.layers, key)
    }

    pub(super) fn add_image(&self, key: &Key, image: Image) {
        put(&self.images, key, image);
    }

    pub(super) fn image(&self, key: &Key) -> Image {
        get(&self.images, key)
    }

    pub(super) fn add_index(&self, key: &Key, index: Index) {
        put(&self.indexes, key, index);
    }

    pub(super) fn index(&self, key: &Key) -> Index {
        get(&self.indexes, key)
    }

    pub(super) fn add_target(&self, name: String, done: Done) {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).insert(name, done);
    }

    pub(super) fn targets(&self) -> BTreeMap<String, Done> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Lets so many work at a time, as each takes memory of its own.
pub(super) struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to work; others wait until it is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), freed: Condvar::new() }
    }

    pub(super) fn take(&self) -> Turn<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn no_more_work_at_a_time_than_there_are_turns() {
        let turns = Turns::new(2);
        let (working, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _turn = turns.take();
                        most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        working.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 2, "both were used, and no third");
    }
}
