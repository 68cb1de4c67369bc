# What a step reads of closures: the graph that it gets, and an entry's value.
{ values }:

let
  # A whole store path, not something in one.
  whole =
    what: value:
    let
      path = values.storePath what "source" value;
    in
    if dirOf (builtins.unsafeDiscardStringContext path) == builtins.storeDir then
      path
    else
      values.fail what "expected a store path, found ${values.show path}, which is something in one";
in
rec {
  # Checks a list of store paths.
  storePaths =
    what: list:
    if !builtins.isList list then
      values.fail what "expected a list of store paths, found ${values.show list}"
    else
      values.indexed (index: path: whole "${what}[${toString index}]" path) list;

  # Patterns over names of store paths; a derivation or path means itself, and is not built for it.
  patterns =
    what: list:
    if !builtins.isList list then
      values.fail what "expected a list of patterns and store paths, found ${values.show list}"
    else
      values.indexed (
        index: value:
        if builtins.isString value && !builtins.hasContext value then
          value
        else
          baseNameOf (builtins.unsafeDiscardStringContext (whole "${what}[${toString index}]" value))
      ) list;

  # The entry `closure` of a layer; `input` is what its plan is called.
  entry =
    what: input: value:
    let
      known = [
        "alone"
        "below"
        "disallow"
        "max-size"
        "part"
        "paths"
        "plan"
      ];
      unknown = builtins.attrNames (builtins.removeAttrs value known);
      plan = value.plan or null;
      alone = value ? alone;
      names = storePaths "${what}.alone" value.alone;
    in
    if !builtins.isAttrs value then
      values.fail what "expected a set with `paths` or `alone`, found ${values.show value}"
    else if unknown != [ ] then
      values.fail what "there is no key `${builtins.head unknown}`; there are ${
        builtins.concatStringsSep ", " (map (name: "`${name}`") known)
      }"
    else if alone == (value ? paths) then
      values.fail what "expected one of `paths` and `alone`, found ${if alone then "both" else "none"}"
    else
      {
        inputs =
          if plan == null then { } else { ${input} = values.made "${what}.plan" "closurePlan" plan; };
        value = {
          store = "store";
        }
        // (
          if alone then
            { paths = map (path: baseNameOf (builtins.unsafeDiscardStringContext path)) names; }
          else
            { graph = "graph"; }
        )
        // (if plan == null then { } else { plan = input; })
        // (if value ? disallow then { disallow = patterns "${what}.disallow" value.disallow; } else { })
        // builtins.intersectAttrs {
          max-size = null;
          part = null;
        } value;
        graph =
          if alone then
            null
          else
            {
              closure = storePaths "${what}.paths" value.paths;
              below = storePaths "${what}.below" (value.below or [ ]);
            };
        paths = if alone then names else [ ];
      };
}
