# A step of a build as a derivation whose builder is the program itself.
{
  ociseed,
  system,
  values,
}:

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
derivation {
  inherit name outputs system;
  builder = values.storePath "ociseed" "ociseed" ociseed;
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
  ++ builtins.concatMap input (builtins.attrNames inputs);
  # An uncompressed tar names the store paths of what was put into it. They are
  # for the target; here they would keep build inputs alive. The attribute
  # needs structured attributes.
  __structuredAttrs = true;
  unsafeDiscardReferences = builtins.listToAttrs (
    map (output: {
      name = output;
      value = true;
    }) outputs
  );
}
