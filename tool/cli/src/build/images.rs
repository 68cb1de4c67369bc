//! The images and indexes of a build, each after those that it is made of.

use std::collections::BTreeMap;

use ociseed_image::{Image, Index};
use ociseed_spec::file::{Base, BaseSpec, BundleSpec, Spec};
use ociseed_spec::lock::BlobRef;
use ociseed_spec::{Key, json};
use serde_json::{Map, Value};

use super::Build;
use super::plan::{Plan, TargetName};
use super::remember::{How, StepKey, digest_of};
use crate::blobs::{Blobs, SourceSet};
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::report::Target;
use crate::step;

/// Adds the layouts and archives that the bases of a plan are in, and says all that is wrong with them.
pub(super) fn add_bases(spec: &Spec, plan: &Plan, inputs: &Inputs, blobs: &mut Blobs) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for step in plan.steps.keys() {
        let base = base_of(spec, step);
        let mut add = |base: &BaseSpec| {
            let place = format!("{step}.base");
            blobs.add(step::image::place(base, &place)?, inputs, &place)
        };
        failures.extend(base.and_then(|base| add(base).err()));
    }
    Failure::join(failures).map_or(Ok(()), Err)
}

fn base_of<'a>(spec: &'a Spec, step: &TargetName) -> Option<&'a BaseSpec> {
    match step {
        TargetName::Image(key) => spec.image[key].base.as_ref(),
        TargetName::Index(key) => spec.index[key].base.as_ref(),
        _ => None,
    }
}

