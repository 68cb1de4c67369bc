# `importImage`: an image that something else made, with its manifest as it is, byte for byte.
{ image, values }:

{
  # The image's name; no byte of the image depends on it.
  name,
  # An OCI image layout, as nix2container's `copyTo` or `skopeo copy … oci:` write it: a path or a derivation's output.
  layout ? null,
  # A tar of an image layout, or what `docker save` and dockerTools' `buildImage` write.
  archive ? null,
  # Name or digest of the image, where there are several.
  reference ? null,
  # Which image to take of an index: `os/architecture[/variant]`.
  platform ? null,
}:

image {
  inherit name platform;
  base = values.given { inherit layout archive reference; };
}
