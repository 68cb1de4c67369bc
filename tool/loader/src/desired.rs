//! Compares one record with what the seed wants of it; pure, so every rule of ownership is a line in a table of tests.

use std::collections::BTreeMap;

use ociseed_containerd::{ImageRecord, Target};
use ociseed_spec::records::{self, ADOPTED_LABEL, ADOPTED_PINNED, CRI_PINNED, OWNER_LABEL, missing_labels};

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

/// Changes nothing of a record, but lets those who watch it look at it again.
pub(crate) fn touch(record: &ImageRecord, owner: &str) -> Change {
    let mut labels = BTreeMap::new();
    labels.insert(OWNER_LABEL.to_owned(), owner.to_owned());
    Change::Label(ImageRecord { labels, ..record.clone() })
}

/// Returns what gives an adopted record back to those who made it: the labels without ours, and the pin if that was ours.
pub(crate) fn give_back(record: &ImageRecord) -> ImageRecord {
    let mut labels = BTreeMap::new();
    let keeps_pin = record.labels.get(ADOPTED_LABEL).is_some_and(|adopted| adopted == ADOPTED_PINNED);
    for label in [OWNER_LABEL, ADOPTED_LABEL, CRI_PINNED.0] {
        if record.labels.contains_key(label) && !(keeps_pin && label == CRI_PINNED.0) {
            labels.insert(label.to_owned(), String::new());
        }
    }
    ImageRecord { labels, ..record.clone() }
}

