//! The platform of an image: operating system, architecture and variant.

use std::fmt;
use std::str::FromStr;

/// A platform as the OCI image specification names it, written `os/architecture[/variant]`.
///
/// The words are those of Go's `GOOS` and `GOARCH` (`linux/amd64`, `linux/arm64/v8`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Says that a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("platform `{found}` is not `os/architecture` or `os/architecture/variant`, as in `linux/amd64`")]
pub struct PlatformError {
    found: String,
}

impl Platform {
    /// Makes a platform of the three fields of an image configuration.
    ///
    /// # Errors
    /// A field that is empty or holds anything but lower-case letters, digits, `.`, `_` and `-`.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Result<Self, PlatformError> {
        let word = |text: &str| {
            !text.is_empty()
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        };
        let parts = [Some(os), Some(architecture), variant];
        if !parts.iter().flatten().all(|part| word(part)) {
            let found = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
            return Err(PlatformError { found });
        }
        Ok(Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(ToOwned::to_owned),
        })
    }

    /// Returns the operating system, as `linux`.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Returns the architecture, as `amd64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the variant, as `v8`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }
}

/// Is `linux/amd64`: what a spec means when it names no platform, on every build machine alike.
impl Default for Platform {
    fn default() -> Self {
        Self { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: None }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError { found: text.to_owned() };
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => Err(error()),
        }
        .map_err(|_| error())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

crate::text::string_form!(
    Platform,
    "Platform",
    "^[a-z0-9._-]+/[a-z0-9._-]+(/[a-z0-9._-]+)?$",
    "A platform: `os/architecture` or `os/architecture/variant`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form() {
        for good in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(good.parse::<Platform>().map(|p| p.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "linux", "linux/", "linux/amd64/", "Linux/amd64", "a/b/c/d"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
