# Writes what a builder sees of its host: `sandbox` in tests/nix/run is no word but a fact.
{
  # A static busybox.
  busybox,
  # A file of the host that no derivation names.
  secret,
}:

(import ./busybox.nix busybox).package "probe" {
  inherit secret;
} ''if test -e "$secret"; then echo visible; else echo hidden; fi >"$out"''
