//! Image names, fully qualified.
//!
//! Engines key their records by the exact string and disagree on how to fill
//! in what is missing (`nginx` against `docker.io/library/nginx:latest`), so
//! ociseed takes only names from which nothing is missing: a registry, a
//! repository, and a tag, a digest or both (distribution specification).

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The most bytes of registry and repository, which is what containerd, Docker and podman take (distribution/reference).
const MAX_REPOSITORY: usize = 255;

/// A full image name, `registry/repository[:tag][@digest]` with a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    text: String,
    /// Where the repository ends in `text`.
    repository_end: usize,
    digest: Option<Digest>,
}

/// Says what is wrong with an image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The first part is no registry: it has no `.`, no `:` and is not `localhost`.
    #[error("image name `{0}` has no registry: did you mean `docker.io/{1}`?")]
    NoRegistry(String, String),
    /// The name ends with the repository.
    #[error("image name `{0}` has neither a tag nor a digest: did you mean `{0}:latest`?")]
    NoTag(String),
    /// A part is not spelt as the distribution specification says.
    #[error("image name `{0}`: {1} `{2}` is not valid")]
    Part(String, &'static str, String),
}

impl Reference {
    /// Returns the whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns registry and repository, without tag and digest.
    pub fn repository(&self) -> &str {
        &self.text[..self.repository_end]
    }

    /// Returns the digest, when the name has one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the name by which the same repository's `manifest` is known by content alone.
    pub fn with_digest(&self, manifest: &Digest) -> Self {
        Self {
            text: format!("{}@{manifest}", self.repository()),
            repository_end: self.repository_end,
            digest: Some(*manifest),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let bad = |what, part: &str| ReferenceError::Part(text.to_owned(), what, part.to_owned());
        let (named, digest) = match text.split_once('@') {
            None => (text, None),
            Some((named, digest)) => (named, Some(digest.parse().map_err(|_| bad("digest", digest))?)),
        };
        let (registry, rest) = named.split_once('/').unwrap_or(("", named));
        if !(registry.contains(['.', ':']) || registry == "localhost") {
            let library = if named.contains('/') { "" } else { "library/" };
            return Err(ReferenceError::NoRegistry(text.to_owned(), format!("{library}{text}")));
        }
        if !is_registry(registry) {
            return Err(bad("registry", registry));
        }
        let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
        if let Some(part) = path.split('/').find(|part| !is_path_part(part)) {
            return Err(bad("repository part", part));
        }
        let repository_end = registry.len() + 1 + path.len();
        if repository_end > MAX_REPOSITORY {
            return Err(bad("repository of more than 255 bytes", &text[..repository_end]));
        }
        match tag {
            Some(tag) if !is_tag(tag) => return Err(bad("tag", tag)),
            None if digest.is_none() => return Err(ReferenceError::NoTag(text.to_owned())),
            _ => {}
        }
        Ok(Self { text: text.to_owned(), repository_end, digest })
    }
}

/// A host name or address with an optional port.
fn is_registry(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "1"));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.parse::<u16>().is_ok()
}

/// Lower-case words with `.`, `_`, `__` or any number of `-` between them.
fn is_path_part(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator = String::new();
    let ends = text.bytes().next().is_some_and(word) && text.bytes().last().is_some_and(word);
    ends && text.bytes().all(|b| {
        if word(b) {
            separator.clear();
            return true;
        }
        separator.push(b as char);
        matches!(separator.as_str(), "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    })
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

crate::text::string_form!(
    Reference,
    "Reference",
    "^[^/]+/.+[:@].+$",
    "A full image name: registry, repository, and a tag, a digest or both."
);

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn full_names_are_taken_as_they_are() {
        let both = format!("r.io/a/b:1@{DIGEST}");
        for good in ["docker.io/library/web:1", "localhost/x:a_b.C-1", "r:5000/a__b/c--d.e:1", &both] {
            let name: Reference = good.parse().expect(good);
            assert_eq!(name.as_str(), good);
        }
        let name: Reference = "r:5000/a/b:1".parse().expect("good");
        assert_eq!(name.repository(), "r:5000/a/b");
        let by_digest = name.with_digest(&Digest::of(b""));
        assert_eq!(by_digest.as_str(), format!("r:5000/a/b@{DIGEST}"));
        assert_eq!(by_digest.as_str().parse(), Ok(by_digest));
    }

    #[test]
    fn what_is_missing_is_named() {
        let hints = [
            ("nginx:1", "did you mean `docker.io/library/nginx:1`?"),
            ("library/nginx:1", "did you mean `docker.io/library/nginx:1`?"),
            ("docker.io/library/nginx", "did you mean `docker.io/library/nginx:latest`?"),
        ];
        for (bad, hint) in hints {
            let message = bad.parse::<Reference>().expect_err(bad).to_string();
            assert!(message.ends_with(hint), "{message}");
        }
        for bad in [
            "",
            "r.io/A:1",
            "r.io/a:",
            "r.io/a//b:1",
            "r.io/a_-b:1",
            "r.io/a:-x",
            "r.io/a@sha256:0",
            "-.io/a:1",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
