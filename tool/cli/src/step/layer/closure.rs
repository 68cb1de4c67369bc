//! Store paths of Nix, and their database, as entries of a layer.

use std::collections::BTreeSet;

use ociseed_nix::{Graph, Limits, SCHEMA, database};
use ociseed_spec::file::{Closure, Filter, Taken as Chosen};
use ociseed_spec::{FileMode, LayerPlan, Pattern, StorePathName, Timestamp, TreePath};
use ociseed_tree::{Content, Entry, Node, Selection, Stamps, read_path};

use super::find::{Taken, host_failure};
use crate::failure::{Failure, chain};
use crate::inputs::{Directory, Inputs, Place};

/// Finds what an entry takes of a closure, and where it goes; `place` is the entry's name in messages.
pub(super) fn find(
    closure: &Closure,
    to: &TreePath,
    inputs: &Inputs,
    stamps: Stamps,
    place: &str,
) -> Result<Taken, Failure> {
    let names = names(&closure.taken, to, inputs, place)?;
    let store = store(closure, inputs, place)?;
    let mut taken = Taken::new();
    for name in names {
        let shown = format!("{}/{name}", store.shown);
        let found = Place { path: store.path.join(name.as_str()), shown, dir: store.dir.clone() };
        let read = read_path(&found.dir, &found.path, stamps);
        let (entry, below) = read.map_err(|error| host_failure(place, &found, error))?;
        let at = to.join(name.as_str().as_bytes()).map_err(|error| Failure::because(place, &error))?;
        taken.extend(Selection::new(&Filter::default()).take(below, &at));
        taken.push((at, entry));
    }
    taken.iter_mut().for_each(|(_, entry)| as_in_a_store(entry));
    Ok(taken)
}

/// Looks whether what an entry needs is there, without reading it.
pub(super) fn look(closure: &Closure, to: &TreePath, inputs: &Inputs, place: &str) -> Result<(), Failure> {
    names(&closure.taken, to, inputs, place)?;
    let store = store(closure, inputs, place)?;
    store.open_dir().map(drop)
}

fn store(closure: &Closure, inputs: &Inputs, place: &str) -> Result<Place, Failure> {
    match inputs.find_directory(&closure.store, place)? {
        Directory::Host(store) => Ok(store),
        Directory::Listed(_) => {
            let word = &closure.store;
            Err(Failure::usage(format!(
                "{place}: input `{word}` is given file by file, expected a directory"
            )))
        }
    }
}

/// Gives a path the metadata that Nix gives to everything in its store.
fn as_in_a_store(entry: &mut Entry) {
    let mode = match &entry.node {
        Node::Directory { .. } => 0o555,
        Node::File(_) if entry.stat.mode.bits() & 0o100 != 0 => 0o555,
        Node::File(_) => 0o444,
        _ => entry.stat.mode.bits(),
    };
    entry.stat.mode = FileMode::new(mode);
    entry.stat.mtime = Timestamp::new(1, 0);
}

/// Returns the names of the paths that are taken.
fn names(
    chosen: &Chosen,
    to: &TreePath,
    inputs: &Inputs,
    place: &str,
) -> Result<BTreeSet<StorePathName>, Failure> {
    let (graph, part, disallow, max_size) = match chosen {
        Chosen::Paths(paths) => return Ok(paths.iter().cloned().collect()),
        Chosen::Graph { graph, part, disallow, max_size } => (graph, part, disallow, *max_size),
    };
    let graph = read_graph(inputs, graph, place)?;
    if graph.directory() != to.to_string() {
        let directory = graph.directory();
        let failure =
            Failure::usage(format!("{place}: store paths of `{directory}` would be put into `{to}`"));
        return Err(failure.hint(format!("files name them by where they are: say `to = \"{directory}\"`")));
    }
    check(&graph, disallow, max_size, place)?;
    let own: BTreeSet<StorePathName> = graph.own().cloned().collect();
    let Some((plan, part)) = part else { return Ok(own) };
    let plan = read_plan(inputs, plan, place)?;
    let planned: BTreeSet<_> = plan.layers.iter().flatten().cloned().collect();
    if let Some(other) = planned.symmetric_difference(&own).next() {
        let has = if own.contains(other) { "the layer plan lacks" } else { "only the layer plan has" };
        let failure = Failure::new(format!("{place}: {has} `{other}`, so it is of another closure"));
        return Err(failure.hint("`ociseed plan` makes one, with this as its `previous`".to_owned()));
    }
    Ok(plan.layers.into_iter().nth(*part as usize).unwrap_or_default())
}

/// Refuses what a closure may not have; `place` is who asks.
pub(crate) fn check(
    graph: &Graph,
    disallow: &[Pattern],
    max_size: Option<u64>,
    place: &str,
) -> Result<(), Failure> {
    graph.check(Limits { disallow, max_size }).map_err(|refused| {
        let hint =
            "a program may name what it was built with; `nix why-depends --precise` shows in which file";
        Failure::because(place, &refused).hint(hint.to_owned())
    })
}

/// Reads a reference graph; `place` is who asks.
pub(crate) fn read_graph(inputs: &Inputs, word: &str, place: &str) -> Result<Graph, Failure> {
    parse_graph(&inputs.find(word, place)?)
}

fn parse_graph(found: &Place) -> Result<Graph, Failure> {
    Graph::parse(&found.read()?).map_err(|error| found.failure(&error))
}

/// Reads a layer plan; `place` is who asks.
pub(crate) fn read_plan(inputs: &Inputs, word: &str, place: &str) -> Result<LayerPlan, Failure> {
    let found = inputs.find(word, place)?;
    LayerPlan::parse(&found.read()?).map_err(|error| found.failure(&error))
}

/// Makes what a Nix finds the paths of a graph by.
pub(super) fn database_files(found: &Place, place: &str) -> Result<Taken, Failure> {
    let graph = parse_graph(found)?;
    if graph.directory() != "/nix/store" {
        let directory = graph.directory();
        return Err(Failure::new(format!("{place}: the paths are in `{directory}`, expected `/nix/store`")));
    }
    let bytes = database(&graph).map_err(|error| Failure::new(format!("{place}: {}", chain(&error))))?;
    let path = |text: String| TreePath::parse(text.as_bytes()).expect("names are safe");
    let mut files = vec![
        (path("/nix/var/nix/db/db.sqlite".to_owned()), Entry::file(Content::bytes(bytes))),
        (path("/nix/var/nix/db/schema".to_owned()), Entry::file(Content::bytes(SCHEMA.as_bytes()))),
    ];
    files.extend(graph.roots().map(|name| {
        let target = format!("/nix/store/{name}").into_bytes();
        (path(format!("/nix/var/nix/gcroots/ociseed/{name}")), Entry::symlink(target))
    }));
    Ok(files)
}
