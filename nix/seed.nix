# `seed`: the images that an OS image is stocked with, in host form, with their lock.
{
  step,
  stored,
  values,
}:

{
  # The seed's name; no byte of the seed depends on it.
  name,
  # A list of sets: `image` (what `image` made), `name` (its full name on the
  # target), and `namespaces`, `class`, `pin` as in a spec.
  image,
}:

let
  key = values.key "seed: name" name;
  all = values.indexed (
    index: entry:
    values.made "seed `${key}`: image[${toString index}].image" "image" (entry.image or null)
  ) image;
  contents = stored all;
in
step {
  step = "seed";
  name = key;
  metadata = "lock";
  inherit (contents) inputs;
  params = {
    inherit (contents) blobs;
    seed.image = values.indexed (index: entry: entry // { image = contents.record index; }) image;
  };
}
// {
  ociseed-kind = "seed";
}
