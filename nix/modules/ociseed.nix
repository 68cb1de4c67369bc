# The NixOS module `services.ociseed`: stocks containerd with the images of a seed, at every boot, by the units of systemd/.
#
# It needs nothing but `lib`, and of `pkgs` the loader, unless `package` says which. docs/nix/module.md explains it.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  cfg = config.services.ociseed;

  # What the loader takes for a seed; a label with nothing behind it is wrong usage.
  seedType = types.either (types.strMatching "(PART)?LABEL=.+") types.path;
  # A place on the target, as a string: Nix would put the file that a path names into the store.
  placeType = types.strMatching "/[A-Za-z0-9@_./:=,+-]*";

  # Units that run a containerd of their own, and where that is: k3s and rke2 start it as a child, and kubelet in themselves.
  embedded =
    let
      of = distribution: {
        address = "/run/k3s/containerd/containerd.sock";
        root = "/var/lib/rancher/${distribution}/agent/containerd";
        inherit distribution;
      };
    in
    {
      "k3s.service" = of "k3s";
      "rke2-server.service" = of "rke2";
      "rke2-agent.service" = of "rke2";
    };
  isEmbedded = embedded ? ${cfg.containerd.unit};
  within = embedded.${cfg.containerd.unit};

  settings = config.virtualisation.containerd.settings or { };

  # Words of a command line, as systemd reads them: it expands `%` and `$`, and knows the escapes of JSON.
  word =
    value:
    if builtins.match "[A-Za-z0-9@_./:=,+-]+" value != null then
      value
    else
      builtins.replaceStrings [ "%" "$" ] [ "%%" "$$" ] (builtins.toJSON value);
  # In a string a path is that of its copy in the store.
  command =
    words:
    builtins.concatStringsSep " " (
      [ "${cfg.package}/bin/ociseed-loader" ] ++ map (each: word "${each}") words
    );
  given =
    flag: value:
    lib.optionals (value != null) [
      flag
      value
    ];

  engines = builtins.concatMap (given "--engine") cfg.engines;
  seeds =
    given "--seed" cfg.seed
    ++ given "--previous-seed" cfg.previousSeed
    ++ given "--expect-seed" cfg.expectSeed
    ++ given "--trust" cfg.trust;
  state = given "--state-dir" (if cfg.stateDir == "/var/lib/ociseed" then null else cfg.stateDir);
  wait = seconds: given "--wait" (if seconds == null then null else toString seconds);

  place = [
    "place"
  ]
  ++ engines
  ++ seeds
  ++ given "--root" cfg.containerd.root
  ++ wait cfg.wait
  ++ state
  ++ cfg.extraArguments.place;
  run =
    class:
    [
      "run"
      "--class"
      class
    ]
    ++ engines
    ++ seeds
    ++ given "--address" cfg.containerd.address
    # Beside k3s the wait begins with k3s itself, which comes to its containerd late.
    ++ wait (if cfg.wait == null && isEmbedded then 300 else cfg.wait)
    ++ state
    ++ lib.optional cfg.readBack "--read-back"
    ++ lib.optional cfg.takeOver "--take-over"
    ++ cfg.extraArguments.run;
  settle = [ "settle" ] ++ state ++ cfg.extraArguments.settle;

  unit = cfg.containerd.unit;
  root = if cfg.containerd.root == null then "/var/lib/containerd" else cfg.containerd.root;
  # A unit with a containerd of its own is ready only when its kubelet runs: what waits for that comes too late.
  afterEngine = lib.optional (!isEmbedded) unit;
