# Writes what a builder sees of its host: `sandbox` in tests/nix/run is no word but a fact.
{
  # A static busybox.
  busybox,
  # A file of the host that no derivation names.
  secret,
}:

derivation {
  name = "probe";
  system = builtins.currentSystem;
  # busybox goes by the name that it is called by, so it keeps its own inside a directory.
  builder = "${
    builtins.path {
      name = "probe-tools";
      path = dirOf busybox;
      filter = path: _: path == toString busybox;
    }
  }/${baseNameOf busybox}";
  args = [
    "sh"
    "-c"
    ''if test -e "$secret"; then echo visible; else echo hidden; fi >"$out"''
  ];
  inherit secret;
}
