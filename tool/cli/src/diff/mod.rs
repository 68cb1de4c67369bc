//! `ociseed diff`: what changed between two things, by document, by layer and by file.

mod documents;
mod files;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use ociseed_spec::{json, shown_path};
use serde::Serialize;
use serde_json::Value;

use crate::args::DiffArgs;
use crate::artifact::Artifact;
use crate::failure::Failure;
use crate::file_systems::{self, FoundImage};
use crate::output::print;
use crate::scratch::Scratch;
use documents::{ValueChange, compare_values};
use files::{FileChange, compare_trees};

/// What changed of one part: an image, a layer, a document or a target.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Part {
    /// What it is called; empty where there is only one thing on either side.
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    /// Whether it is on one side only.
    #[serde(skip_serializing_if = "Option::is_none")]
    only: Option<Side>,
    /// Documents, by path of keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<ValueChange>,
    /// Paths of the file system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Side {
    First,
    Second,
}

impl Part {
    fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    fn only(name: impl Into<String>, side: Side) -> Self {
        Self { only: Some(side), ..Self::named(name) }
    }

    fn is_empty(&self) -> bool {
        self.only.is_none() && self.values.is_empty() && self.files.is_empty()
    }

    fn text(&self, text: &mut String) {
        let name = if self.name.is_empty() { "" } else { &self.name };
        match self.only {
            Some(Side::First) => drop(writeln!(text, "- {name}")),
            Some(Side::Second) => drop(writeln!(text, "+ {name}")),
            None if !name.is_empty() => drop(writeln!(text, "{name}")),
            None => {}
        }
        let indent = if self.name.is_empty() { "" } else { "  " };
        for change in &self.values {
            let _ = writeln!(text, "{indent}{change}");
        }
        for change in &self.files {
            let _ = writeln!(text, "{indent}{change}");
        }
    }
}

