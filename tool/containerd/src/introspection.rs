//! The introspection service: the plugins that the engine is made of, and what they say of themselves.

use std::collections::BTreeMap;

use crate::Error;
use crate::client::Client;
use crate::wire::{self, Filters, PluginsResponse};

const PLUGINS: &str = "containerd.services.introspection.v1.Introspection/Plugins";

/// A plugin of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its type, such as `io.containerd.snapshotter.v1`.
    pub kind: String,
    /// Its name among those of its type.
    pub id: String,
    /// What it tells of itself: the content store and overlayfs their directory as `root`, the metadata store
    /// (`io.containerd.metadata.v1`, `bolt`) as `policy` whether namespaces share blobs, `shared` or `isolated`.
    pub exports: BTreeMap<String, String>,
    /// Why it cannot be used; `None` when it can.
    pub failure: Option<String>,
}

impl Client {
    /// Lists the plugins that one of `filters` picks, such as `type==io.containerd.content.v1,id==content`; none picks
    /// all.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn plugins(&self, filters: Vec<String>) -> Result<Vec<Plugin>, Error> {
        let answer: PluginsResponse = self.engine().unary(PLUGINS, self.limit(), &Filters { filters })?;
        Ok(answer.plugins.into_iter().map(Plugin::from).collect())
    }
}

impl From<wire::Plugin> for Plugin {
    fn from(plugin: wire::Plugin) -> Self {
        let wire::Plugin { kind, id, exports, init_err } = plugin;
        Self { kind, id, exports, failure: init_err.map(|status| status.message) }
    }
}
