//! `ociseed verify`: hashes everything and names every mismatch.

use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use ociseed_seed::medium::verify_medium;
use ociseed_seed::verify::{Findings, diff_id_of, verify_images, verify_lock};
use ociseed_spec::lock::Lock;
use ociseed_spec::metadata::{DiskMetadata, LayerMetadata};
use ociseed_spec::{Digest, Hasher, json, shown, shown_path};
use ociseed_store::Source;
use ociseed_tree::{decompress, listing, tar};
use serde::Serialize;

use crate::args::VerifyArgs;
use crate::artifact::Artifact;
use crate::failure::{Failure, chain};
use crate::output::print;
use crate::progress::{Progress, StepProgress};
use crate::report::{Report, Target};
use crate::watched::Watched;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Outcome<'a> {
    path: String,
    problems: &'a [String],
    blobs: u64,
    bytes: u64,
}

/// Runs `ociseed verify`.
pub(crate) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let mut findings = Findings::default();
    let progress = Progress::new(!args.quiet);
    let open = if args.follow_links { Artifact::open_following } else { Artifact::open };
    match open(&args.path)? {
        Artifact::Output(report, dir) => verify_output(&report, &dir, &progress, &mut findings),
        artifact => {
            let name = args.path.file_name().map(|name| shown(name.as_encoded_bytes()));
            let step = Arc::new(progress.step(name.unwrap_or_default(), 0));
            verify(artifact, &args.path, &step, &mut findings)?;
        }
    }
    progress.finish();
    let path = shown_path(&args.path);
    let Findings { problems, blobs, bytes } = &findings;
    if args.json {
        let outcome = Outcome { path: path.clone(), problems, blobs: *blobs, bytes: *bytes };
        print(&format!("{}\n", String::from_utf8_lossy(&json::encode(&outcome))))?;
    } else if problems.is_empty() && !args.quiet {
        print(&format!("{path}: good: {blobs} blobs with {bytes} bytes hashed\n"))?;
    }
    let failures = problems.iter().map(|problem| Failure::new(format!("{path}: {problem}")));
    Failure::join(failures.collect()).map_or(Ok(()), Err)
}

fn verify(
    artifact: Artifact,
    path: &Path,
    step: &Arc<StepProgress>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let fail = |error: &std::io::Error| Failure::because(format_args!("`{}`", shown_path(path)), error);
    match artifact {
        Artifact::Layout(layout) => verify_images(&Watched::new(&*layout, step), findings),
        Artifact::Archive(archive) => verify_images(&Watched::new(&archive, step), findings),
        Artifact::Preseed(archives) => {
            for (name, archive) in &archives {
                verify_named(name, &Watched::new(archive, step), findings);
            }
        }
        Artifact::Seed(layout, lock) => {
            verify_images(&Watched::new(&*layout, step), findings);
            match Lock::parse(&lock) {
                Err(error) => findings.problems.push(chain(&error)),
                Ok(parsed) => {
                    // A lock that people reformatted still parses, but has another digest than it should.
                    if parsed.encode() != lock {
                        findings.problems.push("`seed.json` is not in canonical form".to_owned());
                    }
                    verify_lock(&parsed, &*layout, findings);
                    if parsed.medium.is_some() {
                        let text =
                            "its unpacked layers are not checked where it is mounted: verify the disk itself";
                        findings.problems.push(text.to_owned());
                    }
                }
            }
        }
        Artifact::Medium(medium) => {
            verify_medium(&medium, &Watched::new(&*medium, step), findings);
            verify_beside(path, std::fs::File::open(path).map_err(|error| fail(&error))?, findings);
        }
        Artifact::Disk(tree) => {
            // Reads all of it.
            match listing::write(&tree, &mut std::io::sink()) {
                Ok(_) => {}
                Err(error) => findings.problems.push(chain(&error)),
            }
            verify_beside(path, std::fs::File::open(path).map_err(|error| fail(&error))?, findings);
        }
        // Its report could name itself, without an end.
        Artifact::Output(..) => {
            findings.problems.push("an output directory is no target of a build".to_owned())
        }
        Artifact::Tar(mut file) => {
            let walked = decompress(&mut file).and_then(|tar| tar::list(tar, |_| {}));
            if let Err(error) = walked {
                findings.problems.push(error.to_string());
            }
            file.rewind().map_err(|error| fail(&error))?;
            verify_beside(path, file, findings);
        }
        // Reading these checked all there is to check.
        Artifact::Record(_)
        | Artifact::Index(_)
        | Artifact::Metadata(_)
        | Artifact::DiskMetadata(_)
        | Artifact::Bolt(_)
        | Artifact::Lock(..) => {}
    }
    Ok(())
}

