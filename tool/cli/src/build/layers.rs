//! The layers of a build: looked up in the cache, or made.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use ociseed_image::file_suffix;
use ociseed_spec::file::LayerSpec;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::{Digest, Hasher, Key, Stamp, TreePath, json};
use ociseed_store::BlobFile;
use ociseed_store::cache::{FileMemory, Memory};
use ociseed_tree::{Entry, Extent, HostFile, Node, Stamps, Tree};
use serde_json::{Map, Value};

use super::plan::TargetName;
use super::remember::{How, StepKey};
use super::{Build, size_of};
use crate::failure::Failure;
use crate::files::{Wanted, digests, now, untouched};
use crate::inputs::Place;
use crate::output::write_failure;
use crate::progress::StepProgress;
use crate::report::Target;
use crate::scratch::Scratch;
use crate::step::layer::{self, Found, Sources};

/// A layer that others can be made of.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) metadata: LayerMetadata,
    pub(super) blob: Place,
}

impl Build<'_> {
    /// Makes a layer available: from the cache, or by making it.
    pub(super) fn layer(&self, key: &Key, progress: &StepProgress) -> Result<(), Failure> {
        let step = TargetName::Layer(key.clone());
        let old = self.remember.memory(&step);
        let untouched = old.as_ref().and_then(|old| self.untouched_layer(&step, key, old));
        let known = untouched.and_then(|step_key| Some((self.cached_layer(key, &step_key)?, step_key)));
        let (layer, step_key, how) = match known {
            Some((layer, step_key)) => (layer, Some(step_key), How::Cached),
            None => self.find_or_make(&step, key, old.as_ref(), progress)?,
        };
        self.blobs.add_layer(&layer.metadata, layer.blob.clone());
        let current = self.plan.targets.contains(&step)
            && self.target(&step, step_key.as_ref(), || self.stage_layer(key, &layer, how))?;
        let how = if current && how == How::Cached { How::Current } else { how };
        self.made.add_layer(key, layer);
        self.remember.ran(&step, step_key.as_ref(), how, old.as_ref());
        Ok(())
    }

    /// Looks a layer up by what its inputs hold, or makes it.
    fn find_or_make(
        &self,
        step: &TargetName,
        key: &Key,
        old: Option<&Memory>,
        progress: &StepProgress,
    ) -> Result<(Layer, Option<StepKey>, How), Failure> {
        let begun = now();
        let found = self.find_layer(key)?;
        let step_key = self.layer_key(step, key, &found, old, begun)?;
        if let Some(step_key) = &step_key
            && let Some(layer) = self.cached_layer(key, step_key)
        {
            return Ok((layer, Some(step_key.clone()), How::Cached));
        }
        let layer = self.make_layer(key, found, progress)?;
        let unchanged = self.is_unchanged(key, step_key.as_ref())?;
        let step_key = step_key.filter(|_| unchanged);
        self.remember.keep_layer(step_key.as_ref(), &layer.metadata, &layer.blob);
        Ok((layer, step_key, How::Made))
    }

    /// Reads what a layer is made of, and puts it together.
    pub(super) fn check_layer(&self, key: &Key) -> Result<(), Failure> {
        let scratch = Scratch::new(self.stage()?);
        let found = self.find_layer(key)?;
        layer::tree(&self.spec.layer[key], found, &scratch, &format!("layer.{key}")).map(drop)
    }

    fn find_layer(&self, key: &Key) -> Result<Vec<Found>, Failure> {
        let other = |key: &Key, _: &str| Ok(self.made.layer(key).blob);
        let stamps = if self.remember.cache().is_some() { Stamps::Keep } else { Stamps::Drop };
        let sources = Sources { inputs: self.inputs, layer: &other, stamps };
        let (spec, place) = (&self.spec.layer[key], format!("layer.{key}"));
        let found = layer::find(spec, &sources, &place)?;
        self.check_own(spec, &found, &place)?;
        Ok(found)
    }

    /// Refuses layers that would have in them what this build writes.
    fn check_own(&self, spec: &LayerSpec, found: &[Found], place: &str) -> Result<(), Failure> {
        for ((index, add), found) in spec.add.iter().enumerate().zip(found) {
            let (Some(word), Found::Files(taken, _)) = (&add.dir, found) else { continue };
            let place = format!("{place}.add[{index}]");
            let (directory, entry) = (self.inputs.find(word, &place)?, layer::entry_of(add, &place)?);
            let is_taken = |path: &TreePath| taken.iter().any(|(other, _)| other == path);
            for own in &self.own {
                own.check(&directory, &entry, &is_taken, &place)?;
            }
        }
        Ok(())
    }

    /// Returns a layer's table without the names of what it reads, which change nothing, and which other layers it has.
    fn layer_table(&self, key: &Key) -> (LayerSpec, Map<String, Value>) {
        let mut table = self.spec.layer[key].clone();
        let mut inputs = Map::new();
        for (index, add) in table.add.iter_mut().enumerate() {
            if let Some(layer) = add.layer.take() {
                inputs.insert(input_name(index), self.made.layer(&layer).metadata.digest.to_string().into());
            }
            add.words_mut().for_each(String::clear);
        }
        (table, inputs)
    }

    /// Returns the key that a layer had, if neither its table nor a file or directory that it read is another.
    fn untouched_layer(&self, step: &TargetName, key: &Key, old: &Memory) -> Option<StepKey> {
        // Which paths a closure has is in its graph, and the store around them has others: it is looked at anew, though not read.
        if self.spec.layer[key].add.iter().any(|add| add.closure.is_some()) {
            return None;
        }
        let (table, inputs) = self.layer_table(key);
        let step_key = self.remember.same_key(step, &table, inputs, old)?;
        let mut places = HashMap::new();
        for (first, add) in self.spec.layer[key].numbered() {
            for (source, word) in (first..).zip(add.words()) {
                places.insert(source, self.inputs.find(word, "").ok()?);
            }
        }
        untouched(&old.files, &places, self.threads).then_some(step_key)
    }

    fn layer_key(
        &self,
        step: &TargetName,
        key: &Key,
        found: &[Found],
        old: Option<&Memory>,
        begun: i128,
    ) -> Result<Option<StepKey>, Failure> {
        if self.remember.cache().is_none() {
            return Ok(None);
        }
        let (table, mut inputs) = self.layer_table(key);
        let spec = &self.spec.layer[key];
        let mut files = digests(&wanted(spec, found)?, old, self.threads)?;
        let mut known = files.iter().filter_map(|file| file.digest);
        for ((index, found), add) in found.iter().enumerate().zip(&spec.add) {
            let digest: Value = match found {
                Found::Files(taken, _) => digest_of_files(taken, &mut known).to_string().into(),
                Found::Archives(places) if add.layer.is_none() => {
                    let each = known.by_ref().take(places.len()).map(|digest| digest.to_string());
                    one_or_all(each.collect())
                }
                _ => continue,
            };
            inputs.insert(input_name(index), digest);
        }
        files.extend(directories(spec, found, begun));
        Ok(self.remember.key(step, &table, inputs, files))
    }

    fn cached_layer(&self, key: &Key, step_key: &StepKey) -> Option<Layer> {
        let metadata = LayerMetadata::parse(&self.remember.result(Some(step_key))?).ok()?;
        let blob = self.remember.cache()?.blob(&metadata.digest, metadata.size)?;
        Some(Layer {
            metadata,
            blob: Place { dir: blob.dir, path: blob.path, shown: format!("layer.{key}") },
        })
    }

    /// Writes the blob of a layer into the stage.
    fn make_layer(&self, key: &Key, found: Vec<Found>, progress: &StepProgress) -> Result<Layer, Failure> {
        let _turn = self.turns.take();
        self.check_taken_in(key)?;
        let (spec, shown) = (&self.spec.layer[key], format!("layer.{key}"));
        let stage = self.stage()?;
        let dir = stage.below("layer")?;
        let tree = layer::tree(spec, found, &Scratch::new(dir.clone()), &shown)?;
        let name = self.layer_name(key);
        progress.expect_bytes(tar_size(&tree.tree));
        let advance = |bytes| {
            progress.advance(bytes);
            Ok(())
        };
        let path = dir.shown(&name);
        let write = |writer: &mut dyn Write| layer::write_blob(&tree, spec, &path, &advance, writer);
        let metadata = dir.write_file(name.as_ref(), write)?;
        // By way of the stage, which all share: a directory of its own would stay open for each layer.
        let blob = Place { dir: stage.dir().clone(), path: Path::new("layer").join(&name), shown: name };
        Ok(Layer { metadata, blob })
    }

    /// Hashes the blobs of layers that a layer takes in: what is made of one that is damaged would be kept as if it were right.
    fn check_taken_in(&self, key: &Key) -> Result<(), Failure> {
        for layer in self.spec.layer[key].layers() {
            let metadata = self.made.layer(layer).metadata;
            let content = self.blobs.content(&metadata.digest, metadata.size)?;
            let checked = content.copy_to(&mut std::io::sink());
            checked.map_err(|error| Failure::because(format_args!("layer.{key}"), &error))?;
        }
        Ok(())
    }

    /// Tells whether the files that were read are what they were: what is made of others has another key.
    fn is_unchanged(&self, key: &Key, step_key: Option<&StepKey>) -> Result<bool, Failure> {
        let Some(step_key) = step_key else { return Ok(true) };
        let now = wanted(&self.spec.layer[key], &self.find_layer(key)?)?;
        let then = step_key.files.iter().filter(|file| file.digest.is_some()).map(|file| file.stamp);
        Ok(now.iter().map(|file| Some(file.stamp)).eq(then))
    }

    fn layer_name(&self, key: &Key) -> String {
        format!("{key}{}", file_suffix(self.spec.layer[key].compression))
    }

    /// Puts a layer that was asked for into the stage; one that was made is there.
    fn stage_layer(&self, key: &Key, layer: &Layer, how: How) -> Result<Target, Failure> {
        let (name, metadata) = (self.layer_name(key), &layer.metadata);
        if let (How::Cached, Some(cache)) = (how, self.remember.cache()) {
            let dir = self.stage()?.below("layer")?;
            let Place { dir: blob_dir, path, .. } = layer.blob.clone();
            let blob = BlobFile { dir: blob_dir, path, size: metadata.size };
            cache
                .place(&blob, &metadata.digest, dir.dir(), name.as_ref())
                .map_err(|error| write_failure(&dir.shown(&name), &error))?;
        }
        let metadata_path = self.write_small("layer", &format!("{key}.json"), &json::encode(metadata))?;
        Ok(Target {
            path: format!("layer/{name}"),
            metadata: Some(metadata_path),
            packages: metadata.packages.clone(),
            digest: Some(metadata.digest),
            size: metadata.size,
            ..Target::default()
        })
    }
}

