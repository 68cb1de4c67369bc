//! What `--help` and the man pages say below the flags.
//!
//! Blocks are set apart by blank lines; the first line of a block is its title. Man pages are made of the same text.

/// Of `ociseed` itself; the man pages of all commands repeat all but the examples.
pub(crate) const OCISEED: &str = "\
Examples:
  ociseed build appliance.toml --out out
  ociseed inspect out/seed/appliance
  ociseed verify out
  ociseed help build

Exit codes:
  0  done
  1  failure; of `diff` also: the two differ
  2  wrong usage: of flags, or a spec or parameter file that is wrong

Environment:
  NO_COLOR        if set, messages have no colours; CLICOLOR=0 does the same
  CLICOLOR_FORCE  if set, messages have colours also where they go to no terminal
  TERM            with `dumb`, neither colours nor bars
  XDG_CACHE_HOME  the cache of `build` is in its directory `ociseed`; else in ~/.cache/ociseed
  TMPDIR          where `inspect` and `diff` keep what has no room in memory, and all what a compressed
                  image archive holds (/tmp unless set)";

pub(crate) const BUILD: &str = "\
Examples:
  ociseed build appliance.toml --out out
  ociseed build appliance.toml --out out seed.appliance store.appliance.archives
  ociseed build hello.toml --out out --input server=target/release/server
  ociseed build hello.toml --json | jq -r '.targets[].digest'";

pub(crate) const INSPECT: &str = "\
Examples:
  ociseed inspect out/seed/appliance
  ociseed inspect out/bundle/web.tar --largest 10
  ociseed inspect out/bundle/all --image docker.io/library/web:1 --files
  ociseed inspect out/layer/site.tar.zst --files --json | sha256sum";

pub(crate) const VERIFY: &str = "\
Examples:
  ociseed verify out
  ociseed verify out/seed/appliance
  ociseed verify web.tar --json | jq '.problems'";

pub(crate) const DIFF: &str = "\
Exit codes:
  0  both are the same
  1  they differ, or something failed
  2  wrong usage

Examples:
  ociseed diff old/seed/appliance out/seed/appliance
  ociseed diff old.tar out/bundle/web.tar --json";

pub(crate) const LAYER: &str = "\
Examples:
  ociseed layer --params layer.json --out site.tar.zst --metadata site.json
  ociseed layer --params layer.json --out site.tar.zst --input public=build/www

A parameter file:
  {\"version\":1,\"inputs\":{\"public\":\"www\"},\"layer\":{\"add\":[{\"dir\":\"public\",\"to\":\"/srv\"}]}}";

pub(crate) const IMAGE: &str = "\
Examples:
  ociseed image --params image.json --out web.json --input site=site.json

A parameter file:
  {\"version\":1,\"image\":{\"layers\":[\"site\"],\"entrypoint\":[\"/srv/run\"]}}";

pub(crate) const INDEX: &str = "\
Examples:
  ociseed index --params index.json --out all.json --input amd64=amd64.json --input arm64=arm64.json

A parameter file:
  {\"version\":1,\"index\":{\"images\":[\"amd64\",\"arm64\"]}}";

pub(crate) const BUNDLE: &str = "\
Examples:
  ociseed bundle --params bundle.json --out web.tar

A parameter file:
  {\"version\":1,\"inputs\":{\"web\":\"web.json\",\"site\":\"site.tar.zst\",\"meta\":\"site.json\"},
   \"bundle\":{\"format\":\"oci-archive\",\"images\":{\"docker.io/library/web:1\":\"web\"}},
   \"blobs\":[{\"layer\":\"site\",\"metadata\":\"meta\"}]}";

pub(crate) const SEED: &str = "\
Examples:
  ociseed seed --params seed.json --out seed
  ociseed seed --params seed.json --metadata lock.json

A parameter file:
  {\"version\":1,\"inputs\":{\"web\":\"web.json\",\"site\":\"site.tar.zst\",\"meta\":\"site.json\"},
   \"seed\":{\"image\":[{\"image\":\"web\",\"name\":\"docker.io/library/web:1\"}]},
   \"blobs\":[{\"layer\":\"site\",\"metadata\":\"meta\"}]}";

pub(crate) const PLAN: &str = "\
Examples:
  ociseed plan --params plan.json --out layers.json --input graph=closure.json

A parameter file:
  {\"version\":1,\"plan\":{\"graph\":\"graph\",\"policy\":\"popularity\",\"max-layers\":20}}";

pub(crate) const STORE: &str = "\
Examples:
  ociseed store --params store.json --out preseed.tar

A parameter file:
  {\"version\":1,\"engine\":\"archives\",\"inputs\":{\"web\":\"web.json\",\"site\":\"site.tar.zst\",\"meta\":\"site.json\"},
   \"seed\":{\"image\":[{\"image\":\"web\",\"name\":\"docker.io/library/web:1\"}]},
   \"blobs\":[{\"layer\":\"site\",\"metadata\":\"meta\"}]}";

pub(crate) const DISK: &str = "\
Examples:
  ociseed disk --params disk.json --out seed.erofs --metadata disk.json

A parameter file:
  {\"version\":1,\"inputs\":{\"web\":\"web.json\",\"site\":\"site.tar.zst\",\"meta\":\"site.json\"},
   \"disk\":{\"medium\":\"erofs\",\"seed\":\"appliance\"},
   \"seed\":{\"image\":[{\"image\":\"web\",\"name\":\"docker.io/library/web:1\"}]},
   \"blobs\":[{\"layer\":\"site\",\"metadata\":\"meta\"}]}";

pub(crate) const COMPLETIONS: &str = "\
Examples:
  source <(ociseed completions bash)
  ociseed completions zsh > ~/.zfunc/_ociseed
  ociseed completions fish > ~/.config/fish/completions/ociseed.fish";

pub(crate) const MAN: &str = "\
Examples:
  ociseed man --out ~/.local/share/man/man1
  ociseed man --out man && man -l man/ociseed-build.1";

pub(super) const CACHE: &str = "\
Examples:
  ociseed cache status
  ociseed cache gc --max-size 20G";
