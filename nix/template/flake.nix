{
  description = "Container images for an appliance";

  # Whose it is; or "path:" and a checkout, until there is a release.
  inputs.ociseed.url = "github:OWNER/ociseed";

  outputs =
    { ociseed, ... }:
    let
      system = "x86_64-linux";
    in
    {
      packages.${system}.default = import ./appliance.nix {
        ociseed = ociseed.lib.${system};
        # A static program of yours; ociseed itself is one to begin with.
        program = ociseed.lib.${system}.tool;
      };
    };
}
