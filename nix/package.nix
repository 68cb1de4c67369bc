# One of the programs, built from this source with nixpkgs: for `callPackage`.
{
  lib,
  rustPlatform,
  installShellFiles,
  stdenv,
  # Which: `"ociseed"`, `"ociseed-load"` or `"ociseed-loader"`.
  program ? "ociseed",
}:

let
  directories = {
    ociseed = "cli";
    ociseed-load = "load";
    ociseed-loader = "loader";
  };
  read = path: builtins.fromTOML (builtins.readFile path);
  inherit (read (../tool + "/${directories.${program}}/Cargo.toml")) package;

  # What cargo wants to see of the workspace. No documentation, no test data and nothing that was built here, so that no
  # edit of these has the programs built again.
  root = toString ../. + "/";
  wanted = "(Cargo\\.(toml|lock)|tool(/.*)?|examples(/hello(/server(/.*)?)?)?|tests(/probe(/.*)?|/fuzz(/Cargo\\.toml|/src(/.*)?)?)?)";
  src = builtins.path {
    name = "ociseed-source";
    path = ../.;
    filter =
      path: _:
      let
        relative = builtins.substring (builtins.stringLength root) (builtins.stringLength path) path;
      in
      builtins.match wanted relative != null && baseNameOf path != "target";
  };
in
rustPlatform.buildRustPackage {
  pname = program;
  inherit ((read ../Cargo.toml).workspace.package) version;
  inherit src;

  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [
    "--package"
    program
  ];
  # Small, since they are on the target or are brought there (docs/loader.md).
  buildType = if program == "ociseed" then "release" else "loader";
  # They want GNU tar, xz, python3, a terminal and files that are not in `src`; tests/run runs them.
  doCheck = false;

  nativeBuildInputs = lib.optionals (program == "ociseed") [ installShellFiles ];
  postInstall =
    lib.optionalString (program == "ociseed" && stdenv.buildPlatform.canExecute stdenv.hostPlatform)
      ''
        $out/bin/ociseed man --out man
        installManPage man/*
        for shell in bash zsh fish; do $out/bin/ociseed completions $shell >ociseed.$shell; done
        installShellCompletion ociseed.{bash,zsh,fish}
      '';

  meta = {
    inherit (package) description;
    license = lib.licenses.asl20;
    mainProgram = program;
    platforms = lib.platforms.linux;
  };
}
