# `image`: layers over a base or over nothing, and how they run, as an image record.
{
  base-of,
  step,
  values,
}:

{
  # The image's name; no byte of the image depends on it.
  name,
  # The image below: `{ layout = DIR; }` or `{ archive = TAR; }`, a path or a derivation's output, with `reference` where
  # there are several images in it, or `{ image = IMAGE; }`, what `image` or `importImage` made.
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
  # Annotations of the manifest: a set; each name replaces the base's.
  annotations ? null,
  # Who made it, and when, as `2026-01-31T12:00:00Z`; the epoch unless said.
  author ? null,
  created ? null,
  # What the history says of each layer: a list of sets of `created-by`, `comment`, `author`.
  history ? null,
  # `"oci"` turns Docker's media types of the base into OCI's; `"keep"` unless said.
  media-types ? null,
}:

let
  key = values.key "image: name" name;
  what = "image `${key}`";

  above = values.indexed (
    index: layer: values.made "${what}: layers[${toString index}]" "layer" layer
  ) layers;
  layerInput = index: "layer-${toString index}";

  under = base-of "${what}: base" [ "layout" "archive" "image" ] base;
in
step {
  step = "image";
  name = "${key}.json";
  inputs =
    builtins.listToAttrs (
      values.indexed (index: layer: {
        name = layerInput index;
        value = layer.metadata;
      }) above
    )
    // under.inputs;
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
        annotations
        author
        created
        history
        media-types
        ;
    }
    // under.params
    // {
      layers = values.indexed (index: _: layerInput index) above;
    }
    # How many layers a closure is spread over is not known before it is built.
    // (
      if builtins.any (layer: layer.may-be-empty or false) above then { empty-layers = "drop"; } else { }
    );
}
// {
  ociseed-kind = "image";
  # What its archive is called in a preseed directory, unless a seed says otherwise.
  file = key;
  # Where the image's blobs are, for whoever puts it into a bundle or a seed.
  layers = under.layers ++ above;
  inherit (under) sources;
}
