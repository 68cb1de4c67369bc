//! What the engine has of what is wanted, and what of it is ours.

use std::path::Path;

use super::*;
use crate::collect::set;
use crate::leases::is_of_run;
use crate::root::Lies;
use ociseed_containerd::SnapshotKind;
use ociseed_spec::records::OWNER_LABEL;

/// containerd's default, whose snapshots are looked at where no store says otherwise.
const SNAPSHOTTER: &str = "overlayfs";

impl<'a> Work<'a> {
    /// Looks at the engine; changes nothing.
    ///
    /// # Errors
    /// The engine says no.
    pub(crate) fn observe(
        client: &'a Client,
        source: &'a Source,
        talk: &'a Talk,
        options: Options,
    ) -> Result<Self, Failure> {
        let leases = Leases::observe(client, &source.owner)?;
        let mut work = Self {
            client,
            source,
            talk,
            options,
            leases,
            content: Content::new(client),
            root: None,
            copies: source.copies.map(str::to_owned),
            actual: BTreeMap::new(),
            kept: Vec::new(),
            left: Left::default(),
            spoilt: BTreeSet::new(),
            replaced: BTreeMap::new(),
            lost: BTreeMap::new(),
            dry: true,
            need: Need::default(),
            reports: Vec::new(),
            removed: Vec::new(),
            garbage: None,
        };
        match work.find_root()? {
            Ok(root) => work.root = Some(root),
            Err(reason) => drop(work.copies.get_or_insert(reason)),
        }
        let wanted = set(work.all().map(|image| image.namespace.clone()));
        for namespace in set(work.leases.namespaces().into_iter().chain(wanted)) {
            let actual = work.look_at(&namespace)?;
            work.actual.insert(namespace, actual);
        }
        work.keep();
        Ok(work)
    }

