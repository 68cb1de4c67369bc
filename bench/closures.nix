# An image of a closure, in three ways: layers by lists, by a plan, and by a plan that evaluation reads.
{
  ociseed,
  # A static busybox.
  busybox,
  # A list for each package: the numbers of those that it refers to.
  graph,
  # The store paths with what is in each package, JSON.
  contents,
  # What an edit changes.
  edit ? "0",
}:

let
  build = import ../nix { inherit ociseed; };
  box = import ../tests/nix/busybox.nix busybox;
  inherit (box) sh;
  package = name: box.package name { };

  references = builtins.fromJSON (builtins.readFile graph);
  content = map builtins.storePath (builtins.fromJSON (builtins.readFile contents));
  packages = builtins.genList (
    number:
    let
      needs = map (builtins.elemAt packages) (builtins.elemAt references number);
    in
    package "package-${toString number}" ''
      ${sh} cp -r ${builtins.elemAt content number} $out
      ${sh} chmod u+w $out
      echo ${toString needs} > $out/needs
    ''
  ) (builtins.length references);
  app = package "app" ''
    ${sh} mkdir -p $out
    echo "${edit} ${toString packages}" > $out/app
  '';

  image =
    name: arguments:
    build.bundle {
      inherit name;
      format = "layout";
      images."example.org/closure:1" = build.image {
        inherit name;
        layers = build.closureLayers (arguments // { inherit name; });
      };
    };
  layers = 31;
  each = 10;
in
{
  inherit packages;

  # Ten packages a layer, what others need below; then the program.
  lists = image "lists" {
    layers =
      builtins.genList (
        layer: builtins.genList (number: builtins.elemAt packages (layer * each + number)) each
      ) (builtins.length packages / each)
      ++ [ [ app ] ];
  };
  plan = image "plan" {
    paths = [ app ];
    max-layers = layers;
  };
  imported = image "imported" {
    paths = [ app ];
    max-layers = layers;
    import-plan = true;
  };
}
