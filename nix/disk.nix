# `disk`: a file system, tar or cpio archive that an OS image takes in.
{
  step,
  stored,
  values,
}:

{
  # The disk's name; no byte of the disk depends on it.
  name,
  # `"erofs"`, `"tar"` or `"cpio"`.
  medium,
  # What it holds, one of these: the medium form of what `seed` made, what `store` made, the file system of what `image`
  # made, or what `layer` made, in overlay form.
  seed ? null,
  store ? null,
  image ? null,
  layer ? null,
  # Of `erofs`: `"none"`, `"lz4"`, `"zstd"`, `{ lz4 = LEVEL; }` with 1 to 12 or `{ zstd = LEVEL; }` with 1 to 19.
  compression ? null,
  # Of `erofs`: the volume's label, at most 15 bytes, and its UUID.
  label ? null,
  uuid ? null,
}:

let
  key = values.key "disk: name" name;
  what = "disk `${key}`";
  sources = values.given {
    inherit
      seed
      store
      image
      layer
      ;
  };
  kind =
    if builtins.length (builtins.attrNames sources) == 1 then
      builtins.head (builtins.attrNames sources)
    else
      values.fail what "expected one of `seed`, `store`, `image` and `layer`, found ${toString (builtins.length (builtins.attrNames sources))} of them";
  made = values.made "${what}: ${kind}" kind sources.${kind};
  of-image = stored [ made ];
  of = {
    seed = {
      disk = "seed";
      inherit (made.contents) blobs inputs;
      params.seed = made.table;
    };
    store = {
      disk = "seed.${made.engine}";
      inherit (made) blobs inputs;
      params.seed = made.table;
    };
    image = {
      disk = of-image.record 0;
      inherit (of-image) blobs inputs;
      params = { };
    };
    layer = {
      disk = "layer";
      inputs.layer = made;
      blobs = [ ];
      params = { };
    };
  };
  source = of.${kind};
in
step {
  step = "disk";
  name = "${key}.${medium}";
  metadata = "metadata";
  inherit (source) inputs;
  params = source.params // {
    inherit (source) blobs;
    disk =
      values.given {
        inherit
          medium
          compression
          label
          uuid
          ;
      }
      // {
        ${kind} = source.disk;
      };
  };
}
// {
  ociseed-kind = "disk";
}
