//! The command line as typed.

pub(crate) mod help;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args as ClapArgs, Parser, Subcommand};

/// Stocks an OS image with container images before it ever boots.
#[derive(Debug, Parser)]
#[command(name = "ociseed", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = help::OCISEED)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build what a spec names.
    Build(BuildArgs),
    /// Show what is in a layer, image, bundle, seed, preseed directory or disk.
    Inspect(InspectArgs),
    /// Hash everything in a layer, image, bundle, seed, preseed directory, disk or output directory.
    Verify(VerifyArgs),
    /// Show what changed between two layers, images, bundles, seeds or output directories.
    Diff(DiffArgs),
    /// Build one layer (for build systems).
    #[command(after_help = help::LAYER)]
    Layer(LayerArgs),
    /// Make one image record from layer metadata (for build systems).
    #[command(after_help = help::IMAGE)]
    Image(OutOnlyArgs),
    /// Make one index record from image records (for build systems).
    #[command(after_help = help::INDEX)]
    Index(OutOnlyArgs),
    /// Write images as a layout or an archive (for build systems).
    #[command(after_help = help::BUNDLE)]
    Bundle(BundleArgs),
    /// Write the host form of a seed, or its lock alone (for build systems).
    #[command(after_help = help::SEED)]
    Seed(SeedArgs),
    /// Arrange a seed for one engine (for build systems).
    #[command(after_help = help::STORE)]
    Store(OutOnlyArgs),
    /// Write a seed, layer, image or store as a file system or archive (for build systems).
    #[command(after_help = help::DISK)]
    Disk(StepArgs),
    /// Spread the store paths of a closure of Nix over layers (for build systems).
    #[command(after_help = help::PLAN)]
    Plan(OutOnlyArgs),
    /// Look at the cache of `build`, or make it smaller.
    Cache(CacheArgs),
    /// Print a script that completes commands and flags in a shell.
    Completions(CompletionsArgs),
    /// Write a man page for each command.
    Man(ManArgs),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = help::BUILD)]
pub(crate) struct BuildArgs {
    /// The spec: TOML, or JSON where the name ends with `.json`.
    #[arg(value_name = "SPEC")]
    pub(crate) spec: PathBuf,
    /// What to build: `layer.NAME`, `image.NAME`, `index.NAME`, `bundle.NAME`, `seed.NAME`, `store.NAME.ENGINE`, `disk.NAME`; everything unless named.
    #[arg(value_name = "TARGET")]
    pub(crate) targets: Vec<String>,
    /// The directory to write to.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    /// How many threads work at once; it never changes the output.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    #[command(flatten)]
    pub(crate) cache: CacheDirArgs,
    /// Build everything anew, and remember nothing.
    #[arg(long, conflicts_with = "cache_dir")]
    pub(crate) no_cache: bool,
    /// Build everything twice without the cache, and fail where the two differ.
    #[arg(long)]
    pub(crate) check: bool,
    /// After a failure, go on with what does not need what failed.
    #[arg(long, short)]
    pub(crate) keep_going: bool,
    /// Say why TARGET, and what it is made of, had to be built or not.
    #[arg(long, value_name = "TARGET")]
    pub(crate) explain: Option<String>,
    /// Print the report as JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print errors alone: no bars and no report.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CacheDirArgs {
    /// Where the cache is; `$XDG_CACHE_HOME/ociseed` or `~/.cache/ociseed` unless said.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) cache_dir: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = help::CACHE)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
    #[command(flatten)]
    pub(crate) dir: CacheDirArgs,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Print where the cache is.
    Path,
    /// Show how much is in the cache.
    Status,
    /// Remove what was not used for longest.
    Gc {
        /// How much may stay: bytes, or with `K`, `M`, `G` or `T`.
        #[arg(long, value_name = "SIZE", value_parser = crate::cache::parse_size)]
        max_size: u64,
    },
}

