# What is wrong, or looks wrong, with a configuration of `services.ociseed`, as NixOS' `assertions` and `warnings`.
{
  config,
  lib,
  options,
  # What runs containerd in itself, as the module has it, or null.
  embedded,
}:

let
  cfg = config.services.ociseed;
  distributions = [
    "k3s"
    "rke2"
  ];

  message =
    option: expected: found: hint:
    "services.ociseed.${option}: expected ${expected}, found ${found}; hint: ${hint}";

  # What the functions of nix/ made says so. A store path, a device or a directory may be anything.
  isDisk = lib.hasSuffix ".erofs";
  seed =
    option: value:
    let
      kind = value.ociseed-kind or null;
      found = if kind == "disk" then "`${value.name}`" else "what `${kind}` made";
    in
    {
      assertion = kind == null || (kind == "disk" && isDisk value.name);
      message =
        message option "a seed that can be mounted, as what `disk` made of it with `medium = \"erofs\"`"
          found
          "disk { name = \"appliance\"; medium = \"erofs\"; seed = …; }";
    };

  # The unit in which a distribution of Kubernetes starts its containerd, null where none is started.
  starts =
    name:
    if !(config.services.${name}.enable or false) then
      null
    else if name == "rke2" then
      "rke2-${config.services.rke2.role}.service"
    else
      "${name}.service";
  # Where there is no option that could tell, nothing is said.
  unit =
    if embedded != null then
      let
        inherit (embedded) distribution;
        started = starts distribution;
      in
      {
        assertion = !(options ? services.${distribution}) || started == cfg.containerd.unit;
        message =
          message "containerd.unit" "the unit that services.${distribution} starts"
            "`${cfg.containerd.unit}`, where it starts ${if started == null then "none" else "`${started}`"}"
            "${
              if started == null then "services.${distribution}.enable = true" else "name that one"
            }, or leave the option out where containerd is a service of its own";
      }
    else
      let
        started = builtins.filter (name: starts name != null) distributions;
        own = name: "where ${name} starts its own services.ociseed.containerd.unit = \"${starts name}\"";
      in
      {
        assertion =
          cfg.containerd.unit != "containerd.service"
          || config.virtualisation.containerd.enable or true
          || config.systemd.services ? containerd;
        message =
          message "containerd.unit" "a unit that is started"
            "`containerd.service`, without virtualisation.containerd.enable"
            (
              builtins.concatStringsSep ", or " ([ "virtualisation.containerd.enable = true" ] ++ map own started)
            );
      };

  # Where others import images at every start, which the seed makes needless. These go on, so it is no error: images
  # that are not in the seed may come from there.
  names = map (image: image.name or (baseNameOf "${image}"));
  imported =
    option: images: hint:
    lib.optional (images != [ ])
      "${option}: expected no images beside services.ociseed, found ${
        builtins.concatStringsSep ", " (map (name: "`${name}`") (names images))
      }, imported anew at every start; hint: ${hint}";
  ofDistribution =
    name:
    lib.optionals (options ? services.${name}.images && config.services.${name}.enable) (
      imported "services.${name}.images" config.services.${name}.images
        "put these images into the seed and leave the option out"
    );
in
{
  assertions = [
    {
      assertion = cfg.package != null;
      message =
        message "package" "a package with `bin/ociseed-loader`" "none, since `pkgs` has no `ociseed-loader`"
          "set the option, or add the package to `pkgs` by an overlay";
    }
    (seed "seed" cfg.seed)
    (seed "previousSeed" cfg.previousSeed)
    unit
  ];

  warnings =
    lib.optionals
      (
        options ? services.kubernetes.kubelet.seedDockerImages && config.services.kubernetes.kubelet.enable
      )
      (
        imported "services.kubernetes.kubelet.seedDockerImages"
          # kubelet's own module puts its pause image there, whatever anybody says.
          (builtins.filter (
            image: !lib.hasPrefix "docker-image-pause." (builtins.head (names [ image ]))
          ) config.services.kubernetes.kubelet.seedDockerImages)
          "put these images into the seed, `pause` too, and set the option to lib.mkForce [ ]"
      )
    ++ builtins.concatMap ofDistribution distributions;
}
