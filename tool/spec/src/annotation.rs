//! Annotation keys of descriptors, in one place.

/// The name of a manifest in an image layout's index (OCI image specification, "Annotations").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The full image name that containerd and Docker read from an archive's index.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";