/// Returns about how many bytes the tar of a tree has.
fn tar_size(tree: &Tree) -> u64 {
    tree.iter().map(|(_, entry)| size_of(entry) + 512).sum()
}

/// Lists the host's files that were found, in the order of the entries.
fn wanted(spec: &LayerSpec, found: &[Found]) -> Result<Vec<Wanted>, Failure> {
    let mut wanted = Vec::new();
    for ((source, add), found) in spec.numbered().zip(found) {
        match found {
            Found::Archives(places) if add.layer.is_none() => {
                for (source, place) in (source..).zip(places) {
                    wanted.push(Wanted::of(source, place)?);
                }
            }
            Found::Files(taken, _) => {
                let files = taken.iter().filter_map(|(_, entry)| host_file(entry));
                wanted.extend(files.map(|(file, stamp)| Wanted {
                    source,
                    file: file.clone(),
                    stamp: *stamp,
                }));
            }
            _ => {}
        }
    }
    Ok(wanted)
}

/// Lists the directories whose entries were found, for the next time; `begun` is when that was.
fn directories(spec: &LayerSpec, found: &[Found], begun: i128) -> Vec<FileMemory> {
    let mut all = Vec::new();
    for ((source, _), found) in spec.numbered().zip(found) {
        let Found::Files(_, directories) = found else { continue };
        all.extend(directories.iter().map(|(path, stamp)| FileMemory {
            source,
            path: path.as_os_str().as_encoded_bytes().to_vec(),
            stamp: Some(*stamp).filter(|stamp| stamp.settles() <= begun),
            digest: None,
        }));
    }
    all
}

