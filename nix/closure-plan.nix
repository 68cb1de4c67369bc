# `closurePlan`: which store paths of a closure share a layer.
{
  closure,
  step,
  values,
}:

{
  # The plan's name; no byte of the plan depends on it.
  name,
  # Store paths, a list; with them comes all that they refer to.
  paths,
  # Store paths that layers below have, with all that they refer to.
  below ? [ ],
  # `"popularity"` (what most others need gets a layer of its own) or `"balanced"` (layers of about one size); popularity
  # unless said.
  policy ? null,
  # How many layers there may be, at most 120; 20 unless said.
  max-layers ? null,
  # The plan of an earlier version, a file: what was together stays together.
  previous ? null,
  # What may not be in the closure, a list: patterns over names, as `"gcc-*"`, and derivations.
  disallow ? null,
  # How many bytes the closure may have, as Nix counts them.
  max-size ? null,
}:

let
  key = values.key "plan: name" name;
  what = "plan `${key}`";
in
step {
  step = "plan";
  name = "${key}.json";
  graph = {
    closure = closure.storePaths "${what}: paths" paths;
    below = closure.storePaths "${what}: below" below;
  };
  inputs =
    if previous == null then
      { }
    else
      { previous = values.storePath "${what}: previous" "previous" previous; };
  params.plan =
    values.given {
      inherit max-layers max-size policy;
      disallow = if disallow == null then null else closure.patterns "${what}: disallow" disallow;
      previous = if previous == null then null else "previous";
    }
    // {
      graph = "graph";
    };
}
// {
  ociseed-kind = "closurePlan";
}
