# cases.toml with Nix, and cases that only Nix has.
{
  # The builder and the examples' server, as for examples/hello.
  ociseed,
  server,
  # A Debian package.
  deb,
}:

let
  build = import ../../nix { inherit ociseed; };
  hello = import ../../examples/hello { inherit ociseed server; };
  layout = hello.bundle-layout;
  folder = builtins.path {
    name = "folder";
    path = ./. + "/a tree";
  };
in
rec {
  tree = build.layer {
    name = "tree";
    compression.zstd = 19;
    add = [
      {
        dir = ./. + "/a tree";
        to = "/opt";
        owner = "7:8";
      }
      {
        file = ./. + "/a tree/sub/run";
        to = "/bin/run";
      }
    ];
  };

  # `tree` again: names, the order of keys and how a path is given must not matter.
  renamed = build.layer {
    name = "another-name";
    add = [
      {
        to = "/opt";
        owner = "7:8";
        dir = folder;
      }
      {
        to = "/bin/run";
        file = "${folder}/sub/run";
      }
    ];
    compression.zstd = 19;
  };

  plain = build.layer {
    name = "plain";
    compression = "none";
    add = [
      { dir = ./. + "/a tree"; }
      {
        text = "x";
        to = "/text";
        owner = "33:33";
      }
    ];
  };

  scratch = build.image {
    name = "scratch";
    platform = "linux/arm64/v8";
    layers = [
      plain
      tree
    ];
  };

  over = build.image {
    name = "over";
    base = {
      inherit layout;
      reference = "docker.io/library/hello:1";
    };
    layers = [ tree ];
    cmd = [ ];
    env = {
      B = "2";
      A = "1";
    };
    volumes = [ "/var/empty" ];
    stop-signal = "SIGQUIT";
  };

  same = build.image {
    name = "same";
    base = { inherit layout; };
  };

  bundle = build.bundle {
    name = "all";
    format = "layout";
    images = {
      "example.org/over:1" = over;
      "example.org/same:1" = same;
      "example.org/scratch:1" = scratch;
    };
  };

  seed = build.seed {
    name = "all";
    image = [
      {
        image = over;
        name = "example.org/over:1";
      }
      {
        image = scratch;
        name = "example.org/scratch:1";
        class = "background";
        pin = false;
      }
      {
        image = scratch;
        name = "example.org/again:1";
        namespaces = [
          "k8s.io"
          "other"
        ];
      }
    ];
  };

  # Of an archive, a package and another layer, changed by rules.
  packed = build.layer {
    name = "packed";
    compression = "gzip";
    add = [
      {
        tar = hello.layer;
        include = [ "srv" ];
        strip = 1;
        to = "/page";
      }
      {
        deb = [ deb ];
        exclude = [ "left-out" ];
      }
      { layer = plain; }
      { whiteout = "/gone"; }
    ];
    set = [
      {
        path = "text";
        mode = "0600";
        owner = "1:2";
      }
    ];
  };

  alone = build.layer {
    name = "alone";
    compression.gzip = 12;
    add = [
      {
        inherit deb;
        status = false;
      }
    ];
  };

  imported = build.importImage {
    name = "imported";
    archive = hello.bundle;
    reference = "docker.io/library/hello:1";
  };

  over-imported = build.image {
    name = "over-imported";
    base.image = imported;
    layers = [
      packed
      tree
    ];
    annotations."org.example.a" = "b";
    author = "nobody";
    created = "2026-01-31T12:00:00Z";
    history = [
      { created-by = "one"; }
      { comment = "two"; }
    ];
    media-types = "oci";
  };

  platforms = build.index {
    name = "platforms";
    images = [
      over
      scratch
    ];
    annotations."org.example.a" = "b";
  };

  both = build.bundle {
    name = "both";
    format = "layout";
    images."example.org/imported:1" = over-imported;
    indexes."example.org/platforms:1" = platforms;
  };

  imported-index = build.index {
    name = "imported-index";
    base = {
      layout = both;
      reference = "example.org/platforms:1";
    };
  };

  gzipped = build.image {
    name = "gzipped";
    layers = [
      packed
      alone
    ];
  };

  docker = build.bundle {
    name = "docker";
    format = "docker-archive";
    images."example.org/gzipped:1" = gzipped;
  };

  again = build.bundle {
    name = "again";
    format = "oci-archive";
    indexes."example.org/again:1" = imported-index;
    referrers = false;
  };

  stocked = build.seed {
    name = "stocked";
    stores = [
      "archives"
      "containerd"
    ];
    blobs = "metadata";
    archives = {
      form = "directory";
      root = "/preseed";
    };
    containerd = {
      root = "/data/containerd";
      version = "2.1";
    };
    image = [
      {
        image = over-imported;
        name = "example.org/imported:1";
        file = "page";
      }
      {
        image = over;
        name = "example.org/over:1";
      }
    ];
  };

  preseed = build.store {
    name = "preseed";
    engine = "archives";
    seed = stocked;
  };

  tars = build.store {
    name = "tars";
    engine = "archives";
    inherit seed;
  };

  root = build.store {
    name = "root";
    engine = "containerd";
    seed = stocked;
  };

  seed-disk = build.disk {
    name = "seed-disk";
    medium = "erofs";
    seed = stocked;
    compression.lz4 = 9;
    label = "ociseed";
    uuid = "8d3a1c52-3c6f-4d8e-9b1a-0c2f4e6a8b0d";
  };

  store-disk = build.disk {
    name = "store-disk";
    medium = "tar";
    store = root;
  };

  archives-disk = build.disk {
    name = "archives-disk";
    medium = "cpio";
    store = preseed;
  };

  image-disk = build.disk {
    name = "image-disk";
    medium = "tar";
    image = over-imported;
  };

  layer-disk = build.disk {
    name = "layer-disk";
    medium = "erofs";
    layer = tree;
  };

  # An uncompressed blob in which two store paths stand: one of a build input,
  # as content of a file, and one of a derivation, as text.
  naming = build.layer {
    name = "naming";
    compression = "none";
    add = [
      {
        file = builtins.toFile "names-an-input" "${
          builtins.path {
            name = "ociseed";
            path = ociseed;
          }
        }\n";
        to = "/input";
      }
      {
        text = "${hello.layer}\n";
        to = "/derivation";
      }
    ];
  };
}
