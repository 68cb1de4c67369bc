# What the overlay asks of nixpkgs, as far as it asks, and what it makes of it. A Rust package is what was built before.
{
  # The checkout that is tested.
  checkout,
  # The directory with the programs, and a static busybox.
  programs,
  busybox,
}:

let
  system = builtins.currentSystem;
  tools = builtins.path {
    name = "tools";
    path = dirOf busybox;
    filter = path: _: path == toString busybox;
  };
  lib = {
    optionals = condition: list: if condition then list else [ ];
    optionalString = condition: string: if condition then string else "";
    licenses.asl20 = "asl20";
    platforms.linux = [ system ];
  };
  platform = {
    inherit system;
    canExecute = _: true;
  };
  packages =
    kind:
    let
      self = {
        inherit lib;
        installShellFiles = "installShellFiles";
        stdenv = {
          buildPlatform = platform;
          hostPlatform = platform;
        };
        rustPlatform.buildRustPackage =
          arguments:
          derivation {
            name = "${arguments.pname}-${arguments.version}";
            inherit system;
            builder = "${tools}/${baseNameOf busybox}";
            args = [
              "sh"
              "-c"
              "$busybox mkdir -p $out/bin && $busybox cp $program $out/bin/$pname"
            ];
            busybox = "${tools}/${baseNameOf busybox}";
            program = programs + "/${arguments.pname}";
            inherit (arguments) pname;
          }
          // {
            inherit arguments kind;
          };
        callPackage =
          file: arguments:
          let
            function = import file;
          in
          function (builtins.intersectAttrs (builtins.functionArgs function) self // arguments);
        pkgsStatic = packages "static";
        buildPackages = packages "build" // overlaid;
      };
    in
    self;
  before = packages "ordinary";
  overlaid = import (checkout + "/nix/overlay.nix") (before // overlaid) before;
in
{
  inherit (overlaid) ociseed ociseed-loader;
  source = overlaid.ociseed.arguments.src;
  disk = import (checkout + "/nix/template/appliance.nix") {
    ociseed = overlaid.ociseedTools;
    program = "${overlaid.ociseed}/bin/ociseed";
  };
  # What is asked for, on a line for each program.
  asked = builtins.concatStringsSep "\n" (
    map
      (
        program:
        let
          inherit (overlaid.${program}) arguments kind;
        in
        builtins.concatStringsSep " " [
          kind
          arguments.pname
          arguments.version
          arguments.buildType
          (toString arguments.cargoBuildFlags)
          (if builtins.pathExists arguments.cargoLock.lockFile then "locked" else "not locked")
          (if arguments.doCheck then "checked" else "unchecked")
          arguments.meta.mainProgram
          arguments.meta.license
          (toString arguments.nativeBuildInputs)
        ]
      )
      [
        "ociseed"
        "ociseed-load"
        "ociseed-loader"
      ]
  );
}
