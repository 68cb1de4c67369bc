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
      release = each (system: import ./nix/release.nix { inherit system; });
      packages = builtins.mapAttrs (_: of: of.packages) release;
      # The functions, with the builder of the release, and that as `tool`. They are there without a release, too, and then
      # say what is missing.
      functions = each (
        system: import ./nix { inherit system; } // { inherit (release.${system}) tool; }
      );

      # A package of directories as they are, by Nix's own builder: there is no shell to make one with.
      linked =
        name: directories:
        derivation {
          inherit name;
          system = "builtin";
          builder = "builtin:buildenv";
          derivations = builtins.concatMap (directory: [
            "true"
            5
            1
            directory
          ]) directories;
          manifest = builtins.toFile "manifest.nix" "[ ]";
        };

      # The tests of the module are all evaluation: what is to be built is nothing, if they pass.
      module-check =
        let
          failed = builtins.filter (check: check.problem != null) (import ./tests/nix/module { }).checks;
          told = builtins.concatStringsSep "\n" (map (check: "${check.name}: ${check.problem}") failed);
        in
        if failed == [ ] then linked "ociseed-module-check" [ ] else throw "ociseed: ${told}";
    in
    {
      inherit packages;

      # `make { ociseed, system }` makes the functions around another builder.
      lib = functions // {
        make = import ./nix;
      };

      overlays.default = import ./nix/overlay.nix;

      nixosModules = rec {
        default = ociseed;
        ociseed =
          { lib, pkgs, ... }:
          {
            imports = [ ./nix/modules/ociseed.nix ];
            # The overlay's loader, if it is used, else the release's.
            services.ociseed.package = lib.mkDefault (
              pkgs.ociseed-loader or packages.${pkgs.stdenv.hostPlatform.system}.ociseed-loader or null
            );
          };
      };

      templates = rec {
        default = appliance;
        appliance = {
          path = ./nix/template;
          description = "Container images for an appliance: a disk that containerd starts from";
        };
      };

      checks = each (
        system:
        {
          module = module-check;
        }
        // (
          if packages.${system} == { } then
            { }
          else
            {
              inherit (packages.${system}) static;
              template = import ./nix/template/appliance.nix {
                ociseed = functions.${system};
                program = functions.${system}.tool;
              };
            }
        )
      );

      formatter = each (_: linked "ociseed-fmt" [ ./nix/formatter ]);
    };
}
