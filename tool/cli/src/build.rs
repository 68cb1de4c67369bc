//! `ociseed build`: everything that a spec names, or what the command line names of it.
//!
//! What is not there already is made in a hidden directory first; what was
//! asked for moves to its place at the end, so a build that fails leaves what
//! was there before.

mod check;
mod disks;
mod images;
mod layers;
mod made;
mod outputs;
mod own;
mod plan;
mod reason;
mod remember;
mod schedule;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ociseed_seed::Seed;
use ociseed_spec::file::Spec;
use ociseed_spec::lock::Engine;
use ociseed_spec::{Digest, Hasher, Key, shown_path};
use ociseed_tree::{Content, Entry, Extent, Node, Tree, tar};

use crate::args::BuildArgs;
use crate::blobs::Blobs;
use crate::cache::Opened;
use crate::failure::Failure;
use crate::inputs::{Inputs, read_argument};
use crate::output::{OutDir, Stage, write_failure};
use crate::progress::{Progress, StepProgress};
use crate::report::{Report, Target};
use crate::step::{self, Form};
use made::{Done, Made, Turns};
use outputs::Outputs;
use own::Own;
use plan::{Plan, TargetName};
use reason::Reason;
use remember::{How, Remember, StepKey};
use schedule::Mode;

/// How many layers are written at a time: each takes up to 128 MiB (docs/format.md).
const MAX_LAYERS: usize = 8;

/// Runs `ociseed build`.
pub(crate) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let spec = read_spec(&args.spec)?;
    let plan = Plan::of(&spec, &args.targets)?;
    let explained = args.explain.as_deref().map(|name| plan.step(name)).transpose()?;
    let inputs = Inputs::of_spec(&args.spec, &args.inputs, &spec)?;
    let threads = args.jobs.map_or_else(default_threads, usize::from);
    let there = args.out.exists();
    let request =
        Request { args, spec: &spec, plan: &plan, inputs: &inputs, out: &OutDir::create(&args.out)? };
    let built = if args.check { check::build(&request, threads) } else { request.build(threads) };
    let built = built.inspect_err(|_| {
        if !there {
            // Made for nothing; only an empty one goes.
            let _ = std::fs::remove_dir(&args.out);
        }
    })?;
    if let Some(explained) = explained {
        explain(&plan, &explained, &built.reasons);
    }
    for seed in plan.seeds(&spec) {
        step::seed::check_sandbox_image(&spec.seed[seed], &format!("seed.{seed}"));
    }
    let report = &built.report;
    let text =
        if args.json { String::from_utf8_lossy(&report.encode()).into_owned() + "\n" } else { report.text() };
    if !args.quiet {
        crate::output::print(&text)?;
    }
    built.failure.map_or(Ok(()), Err)
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read_spec(path: &Path) -> Result<Spec, Failure> {
    let bytes = read_argument(path)?;
    let place = format!("spec `{}`", shown_path(path));
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{place}: it is not UTF-8")))?;
    let json = path.extension().is_some_and(|extension| extension == "json");
    let spec = if json { Spec::parse_json(&text) } else { Spec::parse_toml(&text) };
    let misnamed = json && !text.trim_start().starts_with('{');
    let of_name =
        || misnamed.then(|| "a spec whose name ends with `.json` is read as JSON, others as TOML".to_owned());
    spec.map_err(|error| {
        let hint = error.hint().map(str::to_owned).or_else(of_name);
        Failure::usage(format!("{place}: {error}")).hint(hint)
    })
}

/// Says why a step and those that it needs ran, or did not.
fn explain(plan: &Plan, step: &TargetName, reasons: &BTreeMap<TargetName, Reason>) {
    use std::io::Write as _;
    for step in plan.below(step) {
        if let Some(reason) = reasons.get(&step) {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "{step}: {reason}");
        }
    }
}

/// What a build is asked for.
struct Request<'a> {
    args: &'a BuildArgs,
    spec: &'a Spec,
    plan: &'a Plan,
    inputs: &'a Inputs,
    out: &'a OutDir,
}

/// What came of it.
struct Built {
    report: Report,
    reasons: BTreeMap<TargetName, Reason>,
    /// What could not be made, when the rest was to be made all the same.
    failure: Option<Failure>,
}

