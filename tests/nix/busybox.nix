# Small packages: derivations that a static busybox builds.
busybox:

let
  # busybox goes by the name that it is called by, so it keeps its own inside a directory.
  tools = builtins.path {
    name = "tools";
    path = dirOf busybox;
    filter = path: _: path == toString busybox;
  };
in
rec {
  # The program: `sh APPLET ARGUMENT…`, also within scripts.
  sh = "${tools}/${baseNameOf busybox}";

  # Makes a derivation of a script, with more attributes.
  package =
    name: more: script:
    derivation (
      {
        inherit name;
        system = builtins.currentSystem;
        builder = sh;
        args = [
          "sh"
          "-ec"
          script
        ];
      }
      // more
    );
}
