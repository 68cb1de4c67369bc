//! Docker, over its Engine API: names are given, or an archive is loaded that lacks what the daemon has.

mod answers;
mod api;
mod archive;

use std::collections::BTreeSet;
use std::path::Path;

use ociseed_spec::lock::{LockedImage, LockedLayer};
use ociseed_spec::{ChainId, DiffId, Digest, Reference};

use crate::exit::Exit;
use crate::failure::{Failure, Stop};
use crate::report::{EngineReport, ImageReport, Outcome, Report};
use crate::seed::{Documents, Seed};
use answers::{Info, Inspected, Summary, Version};
use api::{Api, ApiError};
use archive::Upload;

/// The first Docker with graph drivers that takes layers compressed with zstd.
const FIRST_WITH_ZSTD: u64 = 23;

/// The first API that says whether all of an image is there (Docker 27).
const FIRST_WITH_AVAILABLE: (u64, u64) = (1, 47);

/// How the daemon keeps images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    /// With a graph driver; ids are those of configurations.
    Graph {
        /// Whether it takes layers compressed with zstd.
        zstd: bool,
    },
    /// In containerd's store; ids are those of manifests.
    Containerd {
        /// Whether it says if all of an image is there.
        says_available: bool,
    },
}

/// Loads all images of a seed.
///
/// # Errors
/// What ends everything; what concerns one image is in its report.
pub(crate) fn load(seed: &Seed, socket: &Path, report: &mut Report) -> Result<(), Stop> {
    let unreachable = |error: &dyn std::error::Error| {
        Stop::of(Exit::Unreachable, error).hint(
            "is Docker running, may you write to its socket (group `docker`), and is that `--address` or `DOCKER_HOST`?",
        )
    };
    let api = Api::new(socket).map_err(|error| unreachable(&error))?;
    let version: Version = api.get("/version").map_err(|error| unreachable(&error))?;
    let info: Info = api.get("/info").map_err(|error| unreachable(&error))?;
    let store = if info.has_containerd_store() {
        Store::Containerd { says_available: version.api() >= FIRST_WITH_AVAILABLE }
    } else {
        Store::Graph { zstd: version.major() >= FIRST_WITH_ZSTD }
    };
    report.engine = Some(EngineReport { name: "docker", version: version.version, store: Some(info.driver) });
    let docker = Docker { api, store, seed };
    for image in &seed.images {
        let mut done = ImageReport::of(image, None);
        let result = docker.bring(image, &mut done);
        report.conclude(done, result)?;
    }
    Ok(())
}

struct Docker<'a> {
    api: Api,
    store: Store,
    seed: &'a Seed,
}

