//! What `--help` shows.

/// The whole text.
pub(crate) const HELP: &str = "\
Brings a container engine to what a seed says.

Usage: ociseed-loader place --seed SEED [OPTION]...
       ociseed-loader run (--seed DIR | --archives DIR) [OPTION]...
       ociseed-loader status [--run-dir DIR] [--json]

`place` makes images available by links before the engine starts, where its root is empty yet; `run`
brings an engine that runs to what the seed says; `status` says what `place` found in this boot.

What to load:
  --seed SEED            a seed: a directory; for `place` also a device or an image file, LABEL=NAME,
                         PARTLABEL=NAME
  --expect-seed DIGEST   the sha256 that seed.json must have
  --archives DIR         (run) a preseed directory: DIR/<namespace>/<file>.tar
  --take-over            (run) replace foreign records that have one of our names
  --previous-seed SEED   (place) the seed of the other slot
  --trust MODE           (place) verity, sealed or unchecked [default: sealed]

Engine:
  --engine NAME          containerd [default]
  --root DIR             (place) its root [default: what the seed says]
  --address SOCKET       (run) its socket [default: /run/containerd/containerd.sock]
  --wait SECONDS         how long to wait until it answers, or the seed is there [default: 60]

Other:
  --run-dir DIR          where lock file, links and report of this boot lie [default: /run/ociseed]
  --state-dir DIR        (place) what outlives a boot [default: /var/lib/ociseed]
  --json                 the report as JSON on standard output
  -h, --help             this text
  -V, --version          the version

Example:
  ociseed-loader place --seed LABEL=seed
  ociseed-loader run --seed /run/ociseed/media/LABEL=seed

Exit codes: 0 settled or done, 1 internal, 2 usage, 3 seed invalid, not trusted or not there,
4 engine not ready in time, 5 no space, 6 engine or store failed, 7 a background image failed,
8 a critical image failed, 75 another loader is running, 130 and 143 ended by a signal.
";
