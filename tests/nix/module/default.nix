# The module's tests as one value, for `check`: texts of units, and what was found where it is not what was expected.
{
  # nixpkgs' lib, or as much of it as the tests need.
  lib ? import ./lib.nix,
}:

let
  cases = import ./cases.nix { inherit lib; };
  render = import ./units.nix { inherit lib; };

  evaluate =
    {
      modules,
      # Whether there are modules of engines.
      engines ? true,
      # Null: there is none, so what asks for it fails.
      pkgs ? null,
    }:
    (lib.evalModules {
      modules = [
        ../../../nix/modules/ociseed.nix
        ./nixos.nix
      ]
      ++ lib.optional engines ./engines.nix
      ++ lib.optional (pkgs != null) { _module.args = { inherit pkgs; }; }
      ++ modules;
    }).config;

  # Names and texts of all files that a configuration makes.
  files =
    modules:
    let
      config = evaluate { inherit modules; };
    in
    builtins.listToAttrs (
      lib.mapAttrsToList (name: service: {
        name = "${name}.service";
        value = render service;
      }) config.systemd.services
    )
    // {
      "tmpfiles.conf" = builtins.concatStringsSep "" (
        map (rule: "${rule}\n") config.systemd.tmpfiles.rules
      );
    };

  # A value of an option, and all that is made of it.
  valued =
    option: value:
    files [
      cases.plain
      { services.ociseed.${option} = lib.mkForce value; }
    ];

  # A check: what it is about, and what was found if that is not what was expected.
  check = name: expected: found: {
    inherit name;
    problem =
      if expected == found then
        null
      else
        "expected ${builtins.toJSON expected}, found ${builtins.toJSON found}";
  };

  goods = builtins.concatLists (
    lib.mapAttrsToList (
      option: values:
      map (
        value:
        check "taken: ${option} = ${builtins.toJSON value}" true
          (builtins.tryEval (builtins.deepSeq (valued option value) true)).value
      ) values
    ) cases.good
  );

  said =
    name:
    {
      configuration,
      assertions,
      warnings,
      engines,
      pkgs,
    }:
    let
      config = evaluate {
        modules = configuration;
        inherit engines pkgs;
      };
    in
    [
      (check "assertions: ${name}" assertions (
        map (each: each.message) (builtins.filter (each: !each.assertion) config.assertions)
      ))
      (check "warnings: ${name}" warnings config.warnings)
    ];

  off = evaluate { modules = [ ]; };
  plain = evaluate { modules = [ cases.plain ]; };
  seeds =
    value:
    (evaluate {
      modules = [
        cases.plain
        { services.ociseed.seed = lib.mkForce value; }
      ];
    }).systemd.services.ociseed-place.serviceConfig.ExecStart;
  starts =
    value:
    "${cases.loader}/bin/ociseed-loader place --engine containerd --seed ${value} --trust sealed";
  with-settings = evaluate {
    modules = [
      cases.plain
      {
        virtualisation.containerd.settings = {
          root = "/data/containerd";
          grpc.address = "/run/data/containerd.sock";
        };
      }
    ];
  };
in
{
  # By the name of the case.
  files = builtins.mapAttrs (_: files) cases.golden;

  # Each of them fails to be evaluated: of an option the value of a number.
  wrong = builtins.mapAttrs (option: map (valued option)) cases.bad;
  wrongs = builtins.mapAttrs (_: map builtins.toJSON) cases.bad;

  checks =
    goods
    ++ builtins.concatLists (lib.mapAttrsToList said cases.messages)
    ++ [
      (check "off unless enabled" { } off.systemd.services)
      (check "off unless enabled: rules" [ ] off.systemd.tmpfiles.rules)
      (check "off unless enabled: packages" [ ] off.environment.systemPackages)
      (check "the loader is there for everybody" [ "${cases.loader}" ] (
        map (each: "${each}") plain.environment.systemPackages
      ))
      (check "the loader is that of pkgs" "${cases.loader}"
        "${(evaluate {
          modules = [ { services.ociseed.enable = true; } ];
          pkgs.ociseed-loader = cases.loader;
        }).services.ociseed.package
        }"
      )
      (check "a disk is its file" (starts "${cases.made}") (seeds cases.made))
      (check "what a unit names is kept with the system" [
        "${builtins.unsafeDiscardStringContext cases.made.drvPath}"
      ] (builtins.attrNames (builtins.getContext (seeds cases.made))))
      (check "a path is its copy in the store" (starts "${./lib.nix}") (seeds ./lib.nix))
      (check "containerd is where its settings say: root" "/data/containerd"
        with-settings.services.ociseed.containerd.root
      )
      (check "containerd is where its settings say: address" "/run/data/containerd.sock"
        with-settings.services.ociseed.containerd.address
      )
    ];
}
