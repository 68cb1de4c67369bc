# `index`: images for several platforms under one name, as an index record.
{
  base-of,
  step,
  stored,
  values,
}:

{
  # The index's name; no byte of the index depends on it.
  name,
  # What `image` made, in the order of the index; no two for one platform.
  images ? null,
  # Instead of `images` an index that something else made: `{ layout = DIR; }` or `{ archive = TAR; }`, with `reference`
  # where there are several.
  base ? null,
  # Annotations of the index: a set; only with `images`.
  annotations ? null,
}:

let
  key = values.key "index: name" name;
  what = "index `${key}`";
  all = values.indexed (
    index: image: values.made "${what}: images[${toString index}]" "image" image
  ) (if images == null then [ ] else images);
  contents = stored all;
  under = base-of "${what}: base" [ "layout" "archive" ] base;
in
step {
  step = "index";
  name = "${key}.json";
  inputs = contents.records // under.inputs;
  params.index =
    values.given {
      inherit annotations;
      images = if images == null then null else values.indexed (index: _: contents.record index) all;
    }
    // under.params;
}
// {
  ociseed-kind = "index";
  # Where the blobs of its images are.
  layers = builtins.concatMap (image: image.layers) all;
  sources = builtins.concatMap (image: image.sources) all ++ under.sources;
}
