# A disk with one image. As `/dev/disk/by-label/seed` on the target it is all that containerd needs:
#
#   ociseed-loader place --seed LABEL=seed
{
  ociseed,
  program,
}:

let
  app = ociseed.layer {
    name = "app";
    add = [
      {
        file = program;
        to = "/bin/app";
        mode = "0755";
      }
      {
        text = "nobody:x:65534:65534:nobody:/:/bin/app\n";
        to = "/etc/passwd";
      }
    ];
  };

  image = ociseed.image {
    name = "app";
    layers = [ app ];
    entrypoint = [ "/bin/app" ];
    cmd = [ "--version" ];
    user = "65534:65534";
  };

  seed = ociseed.seed {
    name = "appliance";
    stores = [ "containerd" ];
    image = [
      {
        inherit image;
        name = "example.org/app:1";
        namespaces = [ "k8s.io" ];
        class = "critical";
      }
    ];
  };
in
ociseed.disk {
  name = "appliance";
  medium = "erofs";
  label = "seed";
  inherit seed;
}
