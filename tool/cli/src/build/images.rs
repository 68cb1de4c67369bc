//! The images and indexes of a build, each after those that it is made of.

use std::collections::BTreeMap;

use ociseed_image::{Image, Index};
use ociseed_spec::file::{Base, BaseSpec, BundleSpec, in_order};
use ociseed_spec::lock::BlobRef;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::{Key, json};

use super::Build;
use super::plan::TargetName;
use crate::blobs::{Blobs, SourceSet};
use crate::failure::Failure;
use crate::report::Target;
use crate::step;

/// Images and indexes, and which layouts and archives each was made from.
///
/// A bundle takes referrers from these alone, so what else is built changes nothing in it.
#[derive(Default)]
pub(super) struct Made {
    pub(super) images: BTreeMap<Key, Image>,
    pub(super) indexes: BTreeMap<Key, Index>,
    image_sources: BTreeMap<Key, SourceSet>,
    index_sources: BTreeMap<Key, SourceSet>,
}

impl Made {
    /// Returns where the bases of all that is in a bundle are.
    pub(super) fn sources_of(&self, bundle: &BundleSpec) -> SourceSet {
        let images = bundle.images.values().map(|key| &self.image_sources[key]);
        let indexes = bundle.indexes.values().map(|key| &self.index_sources[key]);
        images.chain(indexes).flatten().copied().collect()
    }
}

impl Build<'_> {
    /// Makes all images and indexes that are needed, and writes the records that were asked for.
    pub(super) fn images(
        &self,
        layers: &BTreeMap<Key, LayerMetadata>,
        blobs: &mut Blobs,
        targets: &mut BTreeMap<String, Target>,
    ) -> Result<Made, Failure> {
        let mut made = Made::default();
        let needs =
            |key: &Key| self.spec.image[key].base.iter().filter_map(|base| base.image.clone()).collect();
        let order = in_order(self.plan.images.iter(), needs);
        for key in order.expect("a spec with circles is refused when it is read") {
            self.image(&key, layers, blobs, &mut made)?;
            let image = &made.images[&key];
            self.report(TargetName::Image(key), image.manifest(), image.record(), targets)?;
        }
        for key in &self.plan.indexes {
            self.index(key, blobs, &mut made)?;
            let index = &made.indexes[key];
            self.report(TargetName::Index(key.clone()), index.blob(), &index.record(), targets)?;
        }
        Ok(made)
    }

    fn image(
        &self,
        key: &Key,
        layers: &BTreeMap<Key, LayerMetadata>,
        blobs: &mut Blobs,
        made: &mut Made,
    ) -> Result<(), Failure> {
        let (spec, place) = (&self.spec.image[key], format!("image.{key}"));
        let mut sources = SourceSet::new();
        let mut chosen = None;
        let base = match &spec.base {
            None => None,
            Some(base) => match self.open(base, blobs, &place)? {
                (_, Some(source)) => {
                    sources.insert(source);
                    Some(&*chosen.insert(step::image::choose(blobs, source, base, spec, &place)?))
                }
                (Base::Image(other), None) => {
                    sources.clone_from(&made.image_sources[other]);
                    Some(&made.images[other])
                }
                _ => None,
            },
        };
        let metadata: Vec<_> = spec.layers.iter().map(|layer| layers[layer].clone()).collect();
        let image = step::image::make(base, spec, &metadata, &place)?;
        made.images.insert(key.clone(), image);
        made.image_sources.insert(key.clone(), sources);
        Ok(())
    }

    fn index(&self, key: &Key, blobs: &mut Blobs, made: &mut Made) -> Result<(), Failure> {
        let (spec, place) = (&self.spec.index[key], format!("index.{key}"));
        let mut sources = SourceSet::new();
        let index = match &spec.base {
            Some(base) => {
                let source = self.open(base, blobs, &place)?.1.expect("the base of an index is no image");
                sources.insert(source);
                step::index::choose(blobs, source, base, &place)?
            }
            None => {
                sources.extend(spec.images.iter().flat_map(|image| &made.image_sources[image]));
                let images = spec.images.iter().map(|image| made.images[image].clone());
                step::index::make(spec, images.collect(), &place)?
            }
        };
        made.indexes.insert(key.clone(), index);
        made.index_sources.insert(key.clone(), sources);
        Ok(())
    }

    /// Opens the layout or archive of a base, if it is in one.
    fn open<'a>(
        &self,
        base: &'a BaseSpec,
        blobs: &mut Blobs,
        place: &str,
    ) -> Result<(Base<'a>, Option<usize>), Failure> {
        let place = format!("{place}.base");
        let base = step::image::place(base, &place)?;
        Ok((base, blobs.open(base, self.inputs, &place)?))
    }

    /// Writes a record if it was asked for.
    fn report<T: serde::Serialize>(
        &self,
        target: TargetName,
        blob: BlobRef,
        record: &T,
        targets: &mut BTreeMap<String, Target>,
    ) -> Result<(), Failure> {
        if !self.plan.targets.contains(&target) {
            return Ok(());
        }
        let bytes = json::encode(record);
        let name = target.to_string();
        let (kind, key) = name.split_once('.').expect("a target is written `kind.name`");
        let path = self.write_small(kind, &format!("{key}.json"), &bytes)?;
        let (digest, size) = (Some(blob.digest), bytes.len() as u64);
        targets.insert(name, Target { path, digest, size, ..Target::default() });
        Ok(())
    }
}
