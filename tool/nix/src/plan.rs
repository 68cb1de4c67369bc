//! Spreading a closure over layers (docs/format.md, "Layer plan").

use std::collections::{BTreeMap, BTreeSet};

use ociseed_spec::file::PlanPolicy;
use ociseed_spec::{LayerPlan, StorePathName};

use crate::graph::Graph;

/// Makes a plan for the paths of a graph that are in no layer below, with at most so many layers, at least one.
///
/// With an earlier plan, what was together stays together.
pub fn plan(graph: &Graph, policy: PlanPolicy, max_layers: usize, previous: Option<&LayerPlan>) -> LayerPlan {
    let (mut layers, left) = match previous {
        Some(previous) => kept(graph, previous),
        None => (Vec::new(), graph.own().collect()),
    };
    // Where there may be fewer now than there were, the uppermost become one.
    while layers.len() > max_layers {
        let top = layers.pop().expect("more than none");
        layers.last_mut().expect("at least one is allowed").extend(top);
    }
    match max_layers - layers.len() {
        0 => layers.last_mut().expect("as many as allowed, at least one").extend(left.into_iter().cloned()),
        room => layers.extend(match policy {
            PlanPolicy::Popularity => by_popularity(graph, left, room),
            PlanPolicy::Balanced => balanced(graph, &left, room),
        }),
    }
    LayerPlan::new(layers)
}

type Layers = Vec<BTreeSet<StorePathName>>;

/// Puts paths where an earlier plan had them, or their earlier versions; returns layers that have something, and what had no place.
fn kept<'a>(graph: &'a Graph, previous: &LayerPlan) -> (Layers, Vec<&'a StorePathName>) {
    let places = || {
        previous.layers.iter().enumerate().flat_map(|(at, layer)| layer.iter().map(move |name| (at, name)))
    };
    let exact: BTreeMap<&StorePathName, usize> = places().map(|(at, name)| (name, at)).collect();
    // From above, so that the lowest stays.
    let named: BTreeMap<&str, usize> =
        places().map(|(at, name)| (name.name(), at)).collect::<Vec<_>>().into_iter().rev().collect();
    let versions: BTreeMap<String, usize> = places()
        .map(|(at, name)| (name.without_version(), at))
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect();
    let mut layers = vec![BTreeSet::new(); previous.layers.len()];
    let mut left = Vec::new();
    for name in graph.own() {
        let at = exact.get(name).or_else(|| named.get(name.name()));
        match at.or_else(|| versions.get(&name.without_version())) {
            Some(at) => {
                layers[*at].insert(name.clone());
            }
            None => left.push(name),
        }
    }
    layers.retain(|layer| !layer.is_empty());
    (layers, left)
}

/// Gives what most others need a layer of its own; `paths` are in the graph's order.
fn by_popularity(graph: &Graph, mut paths: Vec<&StorePathName>, room: usize) -> Layers {
    let popularity = graph.popularity();
    let one = |name: &StorePathName| BTreeSet::from([name.clone()]);
    let all = |names: Vec<&StorePathName>| names.into_iter().cloned().collect::<BTreeSet<_>>();
    // Stable: of equal ones what others refer to comes first.
    paths.sort_by_key(|name| std::cmp::Reverse(popularity[*name]));
    if paths.len() <= room {
        return paths.into_iter().map(one).collect();
    }
    // What nothing leads to is what somebody works on: with others in one layer each edit would be all of that.
    let tops = paths.split_off(paths.partition_point(|name| popularity[*name] > 0));
    let room_of_others = if tops.is_empty() { room } else { room - 1 };
    if room_of_others == 0 {
        return vec![all([paths, tops].concat())];
    }
    let alone = if paths.len() > room_of_others { room_of_others - 1 } else { paths.len() };
    let rest = paths.split_off(alone);
    let mut layers: Layers = paths.into_iter().map(one).collect();
    layers.extend([rest, tops].into_iter().filter(|layer| !layer.is_empty()).map(all));
    layers
}

