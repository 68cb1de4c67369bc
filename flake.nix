# No inputs: the programs come from a release (nix/releases.json), and nixpkgs is whoever uses the overlay's own.
{
  description = "Stocks an OS image with container images before it ever boots";

  outputs =
    _:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each =
        f:
        builtins.listToAttrs (
          map (system: {
            name = system;
            value = f system;
          }) systems
        );
      packages = each (system: (import ./nix/release.nix { inherit system; }).packages);
      # The functions, with the builder of the release. They are there without a release, too, and then say what is missing.
      functions = each (system: import ./nix { inherit system; });
      module = ./nix/modules/ociseed.nix;
    in
    {
      inherit packages;

      # `make { ociseed, system }` makes the functions around another builder.
      lib = functions // {
        make = import ./nix;
      };

      overlays.default = import ./nix/overlay.nix;

      nixosModules =
        if builtins.pathExists module then
          rec {
            default = ociseed;
            ociseed =
              { lib, pkgs, ... }:
              {
                imports = [ module ];
                # The overlay's loader, if it is used, else the release's.
                services.ociseed.package = lib.mkDefault (
                  pkgs.ociseed-loader or packages.${pkgs.stdenv.hostPlatform.system}.ociseed-loader or null
                );
              };
          }
        else
          { };

      templates = rec {
        default = appliance;
        appliance = {
          path = ./nix/template;
          description = "Container images for an appliance: a disk that containerd starts from";
        };
      };

      checks = each (
        system:
        if packages.${system} == { } then
          { }
        else
          {
            inherit (packages.${system}) static;
            template = import ./nix/template/appliance.nix {
              ociseed = functions.${system};
              program = "${packages.${system}.ociseed}/bin/ociseed";
            };
          }
      );

      # Made of a script as it is, since there is no shell to make it with.
      formatter = each (
        _:
        derivation {
          name = "ociseed-fmt";
          system = "builtin";
          builder = "builtin:buildenv";
          derivations = [
            "true"
            5
            1
            ./nix/formatter
          ];
          manifest = builtins.toFile "manifest.nix" "[ ]";
        }
      );
    };
}