fn verify_named(name: &str, source: &dyn Source, findings: &mut Findings) {
    let before = findings.problems.len();
    verify_images(source, findings);
    for problem in &mut findings.problems[before..] {
        *problem = format!("{name}: {problem}");
    }
}

/// Compares a layer blob or a disk with the metadata file that `build` writes beside it.
fn verify_beside(path: &Path, mut file: impl Read + Seek, findings: &mut Findings) {
    let name = path.file_name().and_then(|name| name.to_str());
    let ends = |name: &str| [".tar", ".erofs", ".cpio"].iter().filter_map(|end| name.rfind(end)).max();
    let Some(stem) = name.and_then(|name| Some(&name[..ends(name)?])) else { return };
    let Ok(bytes) = std::fs::read(path.with_file_name(format!("{stem}.json"))) else { return };
    let disk = DiskMetadata::parse(&bytes).map(|metadata| metadata.digest);
    let layer = LayerMetadata::parse(&bytes);
    let Ok(expected) = disk.or(layer.as_ref().map(|metadata| metadata.digest)) else { return };
    match hash(&mut file) {
        Err(error) => findings.problems.push(error.to_string()),
        Ok((digest, size)) => {
            findings.blobs += 1;
            findings.bytes += size;
            expect("digest", &expected, &digest, findings);
        }
    }
    let Ok(metadata) = layer else { return };
    match file.rewind().and_then(|()| diff_id_of(file)) {
        Err(error) => findings.problems.push(error.to_string()),
        Ok(diff_id) => expect("diff id", &metadata.diff_id, &diff_id, findings),
    }
}

fn expect<T: PartialEq + std::fmt::Display>(what: &str, expected: &T, found: &T, findings: &mut Findings) {
    if expected != found {
        findings.problems.push(format!("{what}: expected {expected}, found {found}"));
    }
}

/// Checks every target that a report names.
fn verify_output(report: &Report, dir: &Path, progress: &Progress, findings: &mut Findings) {
    progress.expect_steps(report.targets.len());
    for (name, target) in &report.targets {
        let step = Arc::new(progress.step(name.clone(), 0));
        let before = findings.problems.len();
        let path = dir.join(&target.path);
        match Artifact::open(&path).and_then(|artifact| {
            check_digest(target, &path, &artifact, findings)?;
            verify(artifact, &path, &step, findings)?;
            target.metadata.as_ref().map_or(Ok(()), |metadata| check_metadata(&dir.join(metadata)))
        }) {
            Ok(()) => step.done(),
            Err(failure) => findings.problems.extend(failure.into_messages()),
        }
        for problem in &mut findings.problems[before..] {
            *problem = format!("{name}: {problem}");
        }
    }
}

/// Checks that metadata which a report names is there; whether it fits its blob was checked with the blob.
fn check_metadata(path: &Path) -> Result<(), Failure> {
    match Artifact::open(path)? {
        Artifact::Metadata(_) | Artifact::DiskMetadata(_) => Ok(()),
        _ => Err(Failure::new(format!("`{}` is no metadata file", shown_path(path)))),
    }
}

fn check_digest(
    target: &Target,
    path: &Path,
    artifact: &Artifact,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let Some(expected) = &target.digest else { return Ok(()) };
    let found = match artifact {
        Artifact::Seed(_, lock) => Digest::of(lock),
        Artifact::Record(image) => image.manifest().digest,
        Artifact::Index(index) => index.blob().digest,
        _ => {
            let fail =
                |error: std::io::Error| Failure::because(format_args!("`{}`", shown_path(path)), &error);
            hash(&mut std::fs::File::open(path).map_err(fail)?).map_err(fail)?.0
        }
    };
    expect("digest", expected, &found, findings);
    Ok(())
}

fn hash(file: &mut impl Read) -> std::io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    hasher.read(file)?;
    let size = hasher.size();
    Ok((hasher.finish(), size))
}