in
{
  options.services.ociseed = {
    enable = lib.mkEnableOption "container images of this OS image, in containerd at every boot";

    package = mkOption {
      type = types.nullOr types.package;
      default = pkgs.ociseed-loader or null;
      defaultText = lib.literalExpression "pkgs.ociseed-loader";
      description = "A package with `bin/ociseed-loader`.";
    };

    seed = mkOption {
      type = seedType;
      example = "LABEL=seed";
      description = ''
        The seed in medium form: a directory, a file with a file system such as `disk` makes, a device, or `LABEL=…` or
        `PARTLABEL=…` of one.
      '';
    };

    previousSeed = mkOption {
      type = types.nullOr seedType;
      default = null;
      example = "PARTLABEL=seed-a";
      description = "The seed to which a rollback would go: what came from it goes on working.";
    };

    engines = mkOption {
      type = types.nonEmptyListOf (types.enum [ "containerd" ]);
      default = [ "containerd" ];
      description = "The engines that get the images.";
    };

    expectSeed = mkOption {
      type = types.nullOr (types.strMatching "sha256:[0-9a-f]{64}");
      default = null;
      description = "The digest that the seed's `seed.json` must have.";
    };

    trust = mkOption {
      type = types.enum [
        "verity"
        "sealed"
        "unchecked"
      ];
      default = "sealed";
      description = ''
        Who vouches for the seed: the kernel (dm-verity or fs-verity), the loader, which hashes it once, or nobody.
      '';
    };

    critical.before = mkOption {
      type = types.listOf types.str;
      default = [
        "kubelet.service"
        "k3s.service"
        "k3s-agent.service"
        "rke2-server.service"
        "rke2-agent.service"
      ];
      description = "Units that start when the critical images are there, or could not be brought.";
    };

    containerd = {
      unit = mkOption {
        type = types.str;
        default = "containerd.service";
        example = "k3s.service";
        description = ''
          The unit that runs containerd. k3s and rke2 run one of their own: `k3s.service`, `rke2-server.service`,
          `rke2-agent.service`.
        '';
      };

      address = mkOption {
        type = types.nullOr placeType;
        default = if isEmbedded then within.address else settings.grpc.address or null;
        defaultText = lib.literalMD "where the unit has it, else where the loader looks for it";
        example = "/run/k3s/containerd/containerd.sock";
        description = "containerd's socket.";
      };

      root = mkOption {
        type = types.nullOr placeType;
        default = if isEmbedded then within.root else settings.root or null;
        defaultText = lib.literalMD "where the unit has it, else what the seed says, else `/var/lib/containerd`";
        example = "/var/lib/rancher/k3s/agent/containerd";
        description = "containerd's root.";
      };
    };

    stateDir = mkOption {
      type = placeType;
      default = "/var/lib/ociseed";
      description = "What outlives a boot.";
    };

    wait = mkOption {
      type = types.nullOr (types.ints.between 0 4294967295);
      default = null;
      example = 30;
      description = "How many seconds to wait for the seed, and for containerd; the loader's 60 unless said.";
    };

    takeOver = mkOption {
      type = types.bool;
      default = false;
      description = "Whether records that others made, and that have a name of the seed, are replaced.";
    };

    readBack = mkOption {
      type = types.bool;
      default = false;
      description = "Whether what containerd has is hashed at every boot, and not only after an unclean stop.";
    };

    extraArguments =
      let
        arguments =
          of:
          mkOption {
            type = types.listOf types.str;
            default = [ ];
            description = "Further arguments of `ociseed-loader ${of}`.";
          };
      in
      {
        place = arguments "place";
        run = arguments "run";
        settle = arguments "settle";
      };
  };

  config = lib.mkIf cfg.enable {
    inherit
      (import ./ociseed-messages.nix {
        inherit config lib options;
        embedded = if isEmbedded then within else null;
      })
      assertions
      warnings
      ;

    environment.systemPackages = [ cfg.package ];

    systemd.tmpfiles.rules = [
      "d /run/ociseed 0755 root root -"
      "d /run/ociseed/seeds 0755 root root -"
      "d ${cfg.stateDir} 0755 root root -"
    ];

    # The units of systemd/ say why each of these lines is there; tests/nix/module holds the two against each other.
    systemd.services = {
      ociseed-place = {
        description = "Place the container images of this OS image";
        wantedBy = [ unit ];
        conflicts = [ "shutdown.target" ];
        after = [
          "local-fs.target"
          "veritysetup.target"
          "systemd-tmpfiles-setup.service"
        ];
        before = [
          unit
          "docker.service"
          "shutdown.target"
        ];
        unitConfig = {
          DefaultDependencies = false;
          RequiresMountsFor = "${cfg.stateDir} ${root}";
        };
        # It must not run beside containerd: a configuration that is switched to gets its images by `run`.
        restartIfChanged = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = command place;
          NotifyAccess = "main";
          TimeoutStartSec = 90;
        };
      };

      ociseed-critical = {
        description = "Critical container images of this OS image";
        wantedBy = [ unit ];
        requires = [ unit ];
        after = afterEngine ++ [ "ociseed-place.service" ];
        before = builtins.filter (each: each != unit) cfg.critical.before;
        unitConfig = {
          RequiresMountsFor = cfg.stateDir;
          StartLimitIntervalSec = "10min";
          StartLimitBurst = 5;
        };
        serviceConfig = {
          Type = "notify";
          NotifyAccess = "main";
          RemainAfterExit = true;
          ExecStart = command (run "critical");
          SuccessExitStatus = "7 143";
          Restart = "on-failure";
          RestartSec = 10;
          RestartPreventExitStatus = "2 3";
          TimeoutStartSec = 30;
          TimeoutStopSec = 10;
          OOMScoreAdjust = -500;
        };
      };

      ociseed-background = {
        description = "Background container images of this OS image";
        wantedBy = [ unit ];
        requires = [ unit ];
        after = afterEngine ++ [
          "ociseed-place.service"
          "ociseed-critical.service"
        ];
        unitConfig = {
          RequiresMountsFor = cfg.stateDir;
          StartLimitIntervalSec = "1h";
          StartLimitBurst = 5;
        };
        serviceConfig = {
          Type = "notify";
          NotifyAccess = "main";
          RemainAfterExit = true;
          ExecStart = command (run "background");
          SuccessExitStatus = "143";
          Restart = "on-failure";
          RestartSec = 60;
          RestartPreventExitStatus = "2 3";
          TimeoutStartSec = 30;
          TimeoutStopSec = 10;
          OOMScoreAdjust = 500;
          Nice = 19;
          IOSchedulingClass = "idle";
        };
      };

      ociseed-settle = {
        description = "Note that the container images of this OS image were left in good order";
        wantedBy = [ unit ];
        before = [ unit ];
        unitConfig = {
          RequiresMountsFor = "${cfg.stateDir} ${root}";
          RefuseManualStop = true;
        };
        # It cannot be: it is not to be stopped by hand.
        restartIfChanged = false;
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStop = command settle;
          TimeoutStopSec = "5min";
        };
      };
    };
  };
}