impl Request<'_> {
    /// Builds what is not there; once more where the cache turns out to be damaged.
    fn build(&self, threads: usize) -> Result<Built, Failure> {
        // A build where nothing is to be made makes no stage, which would do it.
        self.out.remove_stale();
        let opened = if self.args.no_cache { None } else { Opened::of(&self.args.cache) };
        let first = self.build_with(opened.as_ref(), threads);
        match (&first, &opened) {
            (Err(_) | Ok(Built { failure: Some(_), .. }), Some(opened))
                if opened.cache.forget_damaged() > 0 =>
            {
                self.build_with(Some(opened), threads)
            }
            _ => first,
        }
    }

    fn build_with(&self, opened: Option<&Opened>, threads: usize) -> Result<Built, Failure> {
        let build = self.make(opened, threads)?;
        build.finish()
    }

    /// Makes everything, in the stage.
    fn make<'a>(&'a self, opened: Option<&'a Opened>, threads: usize) -> Result<Build<'a>, Failure> {
        let mut blobs = Blobs::default();
        images::add_bases(self.spec, self.plan, self.inputs, &mut blobs)?;
        if opened.is_some() {
            blobs.note_stamps();
        }
        let mut build = Build {
            spec: self.spec,
            plan: self.plan,
            inputs: self.inputs,
            out: self.out,
            stage: Mutex::new(None),
            blobs,
            made: Made::default(),
            remember: Remember::new(opened, &self.args.spec)?,
            outputs: Outputs::new(opened, self.out),
            turns: Turns::new(threads.min(MAX_LAYERS)),
            progress: Progress::new(!self.args.quiet),
            threads,
            failure: None,
            own: self.own(opened),
        };
        build.progress.expect_steps(self.plan.steps.len());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Failure::because("threads", &error))?;
        let keep_going = self.args.keep_going;
        let missing = if keep_going { None } else { self.missing() };
        let mode = match (&missing, keep_going) {
            (Some(_), _) => Mode::Check,
            (None, true) => Mode::KeepGoing,
            (None, false) => Mode::Stop,
        };
        let work = |step: &TargetName, checking| if checking { build.check(step) } else { build.step(step) };
        let outcome = pool.install(|| schedule::run(&self.plan.steps, mode, work));
        let left_out = outcome.skipped.intersection(&self.plan.targets).filter(|_| keep_going);
        let left_out =
            left_out.map(|target| Failure::new(format!("{target}: not made, as what it needs was not")));
        let failure = Failure::join(outcome.failures.into_values().chain(left_out).collect());
        match failure {
            Some(failure) if !keep_going => Err(failure),
            failure => {
                missing.map_or(Ok(()), Err)?;
                build.failure = failure;
                Ok(build)
            }
        }
    }

    fn own(&self, opened: Option<&Opened>) -> Vec<Own> {
        let cache = opened.map(|opened| Own::new("the cache", "--cache-dir", opened.path()));
        [Own::new("the output directory", "--out", &self.args.out)].into_iter().chain(cache).collect()
    }

    /// Says what layers need and is not there, before any is made.
    fn missing(&self) -> Option<Failure> {
        let look =
            |key: &Key| step::layer::look(&self.spec.layer[key], self.inputs, &format!("layer.{key}")).err();
        Failure::join(self.plan.layers().filter_map(look).collect())
    }
}

/// Returns how many bytes a file of a tree has; nothing else has any.
fn size_of(entry: &Entry) -> u64 {
    match &entry.node {
        Node::File(content) => content.size(),
        _ => 0,
    }
}

/// A build that runs.
struct Build<'a> {
    spec: &'a Spec,
    plan: &'a Plan,
    inputs: &'a Inputs,
    out: &'a OutDir,
    /// The hidden directory, once something has to be made.
    stage: Mutex<Option<Stage>>,
    blobs: Blobs,
    made: Made,
    remember: Remember<'a>,
    outputs: Outputs<'a>,
    turns: Turns,
    progress: Progress,
    threads: usize,
    failure: Option<Failure>,
    /// What it writes, which no layer may have in it.
    own: Vec<Own>,
}

