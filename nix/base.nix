# What an image or an index that something else made is taken from: `base` of a spec.
{ values }:

# The words that name the argument in an error, which kinds it may have, and its value.
what: kinds: base:

let
  given = builtins.filter (kind: base ? ${kind}) kinds;
  expected = "expected a set with one of ${
    builtins.concatStringsSep ", " (map (kind: "`${kind}`") kinds)
  }";
  kind = builtins.head given;
  place = "${what}.${kind}";
  source = {
    inherit kind;
    path = values.storePath place kind base.${kind};
  };
  made = values.made place "image" base.image;
  none = {
    params = { };
    inputs = { };
    layers = [ ];
    sources = [ ];
  };
in
if base == null then
  none
else if !builtins.isAttrs base then
  values.fail what "${expected}, found ${values.show base}"
else if builtins.length given != 1 then
  values.fail what "${expected}, found ${toString (builtins.length given)} of them"
else
  {
    # The key `base` of the step's parameters, as a set to put over others.
    params.base = base // {
      ${kind} = "base";
    };
    # What that names.
    inputs.base = if kind == "image" then made else source.path;
    # What its blobs are in, for whoever puts it into a bundle or a seed.
    layers = if kind == "image" then made.layers else [ ];
    sources = if kind == "image" then made.sources else [ source ];
  }
