# What steps read of a list of images and indexes: their records, and all blobs of their layers.
{ values }:

images:

let
  # One of each, however many images share it. The order is that of store
  # paths, and no byte of the output depends on it.
  unique =
    path: list:
    builtins.attrValues (
      builtins.listToAttrs (
        map (value: {
          name = builtins.unsafeDiscardStringContext "${path value}";
          inherit value;
        }) list
      )
    );
  layers = unique (layer: layer) (builtins.concatMap (image: image.layers) images);
  sources = unique (source: source.path) (builtins.concatMap (image: image.sources) images);

  numbered =
    prefix: paths:
    builtins.listToAttrs (
      values.indexed (index: path: {
        name = "${prefix}-${toString index}";
        value = "${path}";
      }) paths
    );
in
rec {
  # The name of the input that is the record of image number `index`.
  record = index: "image-${toString index}";

  # The records, by the names that `record` has.
  records = numbered "image" images;

  # All of it, by the names that `record` and `blobs` have.
  inputs =
    records
    // numbered "layer" layers
    // numbered "metadata" (map (layer: layer.metadata) layers)
    // numbered "source" (map (source: source.path) sources);

  # The step's parameter of that name.
  blobs =
    values.indexed (index: _: {
      layer = "layer-${toString index}";
      metadata = "metadata-${toString index}";
    }) layers
    ++ values.indexed (index: source: { ${source.kind} = "source-${toString index}"; }) sources;
}
