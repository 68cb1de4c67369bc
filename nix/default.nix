# Container images, and what an OS image is stocked with, as plain derivations around one static
# program: no nixpkgs, no shell, nothing from the network.
#
#   ociseed = import ./nix { ociseed = ./path/to/ociseed; };
#   ociseed.layer { name = "app"; add = [ { file = ./server; to = "/usr/bin/server"; } ]; }
#
# Every function makes one derivation, which runs one step of docs/format.md.
# Their arguments are the keys of a spec of the same meaning, so the same image
# has the same digest from here, from `ociseed build` and from Bazel; only where
# a spec names another part of itself, an argument is that part.
{
  # The builder: one static program for `system`, as a path or a derivation
  # whose output is the program itself; that of the release unless said.
  ociseed ? (import ./release.nix { inherit system; }).tool,
  # Where the steps run. It reaches no output: an image says its own platform.
  system ? builtins.currentSystem,
  # Whether outputs are addressed by their content (Nix's experimental feature
  # `ca-derivations`): what is made anew and is the same builds nothing above it.
  ca ? false,
}:

let
  values = import ./values.nix;
  step = import ./step.nix {
    inherit
      ca
      ociseed
      system
      values
      ;
  };
  stored = import ./stored.nix { inherit values; };
  base-of = import ./base.nix { inherit values; };
  closure = import ./closure.nix { inherit values; };
in
rec {
  # A layer: outputs `out` (the blob) and `metadata`.
  layer = import ./layer.nix { inherit closure step values; };
  # Store paths with all that they refer to, as layers, bottom first: by lists, or spread by a policy.
  closureLayers = import ./closure-layers.nix { inherit closurePlan layer values; };
  # Which store paths of a closure share a layer: a file that the next version may be given as `previous`.
  closurePlan = import ./closure-plan.nix { inherit closure step values; };
  # Fails where a closure has what it may not have, or is too large.
  closureCheck = import ./closure-check.nix { inherit closurePlan; };
  # A layer by which a Nix in the image knows the store paths in it.
  closureDatabase = import ./closure-database.nix { inherit layer; };
  # An image record; made from metadata, so no layer's blob is read.
  image = import ./image.nix { inherit base-of step values; };
  # An image that something else made, as it is. What a registry has will come in here, too, a derivation for each blob by
  # its digest; today a layout does that somebody fetched.
  importImage = import ./import-image.nix { inherit image values; };
  # An index record: images for several platforms, or an index that something else made.
  index = import ./index.nix {
    inherit
      base-of
      step
      stored
      values
      ;
  };
  # Images and indexes with names, as an image layout or a tar of one.
  bundle = import ./bundle.nix { inherit step stored values; };
  # Images with names, namespaces and classes for an OS image: outputs `out` (the host form) and `lock`.
  seed = import ./seed.nix { inherit step stored values; };
  # A seed arranged for one engine.
  store = import ./store.nix { inherit step values; };
  # A seed, store, image or layer as a file system, tar or cpio archive: outputs `out` and `metadata`.
  disk = import ./disk.nix { inherit step stored values; };
}
