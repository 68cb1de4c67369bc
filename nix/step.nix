# A step of a build as a derivation whose builder is the program itself.
{
  ca,
  ociseed,
  system,
  values,
}:

let
  # Once: Nix reads the whole program to know its store path.
  builder = values.storePath "ociseed" "ociseed" ociseed;
in

{
  # Which step of docs/format.md.
  step,
  # The name in the store.
  name,
  # The step's parameters, but for `version` and `inputs`.
  params,
  # Store paths by the names that `params` has for them.
  inputs ? { },
  # The output that `--metadata` writes, beside `out`.
  metadata ? null,
  # Store paths whose closures the step gets as a reference graph, the input
  # `graph`: `closure`, a list of them, and `below`.
  graph ? null,
  # More store paths that the step reads where they are.
  paths ? [ ],
  # Whether it reads those of the graph, too: the input `store` is where all are.
  store ? false,
  # More arguments.
  flags ? [ ],
  # Outputs that keep store paths alive which they name.
  referring ? [ ],
  # The sha256 of a single output that is a file, as `sha256:` and 64 digits.
  digest ? null,
}:

let
  # toFile takes no text that names a derivation's output, but a label or a
  # `text` may: the step copies such text and never reads what it names, so the
  # build depends on nothing by it. What a step does read are the inputs, and
  # they are arguments.
  file = builtins.toFile "params.json" (
    builtins.unsafeDiscardStringContext (builtins.toJSON (params // { version = 1; }))
  );
  input = name: [
    "--input"
    "${name}=${inputs.${name}}"
  ];
  outputs = [ "out" ] ++ (if metadata == null then [ ] else [ metadata ]);
in
derivation (
  {
    inherit
      builder
      name
      outputs
      system
      ;
    args = [
      step
      "--params"
      file
      "--out"
      (placeholder "out")
    ]
    ++ (
      if metadata == null then
        [ ]
      else
        [
          "--metadata"
          (placeholder metadata)
        ]
    )
    ++ builtins.concatMap input (builtins.attrNames inputs)
    # Nix writes the graph there, among all else that a builder may want to know.
    ++ (
      if graph == null then
        [ ]
      else
        [
          "--input"
          "graph=.attrs.json"
        ]
    )
    ++ (
      if store then
        [
          "--input"
          "store=${builtins.storeDir}"
        ]
      else
        [ ]
    )
    # A layout may be one of links into the store.
    ++ [ "--follow-links" ]
    ++ flags;
    # An uncompressed tar names the store paths of what was put into it. They are
    # for the target; here they would keep build inputs alive. The attribute
    # needs structured attributes.
    __structuredAttrs = true;
    unsafeDiscardReferences = builtins.listToAttrs (
      map (output: {
        name = output;
        value = !builtins.elem output referring;
      }) outputs
    );
  }
  // (if graph == null then { } else { exportReferencesGraph = graph; })
  // (if paths == [ ] then { } else { inherit paths; })
  // (
    if digest != null then
      {
        outputHashMode = "flat";
        outputHashAlgo = "sha256";
        outputHash = builtins.substring 7 (-1) digest;
      }
    else if ca then
      {
        __contentAddressed = true;
        outputHashMode = "recursive";
        outputHashAlgo = "sha256";
      }
    else
      { }
  )
)
