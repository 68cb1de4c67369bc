//! The files of a layer or of an image's file system.

use std::io::{self, BufWriter, Write as _};

use ociseed_spec::{Digest, json, shown_path};
use ociseed_tree::listing::{self, escape};
use ociseed_tree::{Entry, Node, ReadError, Tree};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::artifact::Artifact;
use crate::failure::{Failure, chain};
use crate::file_systems::{self, FoundImage};
use crate::output::print;
use crate::scratch::Scratch;

/// Prints every path: the canonical listing, or a line for people.
pub(super) fn list(artifact: &Artifact, args: &InspectArgs) -> Result<(), Failure> {
    let scratch = Scratch::temporary()?;
    let tree = match own(artifact, args, &scratch)? {
        Some(tree) => tree,
        None => {
            let images = file_systems::images(artifact)?.unwrap_or_default();
            let image = choose(images, args)?;
            image.file_system(&scratch).ok_or_else(|| no_files(args, artifact))??
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match args.json {
        true => listing::write(&tree, &mut out).map(drop),
        false => tree.iter().try_for_each(|(path, entry)| {
            writeln!(out, "{}", text(&format!("/{}", escape(path.as_bytes())), entry))
                .map_err(ReadError::Write)
        }),
    };
    match written.and_then(|()| out.flush().map_err(ReadError::Write)) {
        // A reader that has seen enough is no failure.
        Err(ReadError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::new(chain(&error))),
    }
}

/// Reads the files of what has some by itself, unless those of an image in it are wanted.
fn own(artifact: &Artifact, args: &InspectArgs, scratch: &Scratch) -> Result<Option<Tree>, Failure> {
    match args.image {
        Some(_) if matches!(artifact, Artifact::Medium(_)) => Ok(None),
        _ => file_systems::own(artifact, &args.path, scratch),
    }
}

fn text(path: &str, entry: &Entry) -> String {
    let stat = &entry.stat;
    let detail = match &entry.node {
        Node::Symlink(target) => format!(" -> {}", escape(target)),
        Node::Link(first) => format!(" = /{}", escape(first.as_bytes())),
        Node::Device(device) => format!(" {device}"),
        Node::Directory { opaque: true } => " (opaque)".to_owned(),
        _ => String::new(),
    };
    let size = match &entry.node {
        Node::File(content) => content.size(),
        _ => 0,
    };
    let xattrs: Vec<_> = stat.xattrs().keys().map(ToString::to_string).collect();
    let xattrs = if xattrs.is_empty() { String::new() } else { format!(" [{}]", xattrs.join(" ")) };
    let (kind, owner) = (listing::kind(&entry.node), stat.owner.to_string());
    format!("{} {kind:9} {owner:>9} {size:>12} {} {path}{detail}{xattrs}", stat.mode, stat.mtime)
}

/// Finds the one image that is meant.
fn choose<'a>(images: Vec<FoundImage<'a>>, args: &InspectArgs) -> Result<FoundImage<'a>, Failure> {
    let labels: Vec<_> = images.iter().flat_map(FoundImage::labels).collect();
    let wanted = |image: &FoundImage<'_>| match &args.image {
        None => true,
        Some(wanted) => image.names.contains(wanted) || image.image.manifest().digest.to_string() == *wanted,
    };
    let mut chosen: Vec<_> = images.into_iter().filter(wanted).collect();
    // In a preseed directory one image may be in several archives.
    let same: std::collections::BTreeSet<Digest> =
        chosen.iter().map(|image| image.image.manifest().digest).collect();
    if same.len() == 1 {
        return Ok(chosen.swap_remove(0));
    }
    let message = format!("`{}`: expected one image, found {}", shown_path(&args.path), chosen.len());
    let hint = if labels.is_empty() {
        "it holds none".to_owned()
    } else {
        format!("choose with `--image`: {}", labels.join("; "))
    };
    Err(Failure::usage(message).hint(hint))
}

fn no_files(args: &InspectArgs, artifact: &Artifact) -> Failure {
    Failure::usage(format!("`{}` is {}, which holds no files", shown_path(&args.path), artifact.kind()))
}

/// A large file.
#[derive(Debug, Serialize)]
struct Large {
    size: u64,
    path: String,
    /// The layer that it is in, from 0 at the bottom; none of a layer itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<usize>,
}

/// Prints the largest files.
pub(super) fn largest(artifact: &Artifact, args: &InspectArgs, count: usize) -> Result<(), Failure> {
    let scratch = Scratch::temporary()?;
    let mut found = Vec::new();
    match own(artifact, args, &scratch)? {
        Some(tree) => collect(&tree, None, &mut found),
        None => {
            let images = file_systems::images(artifact)?.unwrap_or_default();
            let image = choose(images, args)?;
            for (index, layer) in image.image.layers().iter().enumerate() {
                let tree = image.layer(&layer.blob, &scratch).ok_or_else(|| no_files(args, artifact))??;
                collect(&tree, Some(index), &mut found);
            }
        }
    }
    found.sort_by(|one, two| (two.size, &one.path, one.layer).cmp(&(one.size, &two.path, two.layer)));
    found.truncate(count);
    if args.json {
        return print(&format!("{}\n", String::from_utf8_lossy(&json::encode(&found))));
    }
    let line = |large: &Large| {
        let layer = large.layer.map(|layer| format!("  layer {layer}")).unwrap_or_default();
        format!("{:>12}{layer}  {}\n", large.size, large.path)
    };
    print(&found.iter().map(line).collect::<String>())
}

fn collect(tree: &Tree, layer: Option<usize>, found: &mut Vec<Large>) {
    for (path, entry) in tree {
        if let Node::File(content) = &entry.node {
            found.push(Large { size: content.size(), path: format!("/{}", escape(path.as_bytes())), layer });
        }
    }
}
