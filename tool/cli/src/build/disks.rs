//! The disks of a build.

use ociseed_spec::Key;
use ociseed_spec::file::DiskSource;
use ociseed_spec::json;
use serde_json::Map;

use super::Build;
use super::plan::{TargetName, disk_source};
use super::remember::{StepKey, digest_of};
use crate::failure::Failure;
use crate::progress::StepProgress;
use crate::report::Target;
use crate::scratch::Scratch;
use crate::step::disk::{DiskWriter, Making};

impl Build<'_> {
    /// Makes a disk, unless it is there.
    pub(super) fn disk(&self, step: &TargetName, key: &Key, progress: &StepProgress) -> Result<(), Failure> {
        let source = disk_source(self.spec, key);
        let step_key = self.disk_key(step, key, source);
        self.last(step, step_key.as_ref(), || {
            let dir = self.stage()?.below("disk")?;
            let (scratch, spec) = (Scratch::new(dir.clone()), &self.spec.disk[key]);
            let making = Making { spec, blobs: &self.blobs, scratch: &scratch };
            let made = match source {
                DiskSource::Layer(layer) => {
                    let metadata = self.made.layer(layer).metadata;
                    making.layer(&metadata.digest, metadata.size)
                }
                DiskSource::Image(image) => making.image(&self.made.image(image)),
                DiskSource::Seed(seed) => making.seed(&self.make_seed(seed)?, &self.spec.seed[seed]),
                DiskSource::Store(store) => {
                    let seed = self.make_seed(&store.seed)?;
                    making.store(&seed, &self.spec.seed[&store.seed], store.engine)
                }
            };
            let made = made.map_err(|failure| failure.within(&step.to_string()))?;
            progress.expect_bytes(made.tree.iter().map(|(_, entry)| super::size_of(entry)).sum());
            let name = format!("{key}.{}", spec.medium.as_str());
            let advance = |bytes| {
                progress.advance(bytes);
                Ok(())
            };
            let (out, file) = (&dir, name.as_ref());
            let writer = DiskWriter { disk: &made, spec, out, name: file, progress: &advance };
            let metadata = writer.write_described().map_err(|failure| failure.within(&step.to_string()))?;
            let described = self.write_small("disk", &format!("{key}.json"), &json::encode(&metadata))?;
            Ok(Target {
                path: format!("disk/{name}"),
                metadata: Some(described),
                digest: Some(metadata.digest),
                size: metadata.size,
                seed_id: metadata.seed_id,
                lock: metadata.lock,
                ..Target::default()
            })
        })
    }

    fn disk_key(&self, step: &TargetName, key: &Key, source: DiskSource<'_>) -> Option<StepKey> {
        let disk = &self.spec.disk[key];
        match source {
            DiskSource::Layer(layer) => {
                let inputs =
                    Map::from_iter([("layer".to_owned(), digest_of(&self.made.layer(layer).metadata))]);
                self.remember.key(step, disk, inputs, Vec::new())
            }
            DiskSource::Image(image) => {
                self.output_key(step, disk, [image.clone()].into_iter(), std::iter::empty())
            }
            DiskSource::Seed(seed) => self.seed_disk_key(step, key, seed),
            DiskSource::Store(store) => self.seed_disk_key(step, key, &store.seed),
        }
    }

    fn seed_disk_key(&self, step: &TargetName, key: &Key, seed: &Key) -> Option<StepKey> {
        let table = (&self.spec.disk[key], &self.spec.seed[seed]);
        let images = self.spec.seed[seed].image.iter().map(|entry| entry.image.clone());
        self.output_key(step, &table, images, std::iter::empty())
    }
}
