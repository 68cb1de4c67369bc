# Container images, bundles and seeds as plain derivations around one static
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
  # whose output is the program itself.
  ociseed,
  # Where the steps run. It reaches no output: an image says its own platform.
  system ? builtins.currentSystem,
}:

let
  values = import ./values.nix;
  step = import ./step.nix { inherit ociseed system values; };
  stored = import ./stored.nix { inherit values; };
in
{
  # A layer: outputs `out` (the blob) and `metadata`.
  layer = import ./layer.nix { inherit step values; };
  # An image record; made from metadata, so no layer's blob is read.
  image = import ./image.nix { inherit step values; };
  # Images with names, as an image layout or an oci-archive.
  bundle = import ./bundle.nix { inherit step stored values; };
  # Images with names, namespaces and classes for an OS image: outputs `out` (the host form) and `lock`.
  seed = import ./seed.nix { inherit step stored values; };
}
