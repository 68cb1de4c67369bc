# `bundle`: images and indexes with names, as an image layout or as a tar of one, for other tools.
{
  step,
  stored,
  values,
}:

{
  # The bundle's name; no byte of the bundle depends on it.
  name,
  # `"layout"` (a directory), `"oci-archive"` (a tar) or `"docker-archive"` (a tar for `docker load`).
  format,
  # What `image` made, by full name: `{ "docker.io/library/web:1" = web; }`.
  images ? { },
  # What `index` made, by full name.
  indexes ? { },
  # Whether manifests that refer to an image of the bundle are carried along from where it is imported; true unless said.
  referrers ? null,
  # Whether a layout has links to the blobs of its layers, which are in the store already, or copies; links unless said.
  link ? true,
}:

let
  key = values.key "bundle: name" name;
  made =
    attribute: kind: set:
    map (
      reference: values.made "bundle `${key}`: ${attribute}.\"${reference}\"" kind set.${reference}
    ) (builtins.attrNames set);
  contents = stored (made "images" "image" images ++ made "indexes" "index" indexes);
  named =
    set: first:
    builtins.listToAttrs (
      values.indexed (index: reference: {
        name = reference;
        value = contents.record (first + index);
      }) (builtins.attrNames set)
    );
in
step {
  step = "bundle";
  name = if format == "layout" then key else "${key}.tar";
  inherit (contents) inputs;
  flags = if link && format == "layout" then [ "--link-blobs" ] else [ ];
  referring = if link && format == "layout" then [ "out" ] else [ ];
  params = {
    inherit (contents) blobs;
    bundle =
      values.given { inherit format referrers; }
      // (if images == { } then { } else { images = named images 0; })
      // (
        if indexes == { } then
          { }
        else
          {
            indexes = named indexes (builtins.length (builtins.attrNames images));
          }
      );
  };
}
// {
  ociseed-kind = "bundle";
}
