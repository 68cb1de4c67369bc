//! What the command line, the load file and the environment mean together.

use std::env;
use std::path::PathBuf;

use ociseed_spec::load::LocalEngine;
use ociseed_spec::lock::Namespace;
use ociseed_spec::shown_path;

use crate::args::Args;
use crate::exit::Exit;
use crate::failure::Stop;
use crate::launch;

/// Where containerd's socket is unless somebody says otherwise.
const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Where Docker's is.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Request {
    /// The seed's directory.
    pub(crate) seed: PathBuf,
    /// Where its images go.
    pub(crate) target: Target,
    /// Whether the report is printed as JSON.
    pub(crate) json: bool,
}

/// An engine, and where it is.
#[derive(Debug)]
pub(crate) enum Target {
    /// containerd.
    Containerd {
        /// Its socket.
        socket: PathBuf,
        /// The namespaces for all images; none means each image's own.
        namespaces: Vec<Namespace>,
    },
    /// Docker.
    Docker {
        /// Its socket.
        socket: PathBuf,
    },
    /// podman, as `PATH` has it.
    Podman,
}

/// Works out what is to be done.
///
/// # Errors
/// What was said does not suffice, or contradicts itself.
pub(crate) fn request(args: Args) -> Result<Request, Stop> {
    let launch = launch::find()?;
    let of_file = launch.as_ref().map(|launch| &launch.file);
    let usage = |text: &str| Stop::new(Exit::Usage, text);
    let help = "`ociseed-load --help` lists the flags";
    let Some(engine) = args.engine.or_else(|| of_file.and_then(|file| file.engine)) else {
        return Err(
            usage("no engine: say `--engine containerd`, `--engine docker` or `--engine podman`").hint(help)
        );
    };
    let namespaces = match (args.namespaces.is_empty(), engine) {
        (false, LocalEngine::Containerd) => args.namespaces,
        (false, _) => return Err(usage("`--namespace` is for containerd alone").hint(help)),
        (true, _) => of_file.map(|file| file.namespaces.clone()).unwrap_or_default(),
    };
    let target = match engine {
        LocalEngine::Containerd => Target::Containerd { socket: containerd_socket(args.address), namespaces },
        LocalEngine::Docker => Target::Docker { socket: docker_socket(args.address)? },
        LocalEngine::Podman if args.address.is_some() => {
            return Err(usage("`--address` is not for podman, which has no daemon").hint(help));
        }
        LocalEngine::Podman => Target::Podman,
    };
    let seed = match (args.seed, launch) {
        (Some(seed), _) => seed,
        (None, Some(launch)) => launch.seed()?,
        (None, None) => return Err(usage("no seed: say `--seed DIR`").hint(help)),
    };
    Ok(Request { seed, target, json: args.json })
}

fn containerd_socket(flag: Option<PathBuf>) -> PathBuf {
    let variable = || env::var_os("CONTAINERD_ADDRESS").filter(|value| !value.is_empty());
    let address = flag.or_else(|| variable().map(PathBuf::from));
    address.unwrap_or_else(|| CONTAINERD_SOCKET.into())
}

fn docker_socket(flag: Option<PathBuf>) -> Result<PathBuf, Stop> {
    if let Some(flag) = flag {
        return Ok(flag);
    }
    match env::var_os("DOCKER_HOST").filter(|value| !value.is_empty()) {
        None => Ok(DOCKER_SOCKET.into()),
        Some(host) => match host.to_str().and_then(|host| host.strip_prefix("unix://")) {
            Some(path) => Ok(path.into()),
            None => {
                let host = PathBuf::from(host);
                let text = format!("`DOCKER_HOST`: expected `unix://PATH`, found `{}`", shown_path(&host));
                Err(Stop::new(Exit::Usage, text)
                    .hint("only a Docker on this machine can be loaded; `--address` says its socket"))
            }
        },
    }
}
