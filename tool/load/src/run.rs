//! From the seed to the last line.

use crate::exit::Exit;
use crate::failure::Stop;
use crate::report::Report;
use crate::request::{Request, Target};
use crate::{containerd, docker, podman, seed};

/// Brings the engine to what the seed says; everything was printed by then.
pub(crate) fn run(request: &Request) -> Exit {
    let mut report = Report::new(request.json);
    let result = attempt(request, &mut report);
    report.finish(result)
}

fn attempt(request: &Request, report: &mut Report) -> Result<(), Stop> {
    let seed = seed::open(&request.seed)?;
    report.seed(seed.id);
    match &request.target {
        Target::Containerd { socket, namespaces } => {
            if !namespaces.is_empty() {
                seed.check_names()?;
            }
            containerd::load(&seed, socket, namespaces, report)
        }
        Target::Docker { socket } => {
            seed.check_names()?;
            docker::load(&seed, socket, report)
        }
        Target::Podman => {
            seed.check_names()?;
            podman::load(&seed, report)
        }
    }
}
