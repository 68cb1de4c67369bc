# Two images that share a layer, one image that shares nothing, and all that is made of them: what is built again after an
# edit is counted.
{
  ociseed,
  # A directory with `base`, `app` and `other`, what the layers are of.
  files,
  title ? "web",
}:

let
  build = import ../../nix { inherit ociseed; };
  layer =
    name:
    build.layer {
      inherit name;
      add = [ { dir = files + "/${name}"; } ];
    };
  base = layer "base";
  app = layer "app";
  web = build.image {
    name = "web";
    layers = [
      base
      app
    ];
    labels."org.opencontainers.image.title" = title;
  };
  tools = build.image {
    name = "tools";
    layers = [ base ];
  };
  other = build.image {
    name = "other";
    layers = [ (layer "other") ];
  };
  seed = build.seed {
    name = "seed";
    stores = [ "containerd" ];
    image = [
      {
        image = web;
        name = "example.org/web:1";
      }
      {
        image = tools;
        name = "example.org/tools:1";
      }
    ];
  };
in
{
  inherit seed;

  bundle = build.bundle {
    name = "bundle";
    format = "layout";
    images."example.org/web:1" = web;
  };
  tools-bundle = build.bundle {
    name = "tools-bundle";
    format = "layout";
    images."example.org/tools:1" = tools;
  };
  store = build.store {
    name = "store";
    engine = "containerd";
    inherit seed;
  };
  disk = build.disk {
    name = "disk";
    medium = "erofs";
    inherit seed;
  };
  other-bundle = build.bundle {
    name = "other-bundle";
    format = "layout";
    images."example.org/other:1" = other;
  };
}
