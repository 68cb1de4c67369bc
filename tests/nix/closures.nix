# Store paths that refer to each other, and layers, plans and images of them.
{
  ociseed,
  # A static busybox.
  busybox,
  # What the program prints; what is not in any path.
  greeting ? "hello",
  comment ? "",
  # What the name of a path in the middle ends with.
  version ? "1",
  # The plan of an earlier version.
  previous ? null,
  # Layer metadata of `pinned`.
  pin ? null,
  ca ? false,
}:

let
  build = import ../../nix { inherit ca ociseed; };

  box = import ./busybox.nix busybox;
  inherit (box) sh;
  package = name: box.package name { inherit comment; };
  # A file that names others, as libraries name what they need.
  library =
    name: needs:
    package name "${sh} mkdir -p $out/lib && echo ${name} ${toString needs} > $out/lib/names";
in
rec {
  libc = library "libc-2.40" [ ];
  ssl = library "ssl-${version}" [ libc ];
  zlib = library "zlib-1.3" [ libc ];
  http = library "http-4" [
    ssl
    zlib
  ];
  # A store path that is a link, and one that is a file.
  alias = package "alias" "${sh} ln -s ${http} $out";
  data = package "data" "echo data of ${libc} > $out";
  shell = package "shell" "${sh} mkdir -p $out/bin && ${sh} cp ${sh} $out/bin/sh && ${sh} chmod 755 $out/bin/sh";
  app = package "app-1.0" ''
    ${sh} mkdir -p $out/bin
    echo "#!${shell}/bin/sh
    echo ${greeting} of $out with ${alias} and ${data}" > $out/bin/app
    ${sh} chmod 755 $out/bin/app
  '';

  # What Nix tells a builder of a closure, as `ociseed build` can read it, too; no program of ours wrote it.
  graph-of =
    closure: below:
    derivation {
      name = "graph.json";
      system = builtins.currentSystem;
      builder = sh;
      args = [
        "cp"
        ".attrs.json"
        (placeholder "out")
      ];
      __structuredAttrs = true;
      exportReferencesGraph = {
        inherit closure below;
      };
    };
  graph = graph-of [ app ] [ ];
  upper-graph = graph-of [ app ] [ http ];

  # By lists: what most changes least lies lowest.
  lists = build.closureLayers {
    name = "lists";
    layers = [
      [ http ]
      [
        shell
        data
      ]
      {
        paths = [ app ];
        compression = "gzip";
        set = [
          {
            path = "**/bin/app";
            mode = "4755";
            owner = "1:2";
            capabilities = "cap_net_bind_service=ep";
            xattrs."user.origin" = "nix";
          }
        ];
      }
    ];
  };
  bottom = builtins.elemAt lists 0;
  middle = builtins.elemAt lists 1;
  top = builtins.elemAt lists 2;

  links = build.layer {
    name = "links";
    add = [
      {
        symlink = "${app}/bin/app";
        to = "/bin/app";
      }
    ];
  };
  database = build.closureDatabase {
    name = "database";
    paths = [ app ];
  };
  image = build.image {
    name = "app";
    layers = lists ++ [
      links
      database
    ];
    entrypoint = [ "/bin/app" ];
  };
  disk = build.disk {
    name = "app";
    medium = "tar";
    inherit image;
  };
  bundle = build.bundle {
    name = "app";
    format = "layout";
    images."example.org/app:1" = image;
  };
  # An image that shares nothing with the others.
  other = build.image {
    name = "other";
    layers = [ plain ];
  };
  # In which all that it names can be read.
  plain = builtins.head (
    build.closureLayers {
      name = "plain";
      compression = "none";
      layers = [ [ zlib ] ];
    }
  );

  plan = build.closurePlan {
    name = "popular";
    paths = [ app ];
    max-layers = 4;
    inherit previous;
  };
  balanced-plan = build.closurePlan {
    name = "balanced";
    paths = [ app ];
    policy = "balanced";
    max-layers = 3;
  };
  planned =
    arguments:
    build.image {
      name = "planned";
      layers = build.closureLayers (
        {
          name = "part";
          paths = [ app ];
          max-layers = 4;
          inherit previous;
        }
        // arguments
      );
    };
  popular = planned { };
  # More layers than there are paths.
  spread = planned { max-layers = 12; };
  balanced = planned {
    policy = "balanced";
    max-layers = 3;
  };
  # The same, each layer of its own paths.
  imported = planned { import-plan = true; };

  check = build.closureCheck {
    name = "check";
    paths = [ app ];
    disallow = [
      "gcc-*"
      (library "never-built" [ ])
    ];
    max-size = 100000000;
  };
  disallowed = build.closureCheck {
    name = "disallowed";
    paths = [ app ];
    disallow = [ ssl ];
  };
  too-large = build.closureLayers {
    name = "large";
    paths = [ app ];
    max-layers = 1;
    max-size = 1000;
  };

  pinned = build.layer {
    name = "pinned";
    add = [
      {
        text = "pinned\n";
        to = "/pinned";
      }
      {
        # Another path, the same bytes.
        file = package "file-${builtins.hashString "sha256" comment}" "echo the same > $out";
        to = "/file";
      }
    ];
    inherit pin;
  };
  over-pinned = build.bundle {
    name = "over-pinned";
    format = "layout";
    images."example.org/pinned:1" = build.image {
      name = "pinned-image";
      layers = [ pinned ];
    };
  };
}