/// Runs `ociseed diff`: success where both are the same.
pub(crate) fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    let scratch = Scratch::temporary()?;
    let parts = compare(&args.first, &args.second, &scratch)?;
    if args.json {
        print(&format!("{}\n", String::from_utf8_lossy(&json::encode(&parts))))?;
    } else {
        let mut text = String::new();
        parts.iter().for_each(|part| part.text(&mut text));
        print(&text)?;
    }
    Ok(if parts.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare(first: &Path, second: &Path, scratch: &Scratch) -> Result<Vec<Part>, Failure> {
    let (one, two) = (Artifact::open(first)?, Artifact::open(second)?);
    let mut parts = match (&one, &two) {
        (Artifact::Output(one, in_first), Artifact::Output(two, in_second)) => {
            let paths = |report: &crate::report::Report, dir: &Path| -> BTreeMap<String, _> {
                report.targets.iter().map(|(name, target)| (name.clone(), dir.join(&target.path))).collect()
            };
            let mut parts = Vec::new();
            for (name, pair) in pairs(paths(one, in_first), paths(two, in_second)) {
                match pair {
                    Pair::Only(side) => parts.push(Part::only(name, side)),
                    Pair::Both(one, two) => {
                        let found = compare(&one, &two, scratch)?;
                        parts.extend(found.into_iter().map(|part| below(&name, part)));
                    }
                }
            }
            parts
        }
        (Artifact::Tar(_) | Artifact::Disk(_), Artifact::Tar(_) | Artifact::Disk(_)) => {
            let read = |artifact: &Artifact, path: &Path| {
                Ok(file_systems::own(artifact, path, scratch)?.expect("both have files"))
            };
            vec![Part { files: compare_trees(read(&one, first)?, read(&two, second)?)?, ..Part::default() }]
        }
        (Artifact::DiskMetadata(one), Artifact::DiskMetadata(two)) => {
            vec![Part { values: compare_values(&value(one), &value(two)), ..Part::default() }]
        }
        (Artifact::Metadata(one), Artifact::Metadata(two)) => {
            vec![Part { values: compare_values(&value(one), &value(two)), ..Part::default() }]
        }
        _ => match (file_systems::images(&one)?, file_systems::images(&two)?) {
            (Some(one), Some(two)) => compare_images(&one, &two, scratch)?,
            _ => {
                let shown = |path: &Path, artifact: &Artifact| {
                    format!("`{}` is {}", shown_path(path), artifact.kind())
                };
                let both = format!("{} and {}", shown(first, &one), shown(second, &two));
                return Err(Failure::usage(format!("{both}: they cannot be compared")));
            }
        },
    };
    parts.extend(compare_locks(&one, &two));
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}

fn below(name: &str, part: Part) -> Part {
    let inner = if part.name.is_empty() { String::new() } else { format!(": {}", part.name) };
    Part { name: format!("{name}{inner}"), ..part }
}

fn value(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("our documents are JSON")
}

/// What a lock says of images beside what the images say themselves.
fn compare_locks(one: &Artifact, two: &Artifact) -> Vec<Part> {
    let entries = |artifact: &Artifact| -> BTreeMap<String, Value> {
        let lock = artifact.lock();
        let images = lock.into_iter().flat_map(|lock| lock.content.images);
        images
            .flat_map(|image| {
                let said = serde_json::json!({
                    "class": value(&image.class), "pin": image.pin, "namespaces": value(&image.namespaces),
                });
                image.names.iter().map(|name| (name.to_string(), said.clone())).collect::<Vec<_>>()
            })
            .collect()
    };
    let both = pairs(entries(one), entries(two)).into_iter();
    both.filter_map(|(name, pair)| match pair {
        Pair::Both(one, two) => Some(Part { values: compare_values(&one, &two), ..Part::named(name) }),
        Pair::Only(_) => None,
    })
    .collect()
}

fn compare_images(
    one: &[FoundImage<'_>],
    two: &[FoundImage<'_>],
    scratch: &Scratch,
) -> Result<Vec<Part>, Failure> {
    if let ([one], [two]) = (one, two) {
        // Two single images are compared whatever they are called.
        let names = |found: &FoundImage<'_>| serde_json::json!({ "names": found.names });
        let mut part = compare_image(one, two, scratch)?;
        part.values.extend(compare_values(&names(one), &names(two)));
        return Ok(vec![part]);
    }
    let (mut parts, mut compared) = (Vec::new(), BTreeMap::new());
    for (name, pair) in pairs(by_name(one), by_name(two)) {
        match pair {
            Pair::Only(side) => parts.push(Part::only(name, side)),
            Pair::Both(one, two) => {
                let digests = [one, two].map(|found| found.image.manifest().digest);
                let (names, _) = compared.entry(digests).or_insert((Vec::new(), (one, two)));
                names.push(name);
            }
        }
    }
    for (names, (one, two)) in compared.into_values() {
        parts.push(Part { name: names.join(", "), ..compare_image(one, two, scratch)? });
    }
    parts.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(parts)
}

/// Finds images by name and platform; one of several names is there several times.
fn by_name<'a, 'b>(images: &'a [FoundImage<'b>]) -> BTreeMap<String, &'a FoundImage<'b>> {
    images.iter().flat_map(|image| image.labels().into_iter().map(move |label| (label, image))).collect()
}

/// Compares documents, and file systems where the layers differ.
fn compare_image(one: &FoundImage<'_>, two: &FoundImage<'_>, scratch: &Scratch) -> Result<Part, Failure> {
    let documents = |found: &FoundImage<'_>| {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let record = found.image.record();
        serde_json::json!({
            "digest": found.image.manifest().digest.to_string(),
            "manifest": parse(&record.manifest),
            "config": parse(&record.config),
        })
    };
    let values = compare_values(&documents(one), &documents(two));
    let diff_ids = |found: &FoundImage<'_>| -> Vec<_> {
        found.image.layers().iter().map(|layer| layer.diff_id).collect()
    };
    let files = match (one.file_system(scratch), two.file_system(scratch)) {
        _ if diff_ids(one) == diff_ids(two) => Vec::new(),
        (Some(one), Some(two)) => compare_trees(one?, two?)?,
        // A record has no layers: that they differ was said of the documents.
        _ => Vec::new(),
    };
    Ok(Part { values, files, ..Part::default() })
}

enum Pair<T> {
    Only(Side),
    Both(T, T),
}

/// Brings together what has one name, sorted.
fn pairs<T>(mut one: BTreeMap<String, T>, two: BTreeMap<String, T>) -> BTreeMap<String, Pair<T>> {
    let mut pairs: BTreeMap<String, Pair<T>> = BTreeMap::new();
    for (name, second) in two {
        let pair = match one.remove(&name) {
            Some(first) => Pair::Both(first, second),
            None => Pair::Only(Side::Second),
        };
        pairs.insert(name, pair);
    }
    pairs.extend(one.into_keys().map(|name| (name, Pair::Only(Side::First))));
    pairs
}
