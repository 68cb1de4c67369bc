//! The step `plan`: from a reference graph to which of its store paths share a layer.

use ociseed_spec::json;
use ociseed_spec::params::PlanParams;

use crate::args::OutOnlyArgs;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::step::layer::{check, read_graph, read_plan};
use crate::step::read_params;

/// Runs `ociseed plan`.
pub(crate) fn run(args: &OutOnlyArgs) -> Result<(), Failure> {
    let params = read_params(&args.params, PlanParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.inputs, &params)?;
    let spec = &params.plan;
    if let Some(problem) = spec.problem() {
        return Err(Failure::usage(format!("`plan`: {problem}")));
    }
    let graph = read_graph(&inputs, &spec.graph, "`plan.graph`")?;
    check(&graph, &spec.disallow, spec.max_size, "`plan`")?;
    let previous = match &spec.previous {
        Some(word) => Some(read_plan(&inputs, word, "`plan.previous`")?),
        None => None,
    };
    let plan = ociseed_nix::plan(&graph, spec.policy, spec.max_layers as usize, previous.as_ref());
    crate::output::write_document(&args.out, &json::encode(&plan))
}
