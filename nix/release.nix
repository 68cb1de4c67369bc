# The programs of a release, by the address and digest of its archive (releases.json): no nixpkgs, no compiler.
{
  system,
  # What releases.json says: sets with `version`, `url` and `sha256` by system.
  releases ? builtins.fromJSON (builtins.readFile ./releases.json),
}:

let
  values = import ./values.nix;
  release = releases.${system};

  # Nix's own builders, which run on any system. (`name` is part of the output's path, the address is not.)
  archive = derivation {
    name = "ociseed.tar.gz";
    system = "builtin";
    builder = "builtin:fetchurl";
    inherit (release) url;
    outputHashMode = "flat";
    outputHashAlgo = "sha256";
    outputHash = release.sha256;
    preferLocalBuild = true;
    impureEnvVars = [
      "http_proxy"
      "https_proxy"
      "ftp_proxy"
      "all_proxy"
      "no_proxy"
    ];
  };
  unpack =
    name: directory: src:
    derivation {
      inherit name src;
      system = "builtin";
      builder = "builtin:unpack-channel";
      # What the one directory in it is called afterwards.
      channelName = directory;
      preferLocalBuild = true;
    };
  unpacked = unpack "ociseed-release-${release.version}" "ociseed" archive;
  program = name: "${unpacked}/ociseed/bin/${name}";

  build = import ./. {
    inherit system;
    ociseed = program "ociseed";
  };

  # A package with some of the programs: a layer of them, unpacked. So whoever has the loader alone in an OS image has no
  # builder there.
  package =
    pname: description: programs:
    unpack "${pname}-${release.version}" "bin" (
      build.layer {
        name = pname;
        compression = "none";
        add = map (name: {
          file = program name;
          to = "/bin/${name}";
          mode = "0755";
        }) programs;
      }
    )
    // {
      inherit pname;
      inherit (release) version;
      meta = {
        inherit description;
        mainProgram = builtins.head programs;
      };
    };
in
{
  # The packages by name; none where there is no release for the system.
  packages =
    if releases ? ${system} then
      rec {
        default = ociseed;
        ociseed = package "ociseed" "Stocks an OS image with container images before it ever boots" [
          "ociseed"
        ];
        ociseed-loader =
          package "ociseed-loader" "Brings a container engine to what a seed says, at every boot"
            [ "ociseed-loader" ];
        static = package "ociseed-static" "All programs of ociseed" [
          "ociseed"
          "ociseed-load"
          "ociseed-loader"
        ];
      }
    else
      { };

  # The builder, for the functions of default.nix.
  tool =
    if releases ? ${system} then
      program "ociseed"
    else
      values.fail "ociseed" "expected this argument, as nix/releases.json names no release for ${system}; nix/lock-releases writes one that does";
}
