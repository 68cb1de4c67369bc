# `seed`: the images that an OS image is stocked with, in host form, with their lock.
{
  step,
  stored,
  values,
}:

{
  # The seed's name; no byte of the seed depends on it.
  name,
  # A list of sets: `image` (what `image` made), `name` (its full name on the target), and `namespaces`, `class`, `pin`,
  # `file` as in a spec.
  image,
  # Which stores it is arranged for: a list of `"archives"` and `"containerd"`.
  stores ? null,
  # `"metadata"` leaves the layers' blobs out of the medium form; `"all"` unless said.
  blobs ? null,
  # Options of the stores: sets with the keys of a spec.
  archives ? null,
  containerd ? null,
  # Whether it has links to the blobs of its layers, which are in the store already, or copies; links unless said.
  link ? true,
}:

let
  key = values.key "seed: name" name;
  all = values.indexed (
    index: entry:
    values.made "seed `${key}`: image[${toString index}].image" "image" (entry.image or null)
  ) image;
  contents = stored all;
  table =
    values.given {
      inherit
        stores
        blobs
        archives
        containerd
        ;
    }
    // {
      # The step knows names of inputs alone, so it is told that of the image.
      image = values.indexed (
        index: entry:
        { inherit (builtins.elemAt all index) file; } // entry // { image = contents.record index; }
      ) image;
    };
in
step {
  step = "seed";
  name = key;
  metadata = "lock";
  inherit (contents) inputs;
  flags = if link then [ "--link-blobs" ] else [ ];
  referring = if link then [ "out" ] else [ ];
  params = {
    inherit (contents) blobs;
    seed = table;
  };
}
// {
  ociseed-kind = "seed";
  # For whoever arranges it.
  inherit contents table;
}
