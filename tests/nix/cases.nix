# cases.toml with Nix, and cases that only Nix has.
{
  # The builder and the examples' server, as for examples/hello.
  ociseed,
  server,
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
