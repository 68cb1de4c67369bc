//! `ociseed build`: everything that a spec names, or what the command line names of it.
//!
//! All of it is made in a hidden directory first; what was asked for moves to
//! its place at the end, so a build that fails leaves what was there before.

mod images;
mod plan;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use ociseed_image::{Image, file_suffix};
use ociseed_seed::Seed;
use ociseed_spec::file::{Engine, Spec};
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::{Digest, Key, json};
use ociseed_tree::{Node, Tree, tar};
use rayon::prelude::*;

use crate::args::BuildArgs;
use crate::blobs::Blobs;
use crate::failure::Failure;
use crate::inputs::{Inputs, Place, read_argument};
use crate::output::{OutDir, Stage, write_failure};
use crate::report::{Report, Target};
use crate::scratch::Scratch;
use crate::step::{self, Form};
use images::Made;
use plan::{Plan, TargetName};

/// Runs `ociseed build`.
pub(crate) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let spec = read_spec(&args.spec)?;
    let plan = Plan::of(&spec, &args.targets)?;
    let inputs = Inputs::of_spec(&args.spec, &args.inputs)?;
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(jobs) = args.jobs {
        pool = pool.num_threads(usize::from(jobs));
    }
    let pool = pool.build().map_err(|error| Failure::because("threads", &error))?;
    let there = args.out.exists();
    let out = OutDir::create(&args.out)?;
    let report = pool.install(|| build_into(&out, &spec, &plan, &inputs)).inspect_err(|_| {
        if !there {
            // Made for nothing; only an empty one goes.
            let _ = std::fs::remove_dir(&args.out);
        }
    })?;
    let text =
        if args.json { String::from_utf8_lossy(&report.encode()).into_owned() + "\n" } else { report.text() };
    crate::output::print(&text)
}

fn build_into(out: &OutDir, spec: &Spec, plan: &Plan, inputs: &Inputs) -> Result<Report, Failure> {
    let stage = out.stage()?;
    let report = Build { spec, plan, inputs, stage: &stage }.run()?;
    commit(&stage, out, &report)?;
    Ok(report)
}

fn read_spec(path: &Path) -> Result<Spec, Failure> {
    let bytes = read_argument(path)?;
    let place = format!("spec `{}`", path.display());
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{place}: it is not UTF-8")))?;
    let json = path.extension().is_some_and(|extension| extension == "json");
    let spec = if json { Spec::parse_json(&text) } else { Spec::parse_toml(&text) };
    spec.map_err(|error| Failure::usage(format!("{place}: {error}")).hint(error.hint().map(str::to_owned)))
}

/// Moves what was asked for to its place, the report last.
fn commit(stage: &Stage, out: &OutDir, report: &Report) -> Result<(), Failure> {
    for target in report.targets.values() {
        let paths = [Some(target.path.as_str()), target.metadata.as_deref()];
        for path in paths.into_iter().flatten() {
            let (kind, name) = path.split_once('/').expect("every target lies in the directory of its kind");
            stage.commit(path, &out.below(kind)?, name.as_ref(), true)?;
        }
    }
    let (encoded, name) = (report.encode(), OsStr::new("report.json"));
    stage.out().write_file(name, |writer| {
        writer.write_all(&encoded).map_err(|error| write_failure(&out.shown(name), &error))
    })?;
    stage.commit(name, out, name, true)
}

/// Says where the blob of a layer is that was built.
fn layer_place(dir: &OutDir, name: String) -> Place {
    Place { dir: dir.dir().clone(), path: name.clone().into(), shown: name }
}

struct Build<'a> {
    spec: &'a Spec,
    plan: &'a Plan,
    inputs: &'a Inputs,
    stage: &'a Stage,
}

