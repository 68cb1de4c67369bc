# The images of ociseed.toml with Nix: the same bytes of everything.
#
#   nix-build examples/nginx --arg ociseed PATH --arg packages ./examples/nginx/work/debs
{
  # The builder, a static program.
  ociseed,
  # The directory where `fetch` put the packages.
  packages ? ./work/debs,
  system ? builtins.currentSystem,
}:

let
  build = import ../../nix { inherit ociseed system; };
  lock = builtins.fromJSON (builtins.readFile ./packages.lock);

  # The packages of a layer, each of which must be the locked one.
  debs =
    layer:
    map (
      package:
      builtins.path {
        name = "package.deb";
        path = packages + "/${package.file}";
        recursive = false;
        inherit (package) sha256;
      }
    ) (builtins.filter (package: package.layer == layer) lock.packages);

  # Manuals, translations and documentation but for the copyright files.
  left-out = [
    "usr/share/{doc-base,info,lintian,locale,man}"
    "usr/share/doc/*/[!c]*"
    "usr/share/doc/*/changelog*"
  ];
  env = {
    LANG = "C.UTF-8";
    PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  };
  titled = name: version: {
    "org.opencontainers.image.title" = name;
    "org.opencontainers.image.version" = version;
  };
in
rec {
  base = build.layer {
    name = "base";
    add = [
      # base-files ships /var/run and /var/lock as directories and makes links of them when it is installed.
      {
        deb = debs "base";
        exclude = left-out ++ [ "var/{lock,run}" ];
      }
      # What the maintainer scripts of these packages would have made.
      {
        text = ''
          root:*:0:0:root:/root:/bin/sh
          www-data:*:33:33:www-data:/var/www:/usr/sbin/nologin
          nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
        '';
        to = "/etc/passwd";
      }
      {
        text = ''
          root:*:0:
          tty:*:5:
          www-data:*:33:
          nogroup:*:65534:
        '';
        to = "/etc/group";
      }
      {
        text = ''
          passwd: files
          group: files
          hosts: files dns
          networks: files
          protocols: files
          services: files
        '';
        to = "/etc/nsswitch.conf";
      }
      {
        symlink = "mawk";
        to = "/usr/bin/awk";
      }
      {
        symlink = "which.debianutils";
        to = "/usr/bin/which";
      }
      {
        symlink = "/run";
        to = "/var/run";
      }
      {
        symlink = "/run/lock";
        to = "/var/lock";
      }
      {
        mkdir = "/run/lock";
        mode = "1777";
      }
    ];
  };

  server = build.layer {
    name = "nginx";
    add = [
      {
        deb = debs "nginx";
        exclude = left-out;
      }
    ]
    # The server runs as www-data from the start, so these two are all that it can write besides /tmp.
    ++
      map
        (mkdir: {
          inherit mkdir;
          owner = "33:33";
          mode = "0750";
        })
        [
          "/var/lib/nginx"
          "/var/log/nginx"
        ];
  };

  site = build.layer {
    name = "site";
    add = [
      {
        file = ./nginx.conf;
        to = "/etc/nginx/nginx.conf";
        mode = "0644";
        owner = "0:0";
      }
      {
        dir = ./public;
        to = "/srv/www";
      }
    ];
  };

  debian = build.image {
    name = "debian";
    platform = "linux/amd64";
    layers = [ base ];
    cmd = [ "/bin/sh" ];
    labels = titled "debian" "13";
    inherit env;
  };

  nginx = build.image {
    name = "nginx";
    platform = "linux/amd64";
    layers = [
      base
      server
      site
    ];
    entrypoint = [ "/usr/sbin/nginx" ];
    # -e: without it nginx opens the log path that is compiled in before it reads its configuration.
    cmd = [
      "-e"
      "stderr"
      "-c"
      "/etc/nginx/nginx.conf"
    ];
    working-dir = "/srv/www";
    user = "33:33";
    exposed-ports = [ "8080/tcp" ];
    # Finishes the requests it has; SIGTERM would cut them off.
    stop-signal = "SIGQUIT";
    labels = titled "nginx" "1";
    inherit env;
  };

  bundle = build.bundle {
    name = "nginx";
    format = "oci-archive";
    images."docker.io/library/nginx:1" = nginx;
  };

  seed = build.seed {
    name = "appliance";
    stores = [ "archives" ];
    archives.root = "/containerd/preseed";
    image = [
      {
        image = nginx;
        name = "docker.io/library/nginx:1";
        namespaces = [ "k8s.io" ];
        class = "critical";
        pin = true;
      }
      {
        image = debian;
        name = "docker.io/library/debian:13";
        namespaces = [
          "k8s.io"
          "default"
        ];
        class = "background";
      }
    ];
  };

  preseed = build.store {
    name = "preseed";
    engine = "archives";
    inherit seed;
  };

  # The same seed with its layers unpacked, as a file system for a partition of the OS image.
  disk = build.disk {
    name = "appliance";
    medium = "erofs";
    label = "ociseed";
    inherit seed;
  };
}
