//! What `--help` shows.

/// The whole text.
pub(crate) const HELP: &str = "\
Brings a container engine to what a seed says.

Usage: ociseed-loader place  --seed SEED [OPTION]...
       ociseed-loader run    (--seed SEED | --archives DIR) [OPTION]...
       ociseed-loader plan   (--seed SEED | --archives DIR) [OPTION]...
       ociseed-loader verify (--seed SEED | --archives DIR) [OPTION]...
       ociseed-loader status [OPTION]...
       ociseed-loader settle [--state-dir DIR]
       ociseed-loader reset  [OPTION]...

`place` makes images available by links before the engine starts, where its root is empty yet; `run`
brings an engine that runs to what the seed says, at every boot; `plan` says what `run` would do;
`verify` hashes what is there; `status` says what was done in this boot and what there is; `settle`
notes that the system goes down in good order; `reset` removes from the engine what is ours.

What to load (place, run, plan, verify):
  --seed SEED            a seed: a directory, a device or an image file, LABEL=NAME, PARTLABEL=NAME
  --previous-seed SEED   the seed of the other slot: what came from it goes on working
  --expect-seed DIGEST   the sha256 that seed.json must have
  --trust MODE           verity, sealed or unchecked [default: sealed]
  --archives DIR         (not place) a preseed directory: DIR/<namespace>/<file>.tar
  --class CLASS          (not place) critical or background images only
  --take-over            (run, plan) replace foreign records that have one of our names
  --read-back            (run) hash what the engine has, as after an unclean stop

Engine:
  --engine NAME          containerd [default]
  --root DIR             (place) its root [default: what the seed says]
  --address SOCKET       (not place) its socket [default: /run/containerd/containerd.sock]
  --wait SECONDS         how long to wait until it answers, or the seed is there [default: 60]

Other:
  --run-dir DIR          where lock file, links and reports of this boot lie [default: /run/ociseed]
  --state-dir DIR        what outlives a boot [default: /var/lib/ociseed]
  --json                 the report as JSON on standard output
  -h, --help             this text
  -V, --version          the version

Example:
  ociseed-loader place --seed LABEL=seed
  ociseed-loader run --seed LABEL=seed --class critical

Exit codes: 0 settled or done, 1 internal, 2 usage, 3 seed invalid, not trusted or not there,
4 engine not ready in time, 5 no space, 6 engine or store failed, 7 a background image failed,
8 a critical image failed, 75 another loader is running, 130 and 143 ended by a signal.
";
