# The options of NixOS that nix/modules read and write, without what NixOS makes of them. Types are as strict as there, so
# that a word that is none of NixOS is found.
{ lib, ... }:

let
  inherit (lib) mkOption types;
  of =
    type: default:
    mkOption {
      inherit type default;
    };
  units = of (types.listOf types.str) [ ];
  # A value of a unit's section: a list is a line for each.
  value = types.oneOf [
    types.bool
    types.int
    types.str
    (types.listOf types.str)
  ];
  service.options = {
    description = of types.str "";
    documentation = of (types.listOf types.str) [ ];
    wantedBy = units;
    requires = units;
    wants = units;
    after = units;
    before = units;
    conflicts = units;
    unitConfig = of (types.attrsOf value) { };
    serviceConfig = of (types.attrsOf value) { };
    restartIfChanged = of types.bool true;
  };
in
{
  options = {
    assertions = of (types.listOf types.raw) [ ];
    warnings = of (types.listOf types.str) [ ];
    environment.systemPackages = of (types.listOf types.package) [ ];
    systemd.services = of (types.attrsOf (types.submodule service)) { };
    systemd.tmpfiles.rules = of (types.listOf types.str) [ ];
  };
}
