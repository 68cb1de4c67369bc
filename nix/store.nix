# `store`: a seed arranged for one engine, as that engine reads it.
{ step, values }:

{
  # The store's name; no byte of the store depends on it.
  name,
  # `"archives"`: a tar for each image, which engines import; or `"containerd"`: its root, with links to the seed's medium
  # form.
  engine,
  # What `seed` made; its `archives` and `containerd` have the options.
  seed,
}:

let
  key = values.key "store: name" name;
  of = values.made "store `${key}`: seed" "seed" seed;
  directory = engine == "archives" && of.table.archives.form or "tar" == "directory";
  # The store `containerd` has no blobs of its own.
  blobs = if engine == "containerd" then [ ] else of.contents.blobs;
  inputs = if engine == "containerd" then of.contents.records else of.contents.inputs;
in
step {
  step = "store";
  name = if directory then key else "${key}.tar";
  inherit inputs;
  params = {
    inherit blobs engine;
    seed = of.table;
  };
}
// {
  ociseed-kind = "store";
  # For a disk of it.
  inherit
    blobs
    engine
    inputs
    ;
  inherit (of) table;
}