    /// Returns every image that this run has to do with.
    fn all(&self) -> impl Iterator<Item = &'a Wanted> {
        let previous: &[Wanted] = match &self.source.previous {
            Previous::Images(images, _) => images,
            Previous::None | Previous::Unknown => &[],
        };
        self.source.images.iter().chain(&self.source.others).chain(previous)
    }

    pub(super) fn snapshotter(&self) -> &'static str {
        self.source.links.as_ref().map_or(SNAPSHOTTER, |links| links.snapshotter)
    }

    /// Finds the engine's directories by its own account.
    fn find_root(&self) -> Result<Result<EngineRoot, String>, Failure> {
        let plugins = self.client.plugins(Vec::new())?;
        let says = |kind: &str, id: &str, what: &str| {
            let plugin = plugins.iter().find(|plugin| plugin.kind == kind && plugin.id == id);
            plugin.and_then(|plugin| plugin.exports.get(what).cloned())
        };
        let database = says("io.containerd.metadata.v1", "bolt", "path");
        let content = says("io.containerd.content.v1", "content", "root");
        let snapshotter = says("io.containerd.snapshotter.v1", self.snapshotter(), "root");
        let (Some(database), Some(content), Some(snapshotter)) = (database, content, snapshotter) else {
            return Ok(Err(format!(
                "the engine does not say where content and `{}` are",
                self.snapshotter()
            )));
        };
        if says("io.containerd.metadata.v1", "bolt", "policy").is_some_and(|policy| policy != "shared") {
            return Ok(Err(
                "the engine takes no files that lie in its store: its content is isolated".to_owned()
            ));
        }
        Ok(EngineRoot::at(&content, &snapshotter, Path::new(&database)))
    }

    /// Returns the directory of the engine's content store, if it can be seen from here.
    pub(super) fn content_dir(&self) -> Option<std::path::PathBuf> {
        self.root.as_ref().map(|root| root.content.clone())
    }

    pub(super) fn look_at(&mut self, namespace: &str) -> Result<Actual, Failure> {
        let mut actual = Actual::default();
        if !self.leases.has_namespace(namespace) {
            return Ok(actual);
        }
        let images: Vec<_> = self.all().filter(|image| image.namespace == namespace).collect();
        let names = set(images.iter().flat_map(|image| &image.records));
        let digests = set(images.iter().flat_map(|image| &image.blobs).map(|blob| blob.digest));
        let scope = self.client.scope(namespace);
        let mut filters = vec![format!("labels.\"{OWNER_LABEL}\"")];
        filters.extend(names.iter().map(|name| format!("name==\"{name}\"")));
        for record in scope.list_images(few(filters))? {
            if record.labels.contains_key(OWNER_LABEL) || names.contains(&record.name) {
                actual.records.insert(record.name.clone(), record);
            }
        }
        actual.content = list_content(&scope, digests)?;
        self.look_at_snapshots(&scope, &images, &mut actual)?;
        for name in scope.list_ingests()? {
            if is_of_run(&name) {
                self.left.ingests.push((namespace.to_owned(), name));
            }
        }
        Ok(actual)
    }

    fn look_at_snapshots(
        &mut self,
        scope: &Scope<'_>,
        images: &[&Wanted],
        actual: &mut Actual,
    ) -> Result<(), Failure> {
        let chains = set(images.iter().flat_map(|image| &image.chains).map(ToString::to_string));
        let namespace = scope.namespace().to_owned();
        let (left, snapshots) = (&mut self.left.snapshots, &mut actual.snapshots);
        let listed = scope.list_snapshots(
            self.source.links.as_ref().map_or(SNAPSHOTTER, |links| links.snapshotter),
            Vec::new(),
            |info| {
                // What a lease of ours holds is not committed yet.
                if info.kind != SnapshotKind::Committed && is_of_run(&info.name) {
                    left.push((namespace.clone(), info.name));
                } else if chains.contains(&info.name) {
                    snapshots.insert(info.name.clone(), info);
                }
            },
        );
        match listed {
            // An engine without this snapshotter has none of its snapshots.
            Err(error) if error.is_fatal() => Err(error.into()),
            Err(error) => {
                self.copies.get_or_insert(chain(&error));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Looks at the file of a blob; `None` where files cannot be seen.
    pub(super) fn lies(&self, digest: &Digest) -> Result<Option<Lies>, Failure> {
        let Some(root) = &self.root else { return Ok(None) };
        let lies = root.blob(digest);
        lies.map(Some).map_err(|error| Failure::Engine(format!("cannot look at blob {digest}: {error}")))
    }

    /// Tells whether blobs and layers of an image can be links.
    pub(super) fn can_link(&self, image: &Wanted) -> bool {
        self.root.is_some() && self.copies.is_none() && image.links.is_some()
    }

    pub(super) fn has(&self, namespace: &str, blob: &ContentRecord) -> bool {
        self.actual.get(namespace).is_some_and(|actual| actual.content.contains_key(&blob.digest))
    }
}

/// The engine holds each record against each filter, so beyond some all records are listed, and picked here.
fn few(filters: Vec<String>) -> Vec<String> {
    const MANY: usize = 64;
    if filters.len() > MANY { Vec::new() } else { filters }
}

/// Lists the records that a namespace has of these blobs.
pub(super) fn list_content(
    scope: &Scope<'_>,
    digests: impl IntoIterator<Item = Digest>,
) -> Result<BTreeMap<Digest, ContentInfo>, Failure> {
    let mut found = BTreeMap::new();
    let digests = set(digests);
    let filters: Vec<_> = digests.iter().map(|digest| format!("digest==\"{digest}\"")).collect();
    // No filter at all would list everything.
    if !filters.is_empty() {
        scope.list_content(few(filters), |info| {
            if let Some(digest) = info.digest.parse().ok().filter(|digest| digests.contains(digest)) {
                found.insert(digest, info);
            }
        })?;
    }
    Ok(found)
}
