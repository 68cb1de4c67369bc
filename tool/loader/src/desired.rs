//! Compares one record with what the seed wants of it; pure, so every rule of ownership is a line in a table of tests.

use std::collections::BTreeMap;

use ociseed_containerd::{ImageRecord, Target};
use ociseed_spec::records::{self, CRI_PINNED, OWNER_LABEL};

use crate::collect::map;
use crate::source::Wanted;

/// What must be done about one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    Keep,
    /// Make this record.
    Create(ImageRecord),
    /// Set these labels.
    Label(ImageRecord),
    /// Set these labels and the target.
    Retarget(ImageRecord),
    /// Nothing, because it is somebody else's; it has this digest.
    Conflict(String),
}

impl Change {
    /// Returns whether the record will stand for blobs that it did not stand for before.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self, Self::Create(_) | Self::Retarget(_))
    }
}

/// Returns the names of an image's records.
pub(crate) fn record_names(image: &Wanted) -> Vec<String> {
    records::record_names(&image.names, &image.namespace, &image.target.digest)
}

/// Decides what must be done so that `name` is as the image wants it, given what is there.
pub(crate) fn change(
    name: &str,
    image: &Wanted,
    owner: &str,
    actual: Option<&ImageRecord>,
    take_over: bool,
) -> Change {
    let target = Target {
        media_type: image.target.media_type.clone(),
        digest: image.target.digest.to_string(),
        size: image.target.size,
    };
    let labels = records::image_labels(&image.namespace, image.pin, owner);
    let Some(actual) = actual else {
        return Change::Create(ImageRecord { name: name.to_owned(), target, labels });
    };
    let ours = actual.labels.contains_key(OWNER_LABEL);
    let same = actual.target.digest == target.digest;
    if !(ours || same || take_over) {
        return Change::Conflict(actual.target.digest.clone());
    }
    let mut missing = missing_labels(&labels, &actual.labels);
    // A pin that we set goes with our wish for it; one that others set is theirs.
    if ours && !image.pin && actual.labels.contains_key(CRI_PINNED.0) {
        missing.insert(CRI_PINNED.0.to_owned(), String::new());
    }
    let record = |target| ImageRecord { name: name.to_owned(), target, labels: missing.clone() };
    match (actual.target == target, missing.is_empty()) {
        (true, true) => Change::Keep,
        (true, false) => Change::Label(record(target)),
        (false, _) => Change::Retarget(record(target)),
    }
}

/// Returns those of `wanted` labels that `actual` lacks or has with another value.
pub(crate) fn missing_labels(
    wanted: &BTreeMap<String, String>,
    actual: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let missing = wanted.iter().filter(|(key, value)| actual.get(*key) != Some(value));
    map(missing.map(|(key, value)| (key.clone(), value.clone())))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use ociseed_spec::Digest;
    use ociseed_spec::lock::{BlobRef, Class, LayerBlobs};
    use ociseed_spec::records::CRI_MANAGED;
    use ociseed_store::Layout;

    use super::*;
    use crate::source::Store;

    const NAME: &str = "r.io/web:1";

    /// A real layout without blobs: nothing here reads any.
    fn store() -> Rc<Store> {
        // Tests run at once: each layout is a directory of its own, gone when it was opened.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("ociseed-desired-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("temporary directory");
        std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
        std::fs::write(path.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).expect("written");
        let dir = cap_std::fs::Dir::open_ambient_dir(&path, cap_std::ambient_authority()).expect("there");
        let layout = Layout::open(Arc::new(dir), "test").expect("a layout");
        std::fs::remove_dir_all(&path).expect("removed");
        Rc::new(Store::Layout(layout))
    }

    fn wanted(namespace: &str, pin: bool) -> Wanted {
        Wanted {
            names: vec![NAME.parse().expect("a name")],
            namespace: namespace.to_owned(),
            class: Class::Critical,
            pin,
            target: BlobRef { media_type: "m/t".to_owned(), digest: Digest::of(b"new"), size: 3 },
            blobs: Vec::new(),
            layers: LayerBlobs::All,
            store: store(),
        }
    }

    fn record(content: &[u8], labels: &[(&str, &str)]) -> ImageRecord {
        let digest = Digest::of(content).to_string();
        ImageRecord {
            name: NAME.to_owned(),
            target: Target { media_type: "m/t".to_owned(), digest, size: 3 },
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn every_rule_of_ownership_holds() {
        let all = [(OWNER_LABEL, "A"), CRI_MANAGED, CRI_PINNED];
        let foreign = [("mine", "x")];
        let old = [(OWNER_LABEL, "OLD"), CRI_MANAGED, CRI_PINNED];
        let cases = [
            ("absent", None, false, Change::Create(record(b"new", &all))),
            ("settled", Some(record(b"new", &all)), false, Change::Keep),
            (
                "settled, more labels",
                Some(record(b"new", &[all[0], all[1], all[2], foreign[0]])),
                false,
                Change::Keep,
            ),
            ("pin lost", Some(record(b"new", &all[..2])), false, Change::Label(record(b"new", &all[2..]))),
            (
                "foreign, same digest",
                Some(record(b"new", &foreign)),
                false,
                Change::Label(record(b"new", &all)),
            ),
            (
                "foreign, other digest",
                Some(record(b"old", &foreign)),
                false,
                Change::Conflict(Digest::of(b"old").to_string()),
            ),
            (
                "foreign, taken over",
                Some(record(b"old", &foreign)),
                true,
                Change::Retarget(record(b"new", &all)),
            ),
            (
                "of an older seed",
                Some(record(b"old", &old)),
                false,
                Change::Retarget(record(b"new", &all[..1])),
            ),
            ("moved by a user", Some(record(b"old", &all)), false, Change::Retarget(record(b"new", &[]))),
        ];
        let image = wanted("k8s.io", true);
        for (case, actual, take_over, expected) in cases {
            assert_eq!(change(NAME, &image, "A", actual.as_ref(), take_over), expected, "{case}");
        }
    }

    #[test]
    fn a_pin_goes_only_where_it_was_ours() {
        let image = wanted("k8s.io", false);
        let ours = record(b"new", &[(OWNER_LABEL, "A"), CRI_MANAGED, CRI_PINNED]);
        let unpinned = Change::Label(record(b"new", &[(CRI_PINNED.0, "")]));
        assert_eq!(change(NAME, &image, "A", Some(&ours), false), unpinned);
        let theirs = record(b"new", &[CRI_PINNED]);
        let labelled = Change::Label(record(b"new", &[(OWNER_LABEL, "A"), CRI_MANAGED]));
        assert_eq!(change(NAME, &image, "A", Some(&theirs), false), labelled);
    }

    #[test]
    fn only_cri_gets_its_labels_and_names_by_digest() {
        let by_digest = format!("r.io/web@{}", Digest::of(b"new"));
        assert_eq!(record_names(&wanted("k8s.io", true)), [NAME, &by_digest]);
        let image = wanted("moby", true);
        assert_eq!(record_names(&image), [NAME]);
        let expected = Change::Create(record(b"new", &[(OWNER_LABEL, "A")]));
        assert_eq!(change(NAME, &image, "A", None, false), expected);
    }
}