impl Build<'_> {
    /// Returns which layouts and archives a step is made from, near and far.
    ///
    /// A bundle takes referrers from these alone, so what else is built changes nothing in it.
    pub(super) fn sources_of(&self, step: &TargetName) -> SourceSet {
        let bases = self.plan.below(step);
        let bases = bases.iter().filter_map(|step| base_of(self.spec, step)?.place().ok());
        bases.filter_map(|base| self.blobs.number(&base)).collect()
    }

    /// Adds to a key what a layout or archive is; `false` where that cannot be told without reading it.
    fn add_source(&self, inputs: &mut Map<String, Value>, name: &str, number: usize) -> bool {
        let digest = self.blobs.stamps(number);
        digest.map(|digest| inputs.insert(name.to_owned(), digest.to_string().into())).is_some()
    }

    /// Makes an image, or takes it from the cache.
    pub(super) fn image(&self, key: &Key) -> Result<(), Failure> {
        let step = TargetName::Image(key.clone());
        let step_key = self.image_key(&step, key);
        let cached = self.remember.result(step_key.as_ref()).and_then(|bytes| Image::parse(&bytes).ok());
        let (image, how) = match cached {
            Some(image) => (image, How::Cached),
            None => {
                let image = self.make_image(key)?;
                self.remember.keep(step_key.as_ref(), &json::encode(image.record()));
                (image, How::Made)
            }
        };
        self.finish_record(&step, step_key.as_ref(), how, image.manifest(), image.record())?;
        self.made.add_image(key, image);
        Ok(())
    }

    fn image_key(&self, step: &TargetName, key: &Key) -> Option<StepKey> {
        let mut table = self.spec.image[key].clone();
        let mut inputs = Map::new();
        for (index, layer) in table.layers.iter().enumerate() {
            inputs.insert(format!("layers[{index}]"), digest_of(&self.made.layer(layer).metadata));
        }
        table.layers.clear();
        if let Some(base) = &mut table.base {
            if let Some(image) = base.image.take() {
                inputs.insert("base".to_owned(), digest_of(self.made.image(&image).record()));
            } else if !self.add_base(&mut inputs, base) {
                return None;
            }
        }
        self.remember.key(step, &table, inputs, Vec::new())
    }

    /// Adds the layout or archive of a base to a key, and takes its name away, which changes nothing.
    fn add_base(&self, inputs: &mut Map<String, Value>, base: &mut BaseSpec) -> bool {
        let number = base.place().ok().and_then(|place| self.blobs.number(&place));
        let added = number.is_some_and(|number| self.add_source(inputs, "base", number));
        [&mut base.layout, &mut base.archive].into_iter().flatten().for_each(String::clear);
        added
    }

    fn make_image(&self, key: &Key) -> Result<Image, Failure> {
        let (spec, place) = (&self.spec.image[key], format!("image.{key}"));
        let base = match &spec.base {
            None => None,
            Some(base) => Some(match step::image::place(base, &format!("{place}.base"))? {
                Base::Image(other) => self.made.image(other),
                archive => {
                    let source = self.blobs.number(&archive).expect("all bases were added");
                    step::image::choose(&self.blobs, source, base, spec, &place)?
                }
            }),
        };
        let layers: Vec<_> = spec.layers.iter().map(|layer| self.made.layer(layer).metadata).collect();
        step::image::make(base.as_ref(), spec, &layers, &place)
    }

    /// Makes an index, or takes it from the cache.
    pub(super) fn index(&self, key: &Key) -> Result<(), Failure> {
        let step = TargetName::Index(key.clone());
        let step_key = self.index_key(&step, key);
        let cached = self.remember.result(step_key.as_ref()).and_then(|bytes| Index::parse(&bytes).ok());
        let (index, how) = match cached {
            Some(index) => (index, How::Cached),
            None => {
                let index = self.make_index(key)?;
                self.remember.keep(step_key.as_ref(), &json::encode(&index.record()));
                (index, How::Made)
            }
        };
        self.finish_record(&step, step_key.as_ref(), how, index.blob(), &index.record())?;
        self.made.add_index(key, index);
        Ok(())
    }

    fn index_key(&self, step: &TargetName, key: &Key) -> Option<StepKey> {
        let mut table = self.spec.index[key].clone();
        let mut inputs = Map::new();
        for (index, image) in table.images.iter().enumerate() {
            inputs.insert(format!("images[{index}]"), digest_of(self.made.image(image).record()));
        }
        table.images.clear();
        if let Some(base) = &mut table.base
            && !self.add_base(&mut inputs, base)
        {
            return None;
        }
        self.remember.key(step, &table, inputs, Vec::new())
    }

    fn make_index(&self, key: &Key) -> Result<Index, Failure> {
        let (spec, place) = (&self.spec.index[key], format!("index.{key}"));
        match &spec.base {
            Some(base) => {
                let archive = step::image::place(base, &format!("{place}.base"))?;
                let source = self.blobs.number(&archive).expect("the base of an index is no image");
                step::index::choose(&self.blobs, source, base, &place)
            }
            None => {
                let images = spec.images.iter().map(|image| self.made.image(image)).collect();
                step::index::make(spec, images, &place)
            }
        }
    }

    /// Writes a record if it was asked for.
    fn finish_record<T: serde::Serialize>(
        &self,
        step: &TargetName,
        key: Option<&StepKey>,
        how: How,
        blob: BlobRef,
        record: &T,
    ) -> Result<(), Failure> {
        let old = self.remember.memory(step);
        let current = self.plan.targets.contains(step)
            && self.target(step, key, || {
                let bytes = json::encode(record);
                let (kind, name) = step.place();
                let path = self.write_small(kind, &format!("{name}.json"), &bytes)?;
                Ok(Target { path, digest: Some(blob.digest), size: bytes.len() as u64, ..Target::default() })
            })?;
        let how = if current && how == How::Cached { How::Current } else { how };
        self.remember.ran(step, key, how, old.as_ref());
        Ok(())
    }

    /// Makes the key of what is made of images, indexes and the sources of their bases.
    pub(super) fn output_key(
        &self,
        step: &TargetName,
        table: &impl serde::Serialize,
        images: impl Iterator<Item = Key>,
        indexes: impl Iterator<Item = Key>,
    ) -> Option<StepKey> {
        let mut inputs = Map::new();
        for key in images {
            inputs.insert(format!("image.{key}"), digest_of(self.made.image(&key).record()));
        }
        for key in indexes {
            inputs.insert(format!("index.{key}"), digest_of(&self.made.index(&key).record()));
        }
        for number in self.sources_of(step) {
            if !self.add_source(&mut inputs, &format!("source {number}"), number) {
                return None;
            }
        }
        self.remember.key(step, table, inputs, Vec::new())
    }

    /// Returns the images and indexes of a bundle.
    pub(super) fn parts_of(&self, bundle: &BundleSpec) -> (BTreeMap<Key, Image>, BTreeMap<Key, Index>) {
        let images = bundle.images.values().map(|key| (key.clone(), self.made.image(key)));
        let indexes = bundle.indexes.values().map(|key| (key.clone(), self.made.index(key)));
        (images.collect(), indexes.collect())
    }
}
