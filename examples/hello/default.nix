# The image of ociseed.toml with Nix: the same bytes of everything.
#
#   nix-build examples/hello --arg ociseed PATH --arg server PATH
{
  # The builder and the example's own server, both static programs that cargo made.
  ociseed,
  server,
  system ? builtins.currentSystem,
}:

let
  build = import ../../nix { inherit ociseed system; };
  images."docker.io/library/hello:1" = image;

  layer = build.layer {
    name = "app";
    add = [
      {
        file = server;
        to = "/usr/bin/hello-server";
        mode = "0755";
      }
      {
        file = ./index.html;
        to = "/srv/index.html";
      }
      {
        text = "nobody:x:65534:65534:nobody:/:/usr/bin/hello-server\n";
        to = "/etc/passwd";
      }
      {
        symlink = "/usr/bin/hello-server";
        to = "/init";
      }
      {
        mkdir = "/var/empty";
        mode = "0555";
      }
    ];
  };

  image = build.image {
    name = "hello";
    layers = [ layer ];
    entrypoint = [
      "/usr/bin/hello-server"
      "/srv/index.html"
    ];
    cmd = [ "127.0.0.1:8080" ];
    env.LANG = "C.UTF-8";
    user = "65534:65534";
    working-dir = "/var/empty";
    exposed-ports = [ "8080/tcp" ];
    labels."org.opencontainers.image.title" = "hello";
  };

  seed = build.seed {
    name = "appliance";
    stores = [ "archives" ];
    image = [
      {
        inherit image;
        name = "docker.io/library/hello:1";
        namespaces = [ "k8s.io" ];
        class = "critical";
        pin = true;
      }
    ];
  };
in
{
  inherit layer image seed;

  bundle = build.bundle {
    name = "hello";
    format = "oci-archive";
    inherit images;
  };

  bundle-layout = build.bundle {
    name = "hello-layout";
    format = "layout";
    inherit images;
  };

  preseed = build.store {
    name = "preseed";
    engine = "archives";
    inherit seed;
  };

  # The same seed with its layer unpacked, as a file system for a partition of the OS image.
  disk = build.disk {
    name = "appliance";
    medium = "erofs";
    label = "ociseed";
    inherit seed;
  };
}
