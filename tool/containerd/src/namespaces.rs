//! The engine itself: its version and its namespaces.

use crate::client::{Client, Scope};
use crate::wire::{Empty, ListNamespacesResponse, Namespace, NamespaceRequest, VersionResponse};
use crate::{Code, Error};

const VERSION: &str = "containerd.services.version.v1.Version/Version";
const LIST: &str = "containerd.services.namespaces.v1.Namespaces/List";
const CREATE: &str = "containerd.services.namespaces.v1.Namespaces/Create";

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineVersion {
    /// Its version, as the packager spelt it.
    pub version: String,
    /// The commit that it was built from.
    pub revision: String,
}

impl Client {
    /// Asks for the engine's version: the first call that a ready engine answers.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn version(&self) -> Result<EngineVersion, Error> {
        let answer: VersionResponse = self.engine().unary(VERSION, self.limit(), &Empty {})?;
        Ok(EngineVersion { version: answer.version, revision: answer.revision })
    }

    /// Lists the engine's namespaces.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn namespaces(&self) -> Result<Vec<String>, Error> {
        let answer: ListNamespacesResponse = self.engine().unary(LIST, self.limit(), &Empty {})?;
        Ok(answer.namespaces.into_iter().map(|namespace| namespace.name).collect())
    }

    /// Makes a namespace, unless it is there.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn create_namespace(&self, name: &str) -> Result<(), Error> {
        let request = NamespaceRequest { namespace: Some(Namespace { name: name.to_owned() }) };
        // containerd 1.6 publishes the event in the namespace of the call, and fails when there is none.
        match self.scope(name).unary::<_, Empty>(CREATE, self.limit(), &request) {
            Err(error) if error.code() != Some(Code::AlreadyExists) => Err(error),
            _ => Ok(()),
        }
    }

    /// Calls that concern no namespace.
    pub(crate) fn engine(&self) -> Scope<'_> {
        self.scope("")
    }
}
