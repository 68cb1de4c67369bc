# `bundle`: images with names, as an image layout or as a tar of one, for other tools.
{
  step,
  stored,
  values,
}:

{
  # The bundle's name; no byte of the bundle depends on it.
  name,
  # `"layout"` (a directory) or `"oci-archive"` (a tar).
  format,
  # What `image` made, by full name: `{ "docker.io/library/web:1" = web; }`.
  images,
}:

let
  key = values.key "bundle: name" name;
  names = builtins.attrNames images;
  all = map (
    reference: values.made "bundle `${key}`: images.\"${reference}\"" "image" images.${reference}
  ) names;
  contents = stored all;
in
step {
  step = "bundle";
  name = if format == "oci-archive" then "${key}.tar" else key;
  inherit (contents) inputs;
  params = {
    inherit (contents) blobs;
    bundle = {
      inherit format;
      images = builtins.listToAttrs (
        values.indexed (index: reference: {
          name = reference;
          value = contents.record index;
        }) names
      );
    };
  };
}
// {
  ociseed-kind = "bundle";
}