/// Decides what must be done so that `name` is as the image wants it, given what is there.
pub(crate) fn change(name: &str, image: &Wanted, actual: Option<&ImageRecord>, take_over: bool) -> Change {
    let target = Target {
        media_type: image.target.media_type.clone(),
        digest: image.target.digest.to_string(),
        size: image.target.size,
    };
    let labels = records::image_labels(&image.namespace, image.pin, &image.owner);
    let Some(actual) = actual else {
        return Change::Create(ImageRecord { name: name.to_owned(), target, labels });
    };
    let ours = actual.labels.contains_key(OWNER_LABEL);
    let same = actual.target.digest == target.digest;
    if !(ours || same || take_over) {
        return Change::Conflict(actual.target.digest.clone());
    }
    let mut missing = missing_labels(&labels, &actual.labels);
    // What others made is theirs again when no seed asks for it; names by id CRI makes for its own use.
    if !ours && same && !name.starts_with("sha256:") {
        let pinned = actual.labels.contains_key(CRI_PINNED.0);
        missing.insert(ADOPTED_LABEL.to_owned(), if pinned { ADOPTED_PINNED } else { "true" }.to_owned());
    }
    // One that follows the seed to another digest is no longer what others made.
    if !same && actual.labels.contains_key(ADOPTED_LABEL) {
        missing.insert(ADOPTED_LABEL.to_owned(), String::new());
    }
    // A pin that we set goes with our wish for it; one that others set is theirs.
    let theirs = actual.labels.get(ADOPTED_LABEL).is_some_and(|adopted| adopted == ADOPTED_PINNED);
    if ours && !theirs && !image.pin && actual.labels.contains_key(CRI_PINNED.0) {
        missing.insert(CRI_PINNED.0.to_owned(), String::new());
    }
    let record = |target| ImageRecord { name: name.to_owned(), target, labels: missing.clone() };
    match (actual.target == target, missing.is_empty()) {
        (true, true) => Change::Keep,
        (true, false) => Change::Label(record(target)),
        (false, _) => Change::Retarget(record(target)),
    }
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
        let mut wanted = [Wanted {
            owner: "A".into(),
            names: vec![NAME.parse().expect("a name")],
            records: Vec::new(),
            namespace: namespace.to_owned(),
            class: Class::Critical,
            pin,
            target: BlobRef { media_type: "m/t".to_owned(), digest: Digest::of(b"new"), size: 3 },
            config: Some(Digest::of(b"config")),
            blobs: Vec::new(),
            layers: LayerBlobs::All,
            absent: Vec::new(),
            chains: Vec::new(),
            links: None,
            wrong: Vec::new(),
            store: store(),
        }];
        crate::source::name_records(&mut wanted);
        let [wanted] = wanted;
        wanted
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
        let adopted = (ADOPTED_LABEL, "true");
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
                Change::Label(record(b"new", &[all[0], all[1], all[2], adopted])),
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
            (
                "adopted, then updated",
                Some(record(b"old", &[all[0], all[1], all[2], adopted])),
                false,
                Change::Retarget(record(b"new", &[(ADOPTED_LABEL, "")])),
            ),
            ("moved by a user", Some(record(b"old", &all)), false, Change::Retarget(record(b"new", &[]))),
        ];
        let image = wanted("k8s.io", true);
        for (case, actual, take_over, expected) in cases {
            assert_eq!(change(NAME, &image, actual.as_ref(), take_over), expected, "{case}");
        }
    }

    #[test]
    fn a_pin_goes_only_where_it_was_ours() {
        let image = wanted("k8s.io", false);
        let ours = record(b"new", &[(OWNER_LABEL, "A"), CRI_MANAGED, CRI_PINNED]);
        let unpinned = Change::Label(record(b"new", &[(CRI_PINNED.0, "")]));
        assert_eq!(change(NAME, &image, Some(&ours), false), unpinned);
        let theirs =
            record(b"new", &[(OWNER_LABEL, "A"), CRI_MANAGED, CRI_PINNED, (ADOPTED_LABEL, ADOPTED_PINNED)]);
        assert_eq!(change(NAME, &image, Some(&theirs), false), Change::Keep);
        let theirs = record(b"new", &[CRI_PINNED]);
        let labelled = Change::Label(record(
            b"new",
            &[(OWNER_LABEL, "A"), CRI_MANAGED, (ADOPTED_LABEL, ADOPTED_PINNED)],
        ));
        assert_eq!(change(NAME, &image, Some(&theirs), false), labelled);
    }

    #[test]
    fn what_was_adopted_goes_back_to_those_who_made_it() {
        let labels = [(OWNER_LABEL, "A"), CRI_MANAGED, CRI_PINNED, (ADOPTED_LABEL, "true"), ("mine", "x")];
        let back = give_back(&record(b"new", &labels));
        let removed = [(OWNER_LABEL, ""), (CRI_PINNED.0, ""), (ADOPTED_LABEL, "")];
        assert_eq!(back, record(b"new", &removed));
        let labels = [(OWNER_LABEL, "A"), CRI_PINNED, (ADOPTED_LABEL, ADOPTED_PINNED)];
        let back = give_back(&record(b"new", &labels));
        assert_eq!(back, record(b"new", &[(OWNER_LABEL, ""), (ADOPTED_LABEL, "")]), "their pin");
        // A name by id is no name that anybody gave.
        let id = format!("sha256:{}", "0".repeat(64));
        let Change::Label(labelled) = change(&id, &wanted("k8s.io", true), Some(&record(b"new", &[])), false)
        else {
            panic!("a label")
        };
        assert!(!labelled.labels.contains_key(ADOPTED_LABEL));
    }

    #[test]
    fn only_cri_gets_its_labels_and_names_by_digest() {
        let (by_digest, id) = (format!("r.io/web@{}", Digest::of(b"new")), Digest::of(b"config").to_string());
        let mut images = [wanted("k8s.io", true), wanted("moby", true), wanted("k8s.io", false)];
        crate::source::name_records(&mut images);
        let [of_cri, image, later] = images;
        assert_eq!(of_cri.records, [NAME, &by_digest, &id]);
        assert_eq!(image.records, [NAME]);
        assert_eq!(later.records, [NAME]);
        let expected = Change::Create(record(b"new", &[(OWNER_LABEL, "A")]));
        assert_eq!(change(NAME, &image, None, false), expected);
    }
}
