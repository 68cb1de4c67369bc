# The options of NixOS' modules of engines that nix/modules read. They are not everywhere: a configuration may have none of
# these modules.
{ lib, ... }:

let
  inherit (lib) mkOption types;
  distribution = {
    enable = lib.mkEnableOption "it";
    images = mkOption {
      type = types.listOf types.package;
      default = [ ];
    };
  };
in
{
  options = {
    virtualisation.containerd = {
      enable = lib.mkEnableOption "it";
      settings = mkOption {
        type = types.attrsOf types.raw;
        default = { };
      };
    };
    services = {
      kubernetes.kubelet = {
        enable = lib.mkEnableOption "it";
        seedDockerImages = mkOption {
          type = types.listOf types.package;
          default = [ ];
        };
      };
      k3s = distribution;
      rke2 = distribution // {
        role = mkOption {
          type = types.enum [
            "server"
            "agent"
          ];
          default = "server";
        };
      };
    };
  };
}
