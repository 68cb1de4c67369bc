//! The images service: names, and the manifests that they stand for.

use std::collections::BTreeMap;

use crate::client::Scope;
use crate::content::label_paths;
use crate::wire::{
    DeleteImageRequest, Descriptor, Empty, FieldMask, Filters, Image, ImageRequest, ListImagesResponse,
};
use crate::{Code, Error};

const LIST: &str = "containerd.services.images.v1.Images/List";
const CREATE: &str = "containerd.services.images.v1.Images/Create";
const UPDATE: &str = "containerd.services.images.v1.Images/Update";
const DELETE: &str = "containerd.services.images.v1.Images/Delete";

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The manifest's or index's media type.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size.
    pub size: u64,
}

/// A name in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// The full name.
    pub name: String,
    /// What it stands for.
    pub target: Target,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Scope<'_> {
    /// Lists the records that one of `filters` picks; none picks all.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list_images(&self, filters: Vec<String>) -> Result<Vec<ImageRecord>, Error> {
        let answer: ListImagesResponse = self.unary(LIST, self.client.limit(), &Filters { filters })?;
        Ok(answer.images.into_iter().map(ImageRecord::from).collect())
    }

    /// Makes a record.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; else see [`Error`].
    pub fn create_image(&self, record: &ImageRecord) -> Result<(), Error> {
        let request = ImageRequest { image: Some(record.into()), update_mask: None };
        self.unary::<_, Empty>(CREATE, self.client.limit(), &request).map(drop)
    }

    /// Sets these labels of the record `record.name`, and its target when `target`; leaves other labels alone.
    /// A label with an empty value is removed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn update_image(&self, record: &ImageRecord, target: bool) -> Result<(), Error> {
        let mut paths = label_paths(&record.labels);
        if target {
            paths.push("target".to_owned());
        }
        let request = ImageRequest { image: Some(record.into()), update_mask: Some(FieldMask { paths }) };
        self.unary::<_, Empty>(UPDATE, self.client.limit(), &request).map(drop)
    }

    /// Deletes a record; returns whether there was one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete_image(&self, name: &str) -> Result<bool, Error> {
        let request = DeleteImageRequest { name: name.to_owned(), sync: false };
        match self.unary::<_, Empty>(DELETE, self.client.limit(), &request) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(Code::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl From<Image> for ImageRecord {
    fn from(image: Image) -> Self {
        let Descriptor { media_type, digest, size } = image.target.unwrap_or_default();
        let target = Target { media_type, digest, size: u64::try_from(size).unwrap_or(0) };
        Self { name: image.name, target, labels: image.labels }
    }
}

impl From<&ImageRecord> for Image {
    fn from(record: &ImageRecord) -> Self {
        let Target { media_type, digest, size } = record.target.clone();
        let target = Descriptor { media_type, digest, size: i64::try_from(size).unwrap_or(i64::MAX) };
        Self { name: record.name.clone(), labels: record.labels.clone(), target: Some(target) }
    }
}
