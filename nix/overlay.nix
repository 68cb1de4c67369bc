# For nixpkgs: the programs built from this source, and the functions of default.nix with the builder among them.
final: _:

let
  build = packages: program: packages.callPackage ./package.nix { inherit program; };
in
{
  ociseed = build final "ociseed";
  # Static: they go to where nothing of nixpkgs is, too.
  ociseed-load = build final.pkgsStatic "ociseed-load";
  ociseed-loader = build final.pkgsStatic "ociseed-loader";

  # Images for whatever platform are made where the build runs.
  ociseedTools = import ./. {
    ociseed = "${final.buildPackages.ociseed}/bin/ociseed";
    inherit (final.stdenv.buildPlatform) system;
  };
}
