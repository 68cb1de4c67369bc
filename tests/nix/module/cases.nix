# Configurations of `services.ociseed` and what is expected of them.
{ lib }:

let
  inherit (lib) mkForce mkIf mkMerge;

  # As a package, without anything built.
  package = name: {
    type = "derivation";
    inherit name;
    outPath = "/nix/store/00000000000000000000000000000000-${name}";
  };
  disk = "/nix/store/11111111111111111111111111111111-appliance.erofs";
  digest = "sha256:${builtins.hashString "sha256" "a lock"}";

  # This library with anything for the program: nothing is built.
  build = import ../../../nix {
    ociseed = ./lib.nix;
    system = "x86_64-linux";
  };
  seed = build.seed {
    name = "appliance";
    stores = [ "containerd" ];
    image = [
      {
        image = build.image { name = "web"; };
        name = "docker.io/library/web:1";
      }
    ];
  };
  made = build.disk {
    name = "appliance";
    medium = "erofs";
    inherit seed;
  };
in
rec {
  inherit made;
  loader = package "ociseed-loader";

  # A configuration that nothing is wrong with.
  plain = {
    services.ociseed = {
      enable = true;
      package = loader;
      seed = disk;
    };
    virtualisation.containerd.enable = true;
  };
  without-engines = removeAttrs plain [ "virtualisation" ];

  # Whose units are in tests/golden/nix/module, by name. The guest of tests/e2e/test_appliance_nixos.py boots with those of
  # `file` and `partition`.
  golden = {
    # The options that have no default, alone: the units of systemd/ in NixOS.
    file = [ plain ];
    partition = [
      plain
      {
        services.ociseed = {
          seed = mkForce "PARTLABEL=seed-a";
          previousSeed = "PARTLABEL=seed-b";
          wait = 30;
        };
      }
    ];
    k3s = [
      without-engines
      {
        services.ociseed.containerd.unit = "k3s.service";
        services.k3s.enable = true;
      }
    ];
    everything = [
      plain
      {
        services.ociseed = {
          previousSeed = "LABEL=the other seed";
          engines = [ "containerd" ];
          expectSeed = digest;
          trust = "verity";
          critical.before = [ "web.service" ];
          containerd = {
            unit = "my-containerd.service";
            address = "/run/my/containerd.sock";
            root = "/data/containerd";
          };
          stateDir = "/data/ociseed";
          wait = 0;
          takeOver = true;
          readBack = true;
          extraArguments = {
            place = [
              "--run-dir"
              "/run/a \"word\" with 50%, \${SEED} and \\"
            ];
            run = [ "--json" ];
            settle = [
              "--state-dir"
              "/data/another"
            ];
          };
        };
      }
    ];
  };

  # Values of options, right and wrong ones.
  good = {
    seed = [
      disk
      made
      ./lib.nix
      "/usr/lib/ociseed/seed"
      "/dev/disk/by-label/seed"
      "LABEL=seed"
      "PARTLABEL=seed a"
    ];
    previousSeed = [
      null
      disk
      "LABEL=other"
    ];
    package = [ loader ];
    engines = [ [ "containerd" ] ];
    expectSeed = [
      null
      digest
    ];
    trust = [
      "verity"
      "sealed"
      "unchecked"
    ];
    critical = [
      { before = [ ]; }
      { before = [ "web.service" ]; }
    ];
    containerd = [
      { root = "/data/containerd"; }
      { address = null; }
    ];
    stateDir = [ "/data/ociseed" ];
    wait = [
      null
      0
      4294967295
    ];
    takeOver = [ true ];
    readBack = [ true ];
    extraArguments = [ { run = [ "--json" ]; } ];
  };
  bad = {
    seed = [
      "seed.erofs"
      "LABEL="
      "UUID=8d3a1c52"
      7
      null
    ];
    previousSeed = [
      "other"
      [ disk ]
    ];
    package = [
      "ociseed-loader"
      7
    ];
    engines = [
      [ ]
      [ "docker" ]
      "containerd"
    ];
    expectSeed = [
      "sha256:abc"
      (builtins.substring 7 64 digest)
      "${digest}0"
      true
    ];
    trust = [
      "none"
      null
    ];
    critical = [
      { before = "web.service"; }
      { after = [ ]; }
    ];
    containerd = [
      { root = "data"; }
      # Nix would copy it into the store.
      { root = ./.; }
      { address = "/run/a b"; }
      { unit = null; }
    ];
    stateDir = [
      "state"
      "/a b"
    ];
    wait = [
      (-1)
      4294967296
      "30"
    ];
    takeOver = [ "yes" ];
    readBack = [ 1 ];
    extraArguments = [
      { run = "--json"; }
      { status = [ ]; }
    ];
  };

  # What NixOS refuses, and what it warns of, in these words.
  messages =
    let
      of =
        configuration:
        {
          assertions ? [ ],
          warnings ? [ ],
          engines ? true,
          pkgs ? null,
        }:
        {
          inherit
            configuration
            assertions
            warnings
            engines
            pkgs
            ;
        };
      not-mountable =
        option: found:
        "services.ociseed.${option}: expected a seed that can be mounted, as what `disk` made of it with `medium = \"erofs\"`, found ${found}; hint: disk { name = \"appliance\"; medium = \"erofs\"; seed = …; }";
      no-containerd =
        hint:
        "services.ociseed.containerd.unit: expected a unit that is started, found `containerd.service`, without virtualisation.containerd.enable; hint: ${hint}";
      not-started =
        distribution: found: hint:
        "services.ociseed.containerd.unit: expected the unit that services.${distribution} starts, found ${found}; hint: ${hint}, or leave the option out where containerd is a service of its own";
      imports =
        option: found: hint:
        "${option}: expected no images beside services.ociseed, found ${found}, imported anew at every start; hint: ${hint}";
      seeded = seed: [
        plain
        { services.ociseed.seed = mkForce seed; }
      ];
    in
    {
      nothing = of [ plain ] { };
      nothing-without-modules-of-engines = of [ without-engines ] { engines = false; };
      nothing-of-one-that-is-off = of [
        {
          services.ociseed.seed = seed;
          services.k3s = {
            enable = true;
            images = [ (package "a") ];
          };
        }
      ] { };

      the-package-of-pkgs = of [
        plain
        { services.ociseed.package = mkForce loader; }
      ] { pkgs.ociseed-loader = throw "it is not asked for"; };
      no-package =
        of
          [
            {
              services.ociseed = {
                enable = true;
                seed = disk;
              };
              virtualisation.containerd.enable = true;
            }
          ]
          {
            pkgs = { };
            assertions = [
              "services.ociseed.package: expected a package with `bin/ociseed-loader`, found none, since `pkgs` has no `ociseed-loader`; hint: set the option, or add the package to `pkgs` by an overlay"
            ];
          };

      a-disk = of (seeded made) { };
      the-host-form = of (seeded seed) { assertions = [ (not-mountable "seed" "what `seed` made") ]; };
      a-tar = of (seeded (
        build.disk {
          name = "appliance";
          medium = "tar";
          inherit seed;
        }
      )) { assertions = [ (not-mountable "seed" "`appliance.tar`") ]; };
      the-host-form-of-the-other-slot = of [
        plain
        { services.ociseed.previousSeed = seed; }
      ] { assertions = [ (not-mountable "previousSeed" "what `seed` made") ]; };

      no-containerd = of [ without-engines ] {
        assertions = [ (no-containerd "virtualisation.containerd.enable = true") ];
      };
      a-containerd-by-hand = of [
        without-engines
        { systemd.services.containerd.description = "mine"; }
      ] { };
      another-unit = of [
        without-engines
        { services.ociseed.containerd.unit = "my-containerd.service"; }
      ] { };
      k3s-with-its-own =
        of
          [
            without-engines
            { services.k3s.enable = true; }
          ]
          {
            assertions = [
              (no-containerd "virtualisation.containerd.enable = true, or where k3s starts its own services.ociseed.containerd.unit = \"k3s.service\"")
            ];
          };
      rke2-with-its-own =
        of
          [
            without-engines
            {
              services.rke2 = {
                enable = true;
                role = "agent";
              };
            }
          ]
          {
            assertions = [
              (no-containerd "virtualisation.containerd.enable = true, or where rke2 starts its own services.ociseed.containerd.unit = \"rke2-agent.service\"")
            ];
          };
      no-k3s =
        of
          [
            without-engines
            { services.ociseed.containerd.unit = "k3s.service"; }
          ]
          {
            assertions = [
              (not-started "k3s" "`k3s.service`, where it starts none" "services.k3s.enable = true")
            ];
          };
      rke2-in-another-role =
        of
          [
            without-engines
            {
              services.ociseed.containerd.unit = "rke2-agent.service";
              services.rke2.enable = true;
            }
          ]
          {
            assertions = [
              (not-started "rke2" "`rke2-agent.service`, where it starts `rke2-server.service`" "name that one")
            ];
          };
      k3s-that-is-no-option = of [
        without-engines
        { services.ociseed.containerd.unit = "k3s.service"; }
      ] { engines = false; };

      seedDockerImages =
        of
          [
            plain
            {
              services.kubernetes.kubelet = {
                enable = true;
                seedDockerImages = [
                  (package "docker-image-pause.tar.gz")
                  (package "docker-image-web.tar.gz")
                  (package "coredns.tar")
                ];
              };
            }
          ]
          {
            warnings = [
              (imports "services.kubernetes.kubelet.seedDockerImages" "`docker-image-web.tar.gz`, `coredns.tar`"
                "put these images into the seed, `pause` too, and set the option to lib.mkForce [ ]"
              )
            ];
          };
      seedDockerImages-of-kubelet-alone = of [
        plain
        {
          services.kubernetes.kubelet = {
            enable = true;
            seedDockerImages = [ (package "docker-image-pause.tar.gz") ];
          };
        }
      ] { };
      images-of-k3s =
        of (golden.k3s ++ [ { services.k3s.images = [ (package "k3s-airgap-images-amd64.tar.zst") ]; } ])
          {
            warnings = [
              (imports "services.k3s.images" "`k3s-airgap-images-amd64.tar.zst`"
                "put these images into the seed and leave the option out"
              )
            ];
          };
      images-of-rke2 =
        of
          [
            without-engines
            {
              services.ociseed.containerd.unit = "rke2-server.service";
              services.rke2 = {
                enable = true;
                images = mkMerge [
                  (mkIf true [ (package "a") ])
                  [ (package "b") ]
                ];
              };
            }
          ]
          {
            warnings = [
              (imports "services.rke2.images" "`a`, `b`"
                "put these images into the seed and leave the option out"
              )
            ];
          };
    };
}
