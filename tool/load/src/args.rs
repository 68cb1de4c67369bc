//! The command line as typed.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::TypedValueParser as _;
use ociseed_spec::load::LocalEngine;
use ociseed_spec::lock::Namespace;

const AFTER_HELP: &str = "\
Examples:
  ociseed-load --seed out/seed/appliance --engine docker
  ociseed-load --seed out/seed/appliance --engine containerd --namespace default
  bazel run //images:load -- --engine podman

Exit codes:
  0  all images are there
  1  internal error
  2  wrong usage
  3  the seed is invalid, or not there
  4  the engine cannot be reached
  6  the engine or its store failed
  8  at least one image failed

Environment:
  CONTAINERD_ADDRESS  containerd's socket, unless --address says it
  DOCKER_HOST         Docker's socket as unix://PATH, unless --address says it
  RUNFILES_DIR        where the seed of a load file is looked for first

Files:
  NAME.load.json  what to load, where the program is started as NAME; flags win";

/// Brings a local containerd, Docker or podman to what a seed says.
#[derive(Debug, Parser)]
#[command(name = "ociseed-load", version, max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The seed: `seed.json` and its image layout.
    #[arg(long, value_name = "DIR")]
    pub(crate) seed: Option<PathBuf>,
    /// The engine: `containerd`, `docker` or `podman`.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::StringValueParser::new().try_map(|text| text.parse::<LocalEngine>()))]
    pub(crate) engine: Option<LocalEngine>,
    /// The engine's socket; podman has none.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) address: Option<PathBuf>,
    /// A namespace of containerd for all images, in the place of their own; may be repeated.
    #[arg(long = "namespace", value_name = "NAME", value_parser = clap::builder::StringValueParser::new().try_map(|text| text.parse::<Namespace>()))]
    pub(crate) namespaces: Vec<Namespace>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads the command line.
///
/// # Errors
/// Wrong usage, help or version.
pub(crate) fn parse() -> Result<Args, clap::Error> {
    Args::try_parse()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
        let good = "ociseed-load --seed s --engine docker --namespace a --namespace b --json";
        let args = Args::try_parse_from(good.split(' ')).expect("valid");
        assert_eq!((args.engine, args.namespaces.len(), args.json), (Some(LocalEngine::Docker), 2, true));
        for bad in ["--engine Docker", "--namespace a/b", "--seed", "x", "--wait 1"] {
            let words = ["ociseed-load"].into_iter().chain(bad.split(' '));
            assert!(Args::try_parse_from(words).is_err(), "{bad}");
        }
    }
}
