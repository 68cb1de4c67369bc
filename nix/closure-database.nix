# `closureDatabase`: a layer by which a Nix in the image knows the store paths in it.
{ layer }:

{
  # The layer's name; no byte of the layer depends on it.
  name,
  # The store paths of all layers of the image, a list; with them comes all that they refer to.
  paths,
  # As of `layer`.
  compression ? null,
}:

layer {
  inherit name compression;
  add = [ { nix-database = paths; } ];
}