impl Build<'_> {
    fn step(&self, step: &TargetName) -> Result<(), Failure> {
        let progress = self.progress.step(step.to_string(), 0);
        match step {
            TargetName::Layer(key) => self.layer(key, &progress),
            TargetName::Image(key) => self.image(key),
            TargetName::Index(key) => self.index(key),
            TargetName::Bundle(key) => self.bundle(step, key, &progress),
            TargetName::Seed(key) => self.seed(step, key, &progress),
            TargetName::Store(key, Engine::Archives) => self.archives(step, key, &progress),
            TargetName::Store(key, Engine::Containerd) => self.containerd(step, key, &progress),
            TargetName::Disk(key) => self.disk(step, key, &progress),
        }?;
        progress.done();
        Ok(())
    }

    /// Says what is wrong with a step, without making anything.
    fn check(&self, step: &TargetName) -> Result<(), Failure> {
        match step {
            TargetName::Layer(key) => self.check_layer(key),
            _ => Ok(()),
        }
    }

    /// Returns the hidden directory, making it where there is none yet.
    fn stage(&self) -> Result<OutDir, Failure> {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if stage.is_none() {
            *stage = Some(self.out.stage()?);
        }
        Ok(stage.as_ref().expect("made above").out())
    }

    /// Makes a target unless it is there; tells whether it was.
    fn target(
        &self,
        step: &TargetName,
        key: Option<&StepKey>,
        make: impl FnOnce() -> Result<Target, Failure>,
    ) -> Result<bool, Failure> {
        let name = step.to_string();
        let current = self.outputs.current(&name, key);
        let (staged, report) = match current {
            Some(report) => (false, report),
            None => (true, make()?),
        };
        self.made.add_target(name, Done { report, key: key.map(|key| key.digest), staged });
        Ok(!staged)
    }

    /// Makes a target that nothing else needs, unless it is there.
    fn last(
        &self,
        step: &TargetName,
        key: Option<&StepKey>,
        make: impl FnOnce() -> Result<Target, Failure>,
    ) -> Result<(), Failure> {
        let old = self.remember.memory(step);
        let current = self.target(step, key, make)?;
        self.remember.ran(step, key, if current { How::Current } else { How::Made }, old.as_ref());
        Ok(())
    }

    fn bundle(&self, step: &TargetName, key: &Key, progress: &StepProgress) -> Result<(), Failure> {
        let spec = &self.spec.bundle[key];
        let (images, indexes) = (spec.images.values().cloned(), spec.indexes.values().cloned());
        let step_key = self.output_key(step, spec, images, indexes);
        self.last(step, step_key.as_ref(), || {
            let (images, indexes) = self.parts_of(spec);
            let (place, from) = (step.to_string(), self.sources_of(step));
            let tree = step::bundle::tree(spec, &images, &indexes, &self.blobs, &from, &place)?;
            self.write_tree(step, &tree, step::bundle::form(spec.format), progress)
        })
    }

    fn seed_key(&self, step: &TargetName, key: &Key) -> Option<StepKey> {
        let spec = &self.spec.seed[key];
        self.output_key(step, spec, spec.image.iter().map(|entry| entry.image.clone()), std::iter::empty())
    }

    fn seed(&self, step: &TargetName, key: &Key, progress: &StepProgress) -> Result<(), Failure> {
        let step_key = self.seed_key(step, key);
        self.last(step, step_key.as_ref(), || {
            let seed = self.make_seed(key)?;
            let tree = seed.host_form(|digest, size| self.blobs.content(digest, size))?;
            let target = self.write_tree(step, &tree, Form::Directory, progress)?;
            let lock = Digest::of(&seed.lock().encode());
            Ok(Target { digest: Some(lock), seed_id: Some(seed.lock().seed_id()), ..target })
        })
    }

    fn archives(&self, step: &TargetName, key: &Key, progress: &StepProgress) -> Result<(), Failure> {
        let step_key = self.seed_key(step, key);
        self.last(step, step_key.as_ref(), || {
            let seed = self.make_seed(key)?;
            let (archives, form) = step::store::archives(&seed, &self.spec.seed[key], &self.blobs)?;
            let target = self.write_tree(step, &archives.tree, form, progress)?;
            Ok(Target { repeated_bytes: Some(archives.repeated_bytes), ..target })
        })
    }

    fn containerd(&self, step: &TargetName, key: &Key, progress: &StepProgress) -> Result<(), Failure> {
        let step_key = self.seed_key(step, key);
        self.last(step, step_key.as_ref(), || {
            let tree = step::store::containerd(&self.make_seed(key)?, &self.spec.seed[key]);
            self.write_tree(step, &tree, Form::Tar, progress)
        })
    }

    fn make_seed(&self, key: &Key) -> Result<Seed, Failure> {
        step::seed::make(&self.spec.seed[key], &format!("seed.{key}"), |image| Ok(self.made.image(image)))
    }

    fn write_small(&self, kind: &str, name: &str, bytes: &[u8]) -> Result<String, Failure> {
        let dir = self.stage()?.below(kind)?;
        dir.write_file(name.as_ref(), |writer| {
            writer.write_all(bytes).map_err(|error| write_failure(&dir.shown(name), &error))
        })?;
        Ok(format!("{kind}/{name}"))
    }

    /// Writes a tree into the stage and measures it.
    fn write_tree(
        &self,
        step: &TargetName,
        tree: &Tree,
        form: Form,
        progress: &StepProgress,
    ) -> Result<Target, Failure> {
        let (kind, name) = step.place();
        let dir = self.stage()?.below(kind)?;
        match form {
            Form::Directory => {
                step::stage_directory(tree, &dir, &name, &|content, to, path| self.link(content, to, path))?;
                let size = tree.iter().map(|(_, entry)| size_of(entry)).sum();
                Ok(Target { path: format!("{kind}/{name}"), size, ..Target::default() })
            }
            Form::Tar => {
                let name = format!("{name}.tar");
                let (shown, size) = (dir.shown(&name), tar::extents(tree).map(|extent| extent.size()).sum());
                progress.expect_bytes(size);
                let hasher = dir.write_file(name.as_ref(), |writer| {
                    step::write_bytes(
                        &tar::Form(tree),
                        true,
                        &shown,
                        &|bytes| {
                            progress.advance(bytes);
                            Ok(())
                        },
                        writer,
                    )
                })?;
                let digest = hasher.map(Hasher::finish);
                Ok(Target { path: format!("{kind}/{name}"), digest, size, ..Target::default() })
            }
        }
    }

    /// Puts a file of a directory there without copying it, where it is a blob of the cache; tells whether it did.
    fn link(&self, content: &Content, to: &cap_std::fs::Dir, path: &Path) -> std::io::Result<bool> {
        let [Extent::File(range)] = content.extents() else { return Ok(false) };
        let (Some(cache), Some(digest)) = (self.remember.cache(), range.digest) else { return Ok(false) };
        match cache.blob(&digest, range.size) {
            Some(blob) => cache.place(&blob, &digest, to, path).map(|()| true),
            None => Ok(false),
        }
    }

    /// Moves what was made to its place, the report last, and remembers it.
    fn finish(mut self) -> Result<Built, Failure> {
        let done = self.made.targets();
        let report =
            Report::new(done.iter().map(|(name, done)| (name.clone(), done.report.clone())).collect());
        if done.values().any(|done| done.staged) {
            self.outputs.look_at_stage(self.stage()?.dir(), &done);
        }
        for target in done.values().filter(|done| done.staged).map(|done| &done.report) {
            let paths = [Some(target.path.as_str()), target.metadata.as_deref()];
            for path in paths.into_iter().flatten() {
                let (kind, name) = path.split_once('/').expect("a target lies in the directory of its kind");
                self.commit(path, &self.out.below(kind)?, name.as_ref())?;
            }
        }
        let (encoded, name) = (report.encode(), OsStr::new("report.json"));
        if self.out.dir().read(name).ok().as_ref() != Some(&encoded) {
            self.stage()?.write_file(name, |writer| {
                writer.write_all(&encoded).map_err(|error| write_failure(&self.out.shown(name), &error))
            })?;
            self.commit("report.json", self.out, name)?;
        }
        // With the stage goes what was replaced, and blobs lose names by that: their stamps are taken after it.
        drop(self.stage);
        self.outputs.remember(&done);
        Ok(Built { report, reasons: self.remember.into_reasons(), failure: self.failure })
    }

    fn commit(&self, from: &str, to: &OutDir, name: &OsStr) -> Result<(), Failure> {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.as_ref().expect("what is staged has a stage").commit(from, to, name, true)
    }
}
