# `closureCheck`: fails where a closure has what it may not have, or is too large; what it makes says nothing.
{ closurePlan }:

{
  # The check's name.
  name,
  # Store paths, a list; with them comes all that they refer to.
  paths,
  # What may not be there, a list: patterns over names, as `"gcc-*"`, and derivations.
  disallow ? [ ],
  # How many bytes all may have, as Nix counts them; any number unless said.
  max-size ? null,
}:

closurePlan {
  inherit
    name
    paths
    disallow
    max-size
    ;
}
