# `layer`: files, directories, archives, packages, texts and links as one layer blob.
{
  closure,
  step,
  values,
}:

{
  # The layer's name; no byte of the layer depends on it.
  name,
  # `"none"`, `"gzip"`, `"zstd"`, `{ gzip = LEVEL; }` with 1 to 12 or `{ zstd = LEVEL; }` with 1 to 19; zstd level 3
  # unless said.
  compression ? null,
  # What is put in: a list of sets as in a spec, each of one kind. `file`, `dir` and `tar` take a path or a derivation's
  # output, `deb` one or a list of these, `layer` what this function made. A file's executable bit is kept. Of a `closure`
  # and a `nix-database` there may be one for each layer: `closure` is a set with `paths` (a list of store paths, which are
  # taken with all that they refer to), `below` (a list: what these refer to is left out), `plan` and `part` (what
  # `closurePlan` made, and which layer of it), `disallow` and `max-size`, or with `alone` (a list of store paths that are
  # taken by themselves); a `nix-database` is a list of store paths.
  add ? [ ],
  # Rules that change what the entries made, as in a spec.
  set ? null,
  # Layer metadata, a file that `layer` made before (its output `metadata`): the layer is that one or none. It is then known
  # by its digest, so what is over it is built again only when the file changes, and any store that has it serves it.
  pin ? null,
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
      what = "layer `${key}`: add[${toString index}]";
      of-closure = closure.entry "${what}.closure" "${input}-plan" entry.closure;
      closures =
        (if entry ? closure then [ of-closure ] else [ ])
        ++ (
          if entry ? nix-database then
            [
              {
                inputs = { };
                paths = [ ];
                graph = {
                  closure = closure.storePaths "${what}.nix-database" entry.nix-database;
                  below = [ ];
                };
              }
            ]
          else
            [ ]
        );
    in
    {
      add =
        entry
        // builtins.mapAttrs (_: part: part.value) taken
        // (if entry ? closure then { closure = of-closure.value; } else { })
        // (if entry ? nix-database then { nix-database = "graph"; } else { });
      inputs =
        builtins.concatMap (part: part.inputs) (builtins.attrValues taken)
        ++ builtins.concatMap (
          part:
          map (name: {
            inherit name;
            value = part.inputs.${name};
          }) (builtins.attrNames part.inputs)
        ) closures;
      graphs = builtins.filter (graph: graph != null) (map (part: part.graph) closures);
      paths = builtins.concatMap (part: part.paths) closures;
    }
  ) add;
  graphs = builtins.concatMap (entry: entry.graphs) entries;

  pinned = builtins.fromJSON (builtins.readFile pin);
  metadata = values.storePath "layer `${key}`: pin" "metadata" pin;

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
  # What is known by its digest has one output.
  metadata = if pin == null then "metadata" else null;
  digest = if pin == null then null else pinned.digest;
  flags =
    if pin == null then
      [ ]
    else
      [
        "--expect"
        metadata
      ];
  graph =
    if builtins.length graphs > 1 then
      values.fail "layer `${key}`" "expected at most one `closure` with `paths` or `nix-database`, found ${toString (builtins.length graphs)}"
    else if graphs == [ ] then
      null
    else
      builtins.head graphs;
  paths = builtins.concatMap (entry: entry.paths) entries;
  store = builtins.any (entry: entry ? closure) add;
  inputs = builtins.listToAttrs (builtins.concatMap (entry: entry.inputs) entries);
  params.layer = values.given { inherit compression set; } // {
    add = map (entry: entry.add) entries;
  };
}
// (if pin == null then { } else { inherit metadata; })
// {
  ociseed-kind = "layer";
}