impl Build<'_> {
    fn run(&self) -> Result<Report, Failure> {
        let mut targets = BTreeMap::new();
        let mut blobs = Blobs::default();
        let layers = self.layers(&mut blobs, &mut targets)?;
        let made = self.images(&layers, &mut blobs, &mut targets)?;
        let images = &made.images;
        for name in &self.plan.targets {
            let target = match name {
                TargetName::Layer(_) | TargetName::Image(_) | TargetName::Index(_) => continue,
                TargetName::Bundle(key) => self.bundle(key, &made, &blobs)?,
                TargetName::Seed(key) => self.seed(key, images, &blobs)?,
                TargetName::Store(key, Engine::Archives) => self.archives(key, images, &blobs)?,
            };
            targets.insert(name.to_string(), target);
        }
        Ok(Report::new(targets))
    }

    /// Writes all layers that are needed; those that nobody asked for go with the stage.
    fn layers(
        &self,
        blobs: &mut Blobs,
        targets: &mut BTreeMap<String, Target>,
    ) -> Result<BTreeMap<Key, LayerMetadata>, Failure> {
        let dir = self.stage.out().below("layer")?;
        let mut layers = BTreeMap::new();
        for keys in plan::rounds(self.spec, &self.plan.layers) {
            let built: Vec<_> = keys.par_iter().map(|key| self.layer(key, &dir)).collect();
            let (built, failures): (Vec<_>, Vec<_>) = built.into_iter().partition(Result::is_ok);
            Failure::join(failures.into_iter().filter_map(Result::err).collect()).map_or(Ok(()), Err)?;
            for (key, (name, metadata)) in keys.into_iter().zip(built.into_iter().flatten()) {
                blobs.add_layer(&metadata, layer_place(&dir, name.clone()));
                let target = TargetName::Layer(key.clone());
                if self.plan.targets.contains(&target) {
                    let target_report = Target {
                        path: format!("layer/{name}"),
                        metadata: Some(format!("layer/{key}.json")),
                        packages: metadata.packages.clone(),
                        digest: Some(metadata.digest),
                        size: metadata.size,
                        ..Target::default()
                    };
                    targets.insert(target.to_string(), target_report);
                }
                layers.insert(key.clone(), metadata);
            }
        }
        Ok(layers)
    }

    fn layer_name(&self, key: &Key) -> String {
        format!("{key}{}", file_suffix(self.spec.layer[key].compression))
    }

    fn layer(&self, key: &Key, dir: &OutDir) -> Result<(String, LayerMetadata), Failure> {
        let spec = &self.spec.layer[key];
        let scratch = Scratch::new(dir.clone());
        let other = |key: &Key, _: &str| Ok(layer_place(dir, self.layer_name(key)));
        let sources = step::layer::Sources { inputs: self.inputs, layer: &other, scratch: &scratch };
        let layer = step::layer::tree(spec, &sources, &format!("layer.{key}"))?;
        let name = self.layer_name(key);
        let metadata = step::layer::write_in(&layer, spec, dir, name.as_ref())?;
        self.write_small("layer", &format!("{key}.json"), &json::encode(&metadata))?;
        Ok((name, metadata))
    }

    fn bundle(&self, key: &Key, made: &Made, blobs: &Blobs) -> Result<Target, Failure> {
        let spec = &self.spec.bundle[key];
        let (place, from) = (format!("bundle.{key}"), made.sources_of(spec));
        let tree = step::bundle::tree(spec, &made.images, &made.indexes, blobs, &from, &place)?;
        self.write_tree("bundle", key.as_str(), &tree, step::bundle::form(spec.format))
    }

    fn seed(&self, key: &Key, images: &BTreeMap<Key, Image>, blobs: &Blobs) -> Result<Target, Failure> {
        let seed = self.make_seed(key, images)?;
        let tree = seed.host_form(|digest, size| blobs.content(digest, size))?;
        let target = self.write_tree("seed", key.as_str(), &tree, Form::Directory)?;
        let lock = Digest::of(&seed.lock().encode());
        Ok(Target { digest: Some(lock), seed_id: Some(seed.lock().seed_id()), ..target })
    }

    fn archives(&self, key: &Key, images: &BTreeMap<Key, Image>, blobs: &Blobs) -> Result<Target, Failure> {
        let seed = self.make_seed(key, images)?;
        let (archives, form) = step::store::archives(&seed, &self.spec.seed[key], blobs)?;
        let target = self.write_tree("store", &format!("{key}.archives"), &archives.tree, form)?;
        Ok(Target { repeated_bytes: Some(archives.repeated_bytes), ..target })
    }

    fn make_seed(&self, key: &Key, images: &BTreeMap<Key, Image>) -> Result<Seed, Failure> {
        step::seed::make(&self.spec.seed[key], &format!("seed.{key}"), |image| Ok(images[image].clone()))
    }

    fn write_small(&self, kind: &str, name: &str, bytes: &[u8]) -> Result<String, Failure> {
        let dir = self.stage.out().below(kind)?;
        dir.write_file(name.as_ref(), |writer| {
            writer.write_all(bytes).map_err(|error| write_failure(&dir.shown(name), &error))
        })?;
        Ok(format!("{kind}/{name}"))
    }

    /// Writes a tree into the stage and measures it.
    fn write_tree(&self, kind: &str, name: &str, tree: &Tree, form: Form) -> Result<Target, Failure> {
        let dir = self.stage.out().below(kind)?;
        match form {
            Form::Directory => {
                step::stage_directory(tree, &dir, name)?;
                let sizes = tree.iter().map(|(_, entry)| match &entry.node {
                    Node::File(content) => content.size(),
                    _ => 0,
                });
                Ok(Target { path: format!("{kind}/{name}"), size: sizes.sum(), ..Target::default() })
            }
            Form::Tar => {
                let name = format!("{name}.tar");
                let shown = dir.shown(&name);
                let digest =
                    dir.write_file(name.as_ref(), |writer| step::write_tar_hashed(tree, &shown, writer))?;
                let size = tar::extents(tree).map(|extent| extent.size()).sum();
                Ok(Target { path: format!("{kind}/{name}"), digest: Some(digest), size, ..Target::default() })
            }
        }
    }
}
