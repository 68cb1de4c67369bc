//! The leases service: what garbage collection must spare for a while.

use std::collections::BTreeMap;

use crate::client::Scope;
use crate::wire::{
    self, AddResourceRequest, DeleteLeaseRequest, Empty, Filters, ListLeasesResponse, ListResourcesRequest,
    ListResourcesResponse,
};
use crate::{Code, Error};

const CREATE: &str = "containerd.services.leases.v1.Leases/Create";
const DELETE: &str = "containerd.services.leases.v1.Leases/Delete";
const LIST: &str = "containerd.services.leases.v1.Leases/List";
const ADD_RESOURCE: &str = "containerd.services.leases.v1.Leases/AddResource";
const LIST_RESOURCES: &str = "containerd.services.leases.v1.Leases/ListResources";

/// The label that ends a lease that nobody released; its value is a time as [`crate::time::from_now`] has it.
pub const EXPIRE_LABEL: &str = "containerd.io/gc.expire";

/// A lease of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Something that a lease holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// `content`, `ingests` or `snapshots/<snapshotter>`.
    pub kind: String,
    /// The digest, ingest or snapshot key.
    pub id: String,
}

impl Scope<'_> {
    /// Makes a lease.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one of that id; else see [`Error`].
    pub fn create_lease(&self, lease: &Lease) -> Result<(), Error> {
        let request = wire::Lease { id: lease.id.clone(), labels: lease.labels.clone() };
        // The answer holds the lease again; nothing in it is news.
        self.unary::<_, Empty>(CREATE, self.client.limit(), &request).map(drop)
    }

    /// Releases a lease; returns whether there was one. With `sync` a garbage collection has ended when this returns.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete_lease(&self, id: &str, sync: bool) -> Result<bool, Error> {
        let limit = if sync { self.client.slow_limit() } else { self.client.limit() };
        let request = DeleteLeaseRequest { id: id.to_owned(), sync };
        match self.unary::<_, Empty>(DELETE, limit, &request) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(Code::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists the leases that one of `filters` picks; none picks all.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list_leases(&self, filters: Vec<String>) -> Result<Vec<Lease>, Error> {
        let answer: ListLeasesResponse = self.unary(LIST, self.client.limit(), &Filters { filters })?;
        Ok(answer.leases.into_iter().map(|lease| Lease { id: lease.id, labels: lease.labels }).collect())
    }

    /// Lets a lease hold something more.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn add_resource(&self, lease: &str, resource: &Resource) -> Result<(), Error> {
        let resource = wire::Resource { id: resource.id.clone(), kind: resource.kind.clone() };
        let request = AddResourceRequest { id: lease.to_owned(), resource: Some(resource) };
        self.unary::<_, Empty>(ADD_RESOURCE, self.client.limit(), &request).map(drop)
    }

    /// Lists what a lease holds.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list_resources(&self, lease: &str) -> Result<Vec<Resource>, Error> {
        let request = ListResourcesRequest { id: lease.to_owned() };
        let answer: ListResourcesResponse = self.unary(LIST_RESOURCES, self.client.limit(), &request)?;
        Ok(answer.resources.into_iter().map(|wire::Resource { id, kind }| Resource { kind, id }).collect())
    }
}
