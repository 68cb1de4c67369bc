//! What became of the images.

use ociseed_spec::Digest;
use ociseed_spec::lock::Class;
use serde::Serialize;

use crate::source::{Refused, Wanted};
use crate::talk::Priority;

/// What became of one image in one namespace; of several the last counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Nothing was changed.
    Settled,
    /// Labels or the target of a record of ours were changed.
    Updated,
    /// A blob that should have been there was absent or wrong.
    Repaired,
    /// A record was made.
    Added,
    /// A foreign record kept one of the names.
    Conflict,
    /// The image is not as the seed says.
    Failed,
}

impl Outcome {
    pub(super) const ALL: [Self; 6] =
        [Self::Settled, Self::Updated, Self::Repaired, Self::Added, Self::Conflict, Self::Failed];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Updated => "updated",
            Self::Repaired => "repaired",
            Self::Added => "added",
            Self::Conflict => "conflict",
            Self::Failed => "failed",
        }
    }

    fn priority(self) -> Priority {
        match self {
            Self::Settled | Self::Updated | Self::Added => Priority::Info,
            Self::Repaired => Priority::Notice,
            Self::Conflict => Priority::Warning,
            Self::Failed => Priority::Error,
        }
    }
}

/// What was done for one image in one namespace.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageReport {
    /// The first name; none when an archive was refused.
    pub(crate) name: Option<String>,
    /// The namespace.
    pub(crate) namespace: String,
    /// The manifest; none when an archive was refused.
    pub(crate) digest: Option<Digest>,
    /// Whether the boot waits for it.
    pub(crate) class: Class,
    /// Whether it is to be pinned.
    pub(crate) pin: bool,
    /// The value of its owner label: the seed that it came from.
    pub(crate) seed: String,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// Links made to blobs and layers.
    pub(crate) linked: u64,
    /// Bytes sent to the engine.
    pub(crate) copied: u64,
    /// Bytes that the engine had.
    pub(crate) present: u64,
    /// Blobs that were wrong in the engine's store.
    pub(crate) replaced: Vec<Digest>,
    /// What was changed, or would be.
    pub(crate) changes: Vec<Change>,
    /// Why it failed.
    pub(crate) errors: Vec<String>,
    /// What should be looked at.
    #[serde(skip)]
    pub(crate) warnings: Vec<String>,
}

/// A change of one thing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Change {
    /// `create`, `update`, `link`, `copy` or `remove`.
    pub(crate) r#do: &'static str,
    /// `record`, `blob` or `snapshot`.
    pub(crate) what: &'static str,
    /// A name, a digest or a chain id.
    pub(crate) name: String,
}

impl Change {
    /// Says of what is to be changed how it differs.
    pub(crate) fn differs(&self) -> &'static str {
        if self.r#do == "create" { "is not there" } else { "is not as the seed says" }
    }
}

/// A record that was removed, or given back to those who made it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Removed {
    /// Its name.
    pub(crate) name: String,
    /// The namespace.
    pub(crate) namespace: String,
    /// What it stood for.
    pub(crate) digest: String,
    /// The seed that it came from.
    pub(crate) seed: String,
}

impl Removed {
    /// Returns its line in the log.
    pub(crate) fn line(&self) -> String {
        format!("removed name={} namespace={} digest={}", self.name, self.namespace, self.digest)
    }
}

impl ImageReport {
    /// Begins with nothing done.
    pub(crate) fn of(image: &Wanted) -> Self {
        Self {
            digest: Some(image.target.digest),
            class: image.class,
            pin: image.pin,
            ..Self::new(image.names.first(), &image.namespace, &image.owner)
        }
    }

    /// Says why an archive is not used. Nobody says what it is needed for, so all are critical.
    pub(crate) fn refused(refused: &Refused, owner: &str) -> Self {
        Self {
            outcome: Outcome::Failed,
            errors: vec![refused.error.clone()],
            ..Self::new(refused.name.as_ref(), &refused.namespace, owner)
        }
    }

    fn new(name: Option<impl ToString>, namespace: &str, owner: &str) -> Self {
        Self {
            name: name.map(|name| name.to_string()),
            namespace: namespace.to_owned(),
            digest: None,
            class: Class::Critical,
            pin: true,
            seed: owner.to_owned(),
            outcome: Outcome::Settled,
            linked: 0,
            copied: 0,
            present: 0,
            replaced: Vec::new(),
            changes: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds a change.
    pub(crate) fn change(&mut self, action: &'static str, what: &'static str, name: &str) {
        self.changes.push(Change { r#do: action, what, name: name.to_owned() });
    }

    /// Raises the outcome.
    pub(crate) fn raise(&mut self, outcome: Outcome) {
        self.outcome = self.outcome.max(outcome);
    }

    /// Returns the image's line in the log.
    pub(crate) fn line(&self) -> (Priority, String) {
        let digest = self.digest.map_or("-".to_owned(), |digest| digest.to_string());
        let text = format!(
            "{} name={} namespace={} digest={digest} linked={} copied={} present={}",
            self.outcome.word(),
            self.name.as_deref().unwrap_or("-"),
            self.namespace,
            self.linked,
            self.copied,
            self.present,
        );
        (self.outcome.priority(), text)
    }
}

#[cfg(test)]
impl ImageReport {
    /// An image of which nothing but this is known.
    pub(super) fn example(name: Option<&str>, outcome: Outcome, class: Class, seed: &str) -> Self {
        Self { outcome, class, ..Self::new(name, "k8s.io", seed) }
    }
}