impl Docker<'_> {
    /// Brings one image, by all its names.
    fn bring(&self, image: &LockedImage, report: &mut ImageReport) -> Result<(), Failure> {
        let missing = self.missing_names(image)?;
        let is_there = self.has(image)?;
        if missing.is_empty() && is_there {
            return Ok(());
        }
        if let Some(name) = image.names.iter().find(|name| name.digest().is_some()) {
            let text = format!("Docker gives no name with a digest to an image that is loaded: `{name}`");
            return Err(Failure::Image {
                text,
                hint: Some("give the image a name with a tag alone".to_owned()),
            });
        }
        if is_there {
            report.outcome = Outcome::Tagged;
            for name in missing {
                self.tag(image, name)?;
            }
        } else {
            report.outcome = Outcome::Loaded;
            self.load(image, report)?;
        }
        match self.missing_names(image)?.first() {
            None => Ok(()),
            Some(name) => {
                Err(Failure::image(format!("Docker does not have {} as `{name}` afterwards", self.id(image))))
            }
        }
    }

    /// The image's id as this daemon makes it.
    fn id(&self, image: &LockedImage) -> Digest {
        match self.store {
            Store::Graph { .. } => image.config.digest,
            Store::Containerd { .. } => image.manifest.digest,
        }
    }

    /// Lists the names that do not stand for the image.
    fn missing_names<'i>(&self, image: &'i LockedImage) -> Result<Vec<&'i Reference>, ApiError> {
        let id = self.id(image).to_string();
        let mut missing = Vec::new();
        for name in &image.names {
            if self.inspect(name.as_str())?.is_none_or(|found| found.id != id) {
                missing.push(name);
            }
        }
        Ok(missing)
    }

    fn inspect(&self, name: &str) -> Result<Option<Inspected>, ApiError> {
        self.api.find(&format!("/images/{name}/json"))
    }

    /// Tells whether all of the image is there, by whatever name.
    fn has(&self, image: &LockedImage) -> Result<bool, ApiError> {
        Ok(self.inspect(&self.id(image).to_string())?.is_some() && self.is_complete(image)?)
    }

    /// Tells whether all blobs of an image that is there are, as far as the daemon says.
    fn is_complete(&self, image: &LockedImage) -> Result<bool, ApiError> {
        if self.store != (Store::Containerd { says_available: true }) {
            return Ok(true);
        }
        let images: Vec<Summary> = self.api.get("/images/json?all=1&manifests=1")?;
        let digest = image.manifest.digest.to_string();
        let manifests = images.into_iter().flat_map(|image| image.manifests.unwrap_or_default());
        let mut of_image = manifests.filter(|manifest| manifest.id == digest);
        Ok(of_image.any(|manifest| manifest.available))
    }

    fn tag(&self, image: &LockedImage, name: &Reference) -> Result<(), Failure> {
        let (repository, tag) = (name.repository(), &name.as_str()[name.repository().len() + 1..]);
        let path = format!("/images/{}/tag?repo={repository}&tag={tag}", self.id(image));
        Ok(self.api.post(&path, Upload::empty()).map(drop)?)
    }

    /// Loads an image without the layers that the daemon has, and if that does not do, with them.
    fn load(&self, image: &LockedImage, report: &mut ImageReport) -> Result<(), Failure> {
        let documents = self.seed.documents(image)?;
        let there = match self.store {
            Store::Containerd { says_available: false } => BTreeSet::new(),
            _ => self.chains()?,
        };
        let leaves_out = image.layers.iter().any(|layer| there.contains(&layer.chain_id));
        // It may have collected the layers of the image that had the name, before it had those above them unpacked.
        let tries_again = leaves_out || matches!(self.store, Store::Containerd { .. });
        match self.send(image, &documents, &there, report) {
            // What is wrong with the seed does not get better.
            Err(Sent::Source(failure)) => Err(failure),
            Err(Sent::Refused(_)) if tries_again => self.send_all(image, &documents, report),
            Err(Sent::Refused(failure)) => Err(failure),
            Ok(()) if leaves_out && !self.is_complete(image)? => self.send_all(image, &documents, report),
            Ok(()) => Ok(()),
        }
    }

    fn send_all(
        &self,
        image: &LockedImage,
        documents: &Documents,
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        self.send(image, documents, &BTreeSet::new(), report).map_err(|sent| match sent {
            Sent::Source(failure) | Sent::Refused(failure) => failure,
        })
    }

    fn send(
        &self,
        image: &LockedImage,
        documents: &Documents,
        there: &BTreeSet<ChainId>,
        report: &mut ImageReport,
    ) -> Result<(), Sent> {
        let layers: Vec<_> = image.layers.iter().filter(|layer| !there.contains(&layer.chain_id)).collect();
        let is_zstd = |layer: &&&LockedLayer| layer.media_type.ends_with("zstd");
        if let (Store::Graph { zstd: false }, Some(layer)) = (self.store, layers.iter().find(is_zstd)) {
            let text = format!(
                "layer {} is compressed with zstd, which Docker takes since {FIRST_WITH_ZSTD} alone",
                layer.digest
            );
            let hint =
                Some("build the layer with `compression = \"gzip\"`, or use a newer Docker".to_owned());
            return Err(Sent::Source(Failure::Image { text, hint }));
        }
        if let Store::Containerd { .. } = self.store {
            // It keeps the blobs of an archive that is cut off, under a lease that ends a day later.
            for layer in &layers {
                self.seed.hash(&layer.digest, layer.size).map_err(Sent::Source)?;
            }
        }
        let upload = Upload::new(&self.seed.layout, image, documents, &layers);
        let progress = upload.progress();
        let answer = self.api.post("/images/load?quiet=1", upload);
        report.layers_sent += layers.len();
        report.bytes_sent += progress.sent();
        if let Some(text) = progress.failure() {
            return Err(Sent::Source(Failure::image(text)));
        }
        let answer = answer.map_err(|error| Sent::Refused(error.into()))?;
        answers::check_load(&answer).map_err(|text| Sent::Refused(Failure::image(text)))
    }

    /// Returns the chain ids of all layers of all images that the daemon has.
    fn chains(&self) -> Result<BTreeSet<ChainId>, Failure> {
        let images: Vec<Summary> = self.api.get("/images/json?all=1")?;
        let mut chains = BTreeSet::new();
        for image in images {
            // It may be gone by now, or have layers that are none of ours to understand.
            let Some(Inspected { root_fs: Some(root_fs), .. }) = self.inspect(&image.id)? else { continue };
            let layers: Vec<DiffId> = root_fs.layers.unwrap_or_default();
            chains.extend(ChainId::chain(&layers));
        }
        Ok(chains)
    }
}

/// Why an archive was not loaded.
enum Sent {
    /// The seed cannot give it.
    Source(Failure),
    /// The daemon does not take it.
    Refused(Failure),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match &error {
            ApiError::Status { .. } => Self::of(&error),
            _ => Self::Stop(Stop::of(Exit::Engine, &error)),
        }
    }
}
