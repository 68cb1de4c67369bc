# `image`: layers over a base or over nothing, and how they run, as an image record.
{ step, values }:

{
  # The image's name; no byte of the image depends on it.
  name,
  # The image below: `{ layout = DIR; reference = NAME; }`, a path or a
  # derivation that is an OCI image layout and the name or digest in its index.
  base ? null,
  # `os/architecture[/variant]`; the base's, or linux/amd64, unless said.
  platform ? null,
  # What `layer` made, bottom first.
  layers ? [ ],
  # The program with its fixed arguments; it drops the base's `cmd`.
  entrypoint ? null,
  # Arguments that a user may replace.
  cmd ? null,
  # Environment variables and labels: sets; each name replaces the base's.
  env ? null,
  labels ? null,
  # User and optional group, as `33:33`.
  user ? null,
  # Where the program starts.
  working-dir ? null,
  # Ports as `8080/tcp` and paths for volumes: lists, added to the base's.
  exposed-ports ? null,
  volumes ? null,
  # The signal that asks the program to stop, as `SIGQUIT`.
  stop-signal ? null,
}:

let
  key = values.key "image: name" name;
  what = "image `${key}`";

  below = values.indexed (
    index: layer: values.made "${what}: layers[${toString index}]" "layer" layer
  ) layers;
  layerInput = index: "layer-${toString index}";

  under =
    if base == null || (builtins.isAttrs base && base ? layout) then
      base
    else
      values.fail "${what}: base" "expected a set with `layout`, found ${values.show base}";
  layout = values.storePath "${what}: base.layout" "layout" under.layout;
in
step {
  step = "image";
  name = "${key}.json";
  inputs =
    builtins.listToAttrs (
      values.indexed (index: layer: {
        name = layerInput index;
        value = layer.metadata;
      }) below
    )
    // (if under == null then { } else { base = layout; });
  params.image =
    values.given {
      inherit
        platform
        entrypoint
        cmd
        env
        labels
        user
        working-dir
        exposed-ports
        volumes
        stop-signal
        ;
      base = if under == null then null else under // { layout = "base"; };
    }
    // {
      layers = values.indexed (index: _: layerInput index) below;
    };
}
// {
  ociseed-kind = "image";
  # Where the image's blobs are, for whoever puts it into a bundle or a seed.
  layers = below;
  layout = if under == null then null else layout;
}
