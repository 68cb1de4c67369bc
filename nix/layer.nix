# `layer`: files, directories, archives, packages, texts and links as one layer blob.
{ step, values }:

{
  # The layer's name; no byte of the layer depends on it.
  name,
  # `"none"`, `"gzip"`, `"zstd"`, `{ gzip = LEVEL; }` with 1 to 12 or `{ zstd = LEVEL; }` with 1 to 19; zstd level 3
  # unless said.
  compression ? null,
  # What is put in: a list of sets as in a spec, each of one kind. `file`, `dir` and `tar` take a path or a derivation's
  # output, `deb` one or a list of these, `layer` what this function made. A file's executable bit is kept.
  add ? [ ],
  # Rules that change what the entries made, as in a spec.
  set ? null,
}:

let
  key = values.key "layer: name" name;

  # The inputs of an entry's value, and what the step has in its place.
  one = what: kind: input: value: {
    value = input;
    inputs = [
      {
        name = input;
        value = values.storePath what kind value;
      }
    ];
  };
  many =
    what: kind: input: value:
    let
      all = values.indexed (
        index: part: one "${what}[${toString index}]" kind "${input}-${toString index}" part
      ) value;
    in
    {
      value = map (part: part.value) all;
      inputs = builtins.concatMap (part: part.inputs) all;
    };
  kinds = {
    file = one;
    dir = one;
    tar = one;
    deb =
      what: kind: input: value:
      (if builtins.isList value then many else one) what kind input value;
    layer =
      what: kind: input: value:
      one what kind input (values.made what "layer" value);
    text =
      what: _: _: value:
      if builtins.isPath value then
        # JSON would make it the text of a store path.
        values.fail what "expected a string, found a path: that is a `file`"
      else
        {
          inherit value;
          inputs = [ ];
        };
  };

  # An entry as the step takes it, with the inputs that it then names.
  entries = values.indexed (
    index: entry:
    let
      input = "add-${toString index}";
      taken = builtins.mapAttrs (
        kind: take: take "layer `${key}`: add[${toString index}].${kind}" kind input entry.${kind}
      ) (builtins.intersectAttrs entry kinds);
    in
    {
      add = entry // builtins.mapAttrs (_: part: part.value) taken;
      inputs = builtins.concatMap (part: part.inputs) (builtins.attrValues taken);
    }
  ) add;

  suffix =
    if compression == "none" then
      ".tar"
    else if compression == "gzip" || (builtins.isAttrs compression && compression ? gzip) then
      ".tar.gz"
    else
      ".tar.zst";
in
step {
  step = "layer";
  name = key + suffix;
  metadata = "metadata";
  inputs = builtins.listToAttrs (builtins.concatMap (entry: entry.inputs) entries);
  params.layer = values.given { inherit compression set; } // {
    add = map (entry: entry.add) entries;
  };
}
// {
  ociseed-kind = "layer";
}
