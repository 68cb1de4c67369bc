# `layer`: files, directories, texts and links as one layer blob.
{ step, values }:

{
  # The layer's name; no byte of the layer depends on it.
  name,
  # `"none"`, `"zstd"` or `{ zstd = LEVEL; }` with 1 to 19; zstd level 3 unless said.
  compression ? null,
  # What is put in: a list of sets with exactly one of `file`, `dir` (a path or
  # a derivation's output), `text`, `symlink`, `mkdir`; and `to`, `mode`, `owner`
  # as in a spec. A file's executable bit is kept.
  add ? [ ],
}:

let
  key = values.key "layer: name" name;

  # The key of an entry whose value is a place on this host.
  hostKey =
    entry:
    if entry ? file then
      "file"
    else if entry ? dir then
      "dir"
    else
      null;

  # An entry as the step takes it, with the input that it then names.
  entries = values.indexed (
    index: entry:
    let
      what = "layer `${key}`: add[${toString index}]";
      kind = hostKey entry;
      input = "add-${toString index}";
    in
    if kind != null then
      {
        add = entry // {
          ${kind} = input;
        };
        inputs = [
          {
            name = input;
            value = values.storePath "${what}.${kind}" kind entry.${kind};
          }
        ];
      }
    else if builtins.isPath (entry.text or null) then
      # JSON would make it the text of a store path.
      values.fail "${what}.text" "expected a string, found a path: that is a `file`"
    else
      {
        add = entry;
        inputs = [ ];
      }
  ) add;
in
step {
  step = "layer";
  name = "${key}.tar" + (if compression == "none" then "" else ".zst");
  metadata = "metadata";
  inputs = builtins.listToAttrs (builtins.concatMap (entry: entry.inputs) entries);
  params.layer = values.given { inherit compression; } // {
    add = map (entry: entry.add) entries;
  };
}
// {
  ociseed-kind = "layer";
}
