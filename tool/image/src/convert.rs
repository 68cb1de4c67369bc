//! Docker's media types and what OCI calls the same.

use ociseed_spec::media_type;

use crate::descriptor::Descriptor;
use crate::record::Image;

/// Docker's media types of layers and OCI's of the same bytes. "Foreign" ones are Windows' own, which registries do not hold.
const LAYERS: [(&str, &str); 5] = [
    (media_type::DOCKER_LAYER_TAR, media_type::LAYER_TAR),
    (media_type::DOCKER_LAYER_TAR_GZIP, media_type::LAYER_TAR_GZIP),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", media_type::LAYER_TAR_ZSTD),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
];

/// Tells whether an image has something of Docker's to convert.
pub(crate) fn has_docker_types(image: &Image) -> bool {
    let manifest = image.manifest_document();
    image.record().media_type == media_type::DOCKER_MANIFEST
        || manifest.config().blob().media_type == media_type::DOCKER_CONFIG
        || manifest.layers().iter().any(|layer| oci_type(&layer.blob().media_type).is_some())
}

/// Calls a layer as OCI does.
pub(crate) fn to_oci(layer: &mut Descriptor) {
    if let Some(oci) = oci_type(&layer.blob().media_type) {
        layer.set_media_type(oci);
    }
}

fn oci_type(media_type: &str) -> Option<&'static str> {
    LAYERS.iter().find(|(docker, _)| *docker == media_type).map(|(_, oci)| *oci)
}
