# `closureLayers`: store paths with all that they refer to, as a list of layers, bottom first.
{
  closurePlan,
  layer,
  values,
}:

{
  # What the layers' names begin with; no byte of them depends on it.
  name,
  # Either lists of store paths, a layer each, bottom first: a layer has what its list refers to and the lists before it
  # do not. In place of a list a set with `paths` may also say `compression` and `set` as of `layer`.
  layers ? null,
  # Or store paths that are spread over layers: all of them and what they refer to,
  paths ? null,
  # `"popularity"` or `"balanced"`,
  policy ? null,
  # over at most so many layers; 20 unless said. An image leaves out those that have nothing.
  max-layers ? 20,
  # The plan of an earlier version, a file that `closurePlan` made: what was together stays together.
  previous ? null,
  # Whether each layer depends on what is in it alone, so that an edit makes the layers anew in which something changed and
  # no others. Evaluation then has to build the plan first (import from derivation).
  import-plan ? false,
  # As of `layer`, for all layers.
  compression ? null,
  # What may not be there, a list: patterns over names, as `"gcc-*"`, and derivations.
  disallow ? [ ],
  # How many bytes all may have together, as Nix counts them.
  max-size ? null,
}:

let
  what = "closure layers `${values.key "closure layers: name" name}`";
  numbered = index: "${name}-${toString index}";

  lists = map (
    list: if builtins.isAttrs list && !(list ? outPath) then list else { paths = list; }
  ) layers;
  of-list =
    index: list:
    layer (
      {
        name = numbered index;
        inherit compression;
      }
      // builtins.removeAttrs list [ "paths" ]
      // {
        add = [
          {
            closure = {
              paths = list.paths or (values.fail "${what}: layers[${toString index}]" "it has no `paths`");
              below = builtins.concatMap (below: below.paths) (builtins.genList (builtins.elemAt lists) index);
            }
            // (if disallow == [ ] then { } else { inherit disallow; });
          }
        ];
      }
    );

  plan = closurePlan {
    name = "${name}-plan";
    inherit
      paths
      policy
      max-layers
      previous
      disallow
      max-size
      ;
  };
  of-part =
    index:
    layer {
      name = numbered index;
      inherit compression;
      add = [
        {
          closure = {
            inherit paths plan;
            part = index;
          };
        }
      ];
    }
    // {
      # For the image that it is in.
      may-be-empty = true;
    };

  # Names of store paths alone; which they are of this store is said again.
  planned = (builtins.fromJSON (builtins.unsafeDiscardStringContext (builtins.readFile plan))).layers;
  of-names =
    index: names:
    layer {
      name = numbered index;
      inherit compression;
      add = [
        {
          closure.alone = map (
            name:
            let
              path = "${builtins.storeDir}/${name}";
            in
            builtins.appendContext path { ${path}.path = true; }
          ) names;
        }
      ];
    };
in
if (layers == null) == (paths == null) then
  values.fail what "expected one of `layers` and `paths`, found ${
    if layers == null then "none" else "both"
  }"
else if layers != null then
  if !builtins.isList layers then
    values.fail "${what}: layers" "expected a list, found ${values.show layers}"
  else if policy != null || previous != null || import-plan || max-size != null then
    values.fail what "`policy`, `previous`, `import-plan` and `max-size` are about `paths`; `layers` says itself what is where"
  else
    values.indexed of-list lists
else if import-plan then
  values.indexed of-names planned
else
  builtins.genList of-part max-layers
