# What the blocks of docs/nix/guide.md speak of.
{
  ociseed,
  # Where nix/ is.
  checkout,
  busybox,
}:

rec {
  build = import (checkout + "/nix") { inherit ociseed; };

  # Small packages by the names of nixpkgs.
  pkgs = rec {
    openssl = package "openssl-3.5.0" "";
    bash = package "bash-5.3" "";
    nginx = package "nginx-1.28.0" "${openssl}";
    app = package "app-1.0" "${bash} ${nginx}";
  };
  box = import (checkout + "/tests/nix/busybox.nix") busybox;
  inherit (box) sh;
  package =
    name: needs:
    box.package name { }
      "${sh} mkdir -p $out/bin && echo ${name} ${needs} > $out/bin/app && ${sh} chmod 755 $out/bin/app";

  plan = build.closurePlan {
    name = "plan";
    paths = [ pkgs.app ];
  };
  # Of blocks before.
  web = build.image {
    name = "web";
    layers = build.closureLayers {
      name = "web";
      paths = [ pkgs.nginx ];
      compression = "gzip";
    };
  };
  archive = build.bundle {
    name = "web";
    format = "docker-archive";
    images."docker.io/library/web:1" = web;
  };
}