#[derive(Debug, ClapArgs)]
#[command(after_help = help::VERIFY)]
pub(crate) struct VerifyArgs {
    /// What to look at; its kind is found out.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Read the files of a directory wherever links lead, as build systems lay them out.
    #[arg(long)]
    pub(crate) follow_links: bool,
    /// Print errors alone: no bars, and nothing when all is well.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = help::INSPECT)]
pub(crate) struct InspectArgs {
    /// What to look at; its kind is found out.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Show every path of the layer, or of the image's file system, with all of its metadata.
    #[arg(long)]
    pub(crate) files: bool,
    /// Show the N largest files, and which layer they are in.
    #[arg(long, value_name = "N", conflicts_with = "files")]
    pub(crate) largest: Option<usize>,
    /// Look at this image alone: a name or a manifest's digest.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Print JSON instead of text; with `--files` the canonical listing, whose sha256 is the tree digest.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = help::DIFF)]
pub(crate) struct DiffArgs {
    /// The one.
    #[arg(value_name = "A")]
    pub(crate) first: PathBuf,
    /// The other, of the same kind: images are compared with images, layers with layers.
    #[arg(value_name = "B")]
    pub(crate) second: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct StepArgs {
    #[command(flatten)]
    pub(crate) step: OutOnlyArgs,
    /// Where to write the metadata of what is made.
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata: Option<PathBuf>,
}

/// The parameters of a step.
#[derive(Debug, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct ParamsArgs {
    /// The parameter file (docs/format.md, "Steps").
    #[arg(long = "params", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What would be in the parameter file.
    #[arg(long = "params-json", value_name = "TEXT")]
    pub(crate) text: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SeedArgs {
    #[command(flatten)]
    pub(crate) params: ParamsArgs,
    /// The directory to write.
    #[arg(long, value_name = "DIR", required_unless_present = "metadata")]
    pub(crate) out: Option<PathBuf>,
    /// Where to write the lock alone.
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) links: LinkArgs,
    #[command(flatten)]
    pub(crate) inputs: StepInputArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BundleArgs {
    #[command(flatten)]
    pub(crate) step: OutOnlyArgs,
    #[command(flatten)]
    pub(crate) links: LinkArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LayerArgs {
    #[command(flatten)]
    pub(crate) step: StepArgs,
    /// Layer metadata that the layer must have.
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
}

/// How blobs get into a directory.
#[derive(Debug, ClapArgs)]
pub(crate) struct LinkArgs {
    /// Make links to the blobs of layers and layouts where they were given, by absolute paths, instead of copying them.
    #[arg(long)]
    pub(crate) link_blobs: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OutOnlyArgs {
    #[command(flatten)]
    pub(crate) params: ParamsArgs,
    /// What to write.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) inputs: StepInputArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = help::COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = help::MAN)]
pub(crate) struct ManArgs {
    /// The directory to write to; it is made where it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InputArgs {
    /// Where an input is on this machine; may be given many times.
    #[arg(long = "input", value_name = "NAME=PATH", value_parser = OsStringValueParser::new().try_map(named_path))]
    pub(crate) named: Vec<(String, PathBuf)>,
}

/// Inputs of a step, which build systems name.
#[derive(Debug, ClapArgs)]
pub(crate) struct StepInputArgs {
    #[command(flatten)]
    pub(crate) named: InputArgs,
    /// A directory of which each file is given by `--input-file`; may be given many times.
    #[arg(long = "input-dir", value_name = "NAME")]
    pub(crate) directories: Vec<String>,
    /// Which file is at PATH in the directory NAME; may be given many times.
    #[arg(long = "input-file", value_names = ["NAME/PATH", "FILE"], num_args = 2)]
    pub(crate) files: Vec<OsString>,
}

/// Splits at the first `=`; what is behind it may be any bytes, as paths may.
fn named_path(text: OsString) -> Result<(String, PathBuf), String> {
    let bytes = text.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=').unwrap_or(0);
    let (name, path) = (&bytes[..equals], &bytes[bytes.len().min(equals + 1)..]);
    match str::from_utf8(name) {
        Ok(name) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), OsStr::from_bytes(path).into()))
        }
        _ => Err("expected NAME=PATH: the name that the spec uses, and where that is".to_owned()),
    }
}
