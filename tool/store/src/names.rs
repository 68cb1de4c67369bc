//! Names as people and Docker write them.

/// Fills in what a familiar name leaves out: `debian` is `docker.io/library/debian:latest`.
///
/// A text that is no name stays one.
pub fn full_name(familiar: &str) -> String {
    let (named, digest) =
        familiar.split_once('@').map_or((familiar, None), |(name, digest)| (name, Some(digest)));
    let (registry, path) = match named.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", named),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    let library = if registry == "docker.io" && !path.contains('/') { "library/" } else { "" };
    let tag = if path.contains(':') || digest.is_some() { "" } else { ":latest" };
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    format!("{registry}/{library}{path}{tag}{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        for (familiar, full) in [
            ("debian", "docker.io/library/debian:latest"),
            ("debian:13", "docker.io/library/debian:13"),
            ("docker.io/debian:13", "docker.io/library/debian:13"),
            ("index.docker.io/me/web", "docker.io/me/web:latest"),
            ("me/web:1", "docker.io/me/web:1"),
            ("localhost/web:1", "localhost/web:1"),
            ("r:5000/web", "r:5000/web:latest"),
            ("debian@sha256:00", "docker.io/library/debian@sha256:00"),
            ("example.org/a/b:1@sha256:00", "example.org/a/b:1@sha256:00"),
        ] {
            assert_eq!(full_name(familiar), full);
        }
    }
}