/// Cuts paths, which are in the graph's order, into runs of which the largest is as small as can be.
fn balanced(graph: &Graph, paths: &[&StorePathName], room: usize) -> Layers {
    let size = |name: &StorePathName| graph.get(name).expect("of the graph").nar_size;
    let runs = |most: u64| {
        let (mut runs, mut run, mut full) = (Layers::new(), BTreeSet::new(), 0u64);
        for name in paths {
            let size = size(name);
            if !run.is_empty() && full.saturating_add(size) > most {
                runs.push(std::mem::take(&mut run));
                full = 0;
            }
            full = full.saturating_add(size);
            run.insert((*name).clone());
        }
        runs.extend((!run.is_empty()).then_some(run));
        runs
    };
    // One alone is never cut, so below the largest nothing becomes smaller.
    let mut low = paths.iter().map(|name| size(name)).max().unwrap_or_default();
    let mut high = paths.iter().map(|name| size(name)).fold(0, u64::saturating_add);
    while low < high {
        let middle = low.midpoint(high);
        if runs(middle).len() <= room { high = middle } else { low = middle + 1 }
    }
    runs(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::testing::{graph, named};

    fn numbers(plan: &LayerPlan) -> Vec<Vec<usize>> {
        let number = |name: &StorePathName| name.as_str()[..32].parse().expect("a number");
        plan.layers.iter().map(|layer| layer.iter().map(number).collect()).collect()
    }

    fn planned(graph: &Graph, policy: PlanPolicy, max_layers: usize) -> Vec<Vec<usize>> {
        numbers(&plan(graph, policy, max_layers, None))
    }

    fn five() -> Graph {
        graph(&[(1, 10, &[2, 3]), (2, 10, &[3]), (3, 40, &[4]), (4, 10, &[]), (5, 10, &[4])])
    }

    #[test]
    fn what_most_need_lies_lowest() {
        assert_eq!(planned(&five(), PlanPolicy::Popularity, 9), [[4], [3], [2], [1], [5]]);
        // What nothing leads to, 1 and 5, is apart from the rest.
        assert_eq!(planned(&five(), PlanPolicy::Popularity, 3), [vec![4], vec![2, 3], vec![1, 5]]);
        assert_eq!(planned(&five(), PlanPolicy::Popularity, 4), [vec![4], vec![3], vec![2], vec![1, 5]]);
        assert_eq!(planned(&five(), PlanPolicy::Popularity, 2), [vec![2, 3, 4], vec![1, 5]]);
        assert_eq!(planned(&five(), PlanPolicy::Popularity, 1), [[1, 2, 3, 4, 5]]);
    }

    #[test]
    fn layers_of_about_one_size() {
        assert_eq!(planned(&five(), PlanPolicy::Balanced, 2), [vec![3, 4], vec![1, 2, 5]]);
        assert_eq!(planned(&five(), PlanPolicy::Balanced, 3), [vec![4], vec![3], vec![1, 2, 5]]);
        assert_eq!(planned(&five(), PlanPolicy::Balanced, 1), [[1, 2, 3, 4, 5]]);
    }

    #[test]
    fn what_was_together_stays_together() {
        let old = |layers: &[&[(usize, &str)]]| {
            let layer =
                |names: &&[(usize, &str)]| names.iter().map(|(number, name)| named(*number, name)).collect();
            LayerPlan::new(layers.iter().map(layer).collect())
        };
        let graph = five();
        // 3 has another hash now, 2 another version as well, 9 is gone, of the two n004 the one with the hash counts.
        let previous = old(&[
            &[(8, "n003"), (9, "n009")],
            &[(9, "n010")],
            &[(7, "n004"), (7, "n002-1.2")],
            &[(4, "n004"), (6, "n002-1.1")],
        ]);
        let plan = |max_layers| numbers(&plan(&graph, PlanPolicy::Popularity, max_layers, Some(&previous)));
        assert_eq!(plan(9), [[3], [2], [4], [1], [5]]);
        assert_eq!(plan(4), [vec![3], vec![2], vec![4], vec![1, 5]]);
        assert_eq!(plan(3), [vec![3], vec![2], vec![1, 4, 5]]);
        assert_eq!(plan(2), [vec![3], vec![1, 2, 4, 5]]);
    }

    proptest! {
        #[test]
        fn every_path_is_in_one_layer(
            sizes in proptest::collection::vec((0u64..100, any::<u64>()), 1..40),
            max_layers in 1usize..12,
            balanced: bool,
        ) {
            // Each refers to some of those before it.
            let references: Vec<Vec<usize>> = (0..sizes.len())
                .map(|at| (0..at).filter(|below| sizes[at].1 >> (below % 64) & 1 == 1).collect())
                .collect();
            let paths: Vec<_> =
                sizes.iter().enumerate().map(|(at, (size, _))| (at, *size, &*references[at])).collect();
            let graph = graph(&paths);
            let policy = if balanced { PlanPolicy::Balanced } else { PlanPolicy::Popularity };
            let made = plan(&graph, policy, max_layers, None);
            let mut all: Vec<_> = made.layers.iter().flatten().collect();
            all.sort();
            prop_assert_eq!(all, graph.paths().map(|(name, _)| name).collect::<Vec<_>>());
            prop_assert!(made.layers.len() <= max_layers && made.layers.iter().all(|layer| !layer.is_empty()));
            if balanced {
                let largest = |plan: &LayerPlan| {
                    let size = |name: &StorePathName| graph.get(name).expect("there").nar_size;
                    plan.layers.iter().map(|layer| layer.iter().map(size).sum::<u64>()).max().unwrap_or_default()
                };
                // Every other way to cut the same order into as many runs has one that is as large.
                let order: Vec<u64> =
                    graph.own().map(|name| graph.get(name).expect("there").nar_size).collect();
                prop_assert_eq!(largest(&made), least_largest(&order, max_layers));
            }
            // Nothing changed, so everything stays where it is.
            prop_assert_eq!(plan(&graph, policy, max_layers, Some(&made)), made);
        }
    }

    /// The same by trying all, one run after the other.
    fn least_largest(sizes: &[u64], runs: usize) -> u64 {
        let mut best: Vec<u64> = sizes
            .iter()
            .scan(0, |sum, size| {
                *sum += size;
                Some(*sum)
            })
            .collect();
        for _ in 1..runs {
            best = (0..sizes.len())
                .map(|end| {
                    let last = |begin: usize| sizes[begin..=end].iter().sum::<u64>();
                    let cut = (1..=end).map(|begin| best[begin - 1].max(last(begin)));
                    cut.chain([last(0)]).min().expect("one way")
                })
                .collect();
        }
        best.last().copied().unwrap_or_default()
    }
}
