# What `bundle` and `seed` read of a list of images: their records, and all blobs of their layers.
{ values }:

images:

let
  # One of each, however many images share it. The order is that of store
  # paths, and no byte of the output depends on it.
  unique =
    list:
    builtins.attrValues (
      builtins.listToAttrs (
        map (value: {
          name = builtins.unsafeDiscardStringContext "${value}";
          inherit value;
        }) list
      )
    );
  layers = unique (builtins.concatMap (image: image.layers) images);
  layouts = unique (builtins.filter (layout: layout != null) (map (image: image.layout) images));

  numbered =
    prefix: paths:
    builtins.listToAttrs (
      values.indexed (index: path: {
        name = "${prefix}-${toString index}";
        value = "${path}";
      }) paths
    );
in
{
  # The name of the input that is the record of image number `index`.
  record = index: "image-${toString index}";

  # All of it, by the names that `record` and `blobs` have.
  inputs =
    numbered "image" images
    // numbered "layer" layers
    // numbered "metadata" (map (layer: layer.metadata) layers)
    // numbered "layout" layouts;

  # The step's parameter of that name.
  blobs =
    values.indexed (index: _: {
      layer = "layer-${toString index}";
      metadata = "metadata-${toString index}";
    }) layers
    ++ values.indexed (index: _: { layout = "layout-${toString index}"; }) layouts;
}