fn input_name(index: usize) -> String {
    format!("add[{index}]")
}

/// Returns the digest of an entry's only archive, or those of all, in their order: where one replaces, it counts.
fn one_or_all(mut digests: Vec<String>) -> Value {
    if digests.len() == 1 { digests.remove(0).into() } else { digests.into() }
}

fn host_file(entry: &Entry) -> Option<(&HostFile, &Stamp)> {
    match &entry.node {
        Node::File(content) => match content.extents() {
            [Extent::File(range)] => Some((&range.file, range.file.stamp()?)),
            _ => None,
        },
        _ => None,
    }
}

/// Says what files and directories of the host are, and where they go; `known` has the digests of those files next.
fn digest_of_files(taken: &[(TreePath, Entry)], known: &mut impl Iterator<Item = Digest>) -> Digest {
    let mut hasher = Hasher::new();
    // Each part is preceded by its length, so that no two lists give the same bytes.
    let mut add = |kind: u8, bytes: &[u8]| {
        hasher.update(&[kind]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (path, entry) in taken {
        add(b'p', path.as_bytes());
        match &entry.node {
            Node::File(_) => {
                let kind = if entry.stat.mode.bits() & 0o100 == 0 { b'f' } else { b'x' };
                add(kind, known.next().expect("every file was read").as_bytes());
            }
            Node::Symlink(target) => add(b'l', target),
            _ => add(b'd', b""),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use ociseed_spec::Timestamp;
    use ociseed_spec::file::Add;

    use super::*;

    #[test]
    fn a_directory_that_changed_as_it_was_looked_at_gets_no_stamp() {
        let changed = Timestamp::new(100, 5);
        let stamp = Stamp { device: 1, inode: 2, size: 3, modified: changed, changed };
        let debs: Add = serde_json::from_str(r#"{"deb":["a","b"]}"#).expect("an entry");
        let spec = LayerSpec { add: vec![debs, Add::default()], ..LayerSpec::default() };
        let found = || vec![Found::Nothing, Found::Files(Vec::new(), vec![("one".into(), stamp)])];
        let remembered = |begun| directories(&spec, &found(), begun)[0].clone();
        assert_eq!(remembered(stamp.settles()).stamp, Some(stamp));
        assert_eq!(remembered(stamp.settles()).source, 2, "each package of a list is a source");
        assert_eq!(remembered(stamp.settles() - 1).stamp, None);
    }
}
