//! The state of `http`: connections and tokens of a sandbox, the permitted requests of a call, and the view that
//! its functions have of a call.

use std::collections::BTreeSet;
use std::sync::Arc;

use blockyard_call::bindings::blockyard::bundle::types;
use blockyard_call::{CallContext, Fault};
use blockyard_model::{Capability, HttpAccess, SafeRequest};

use crate::client::HttpClient;
use crate::token::Tokens;

/// State that the requests of a sandbox share: connections and access tokens.
#[derive(Default)]
pub struct HttpClients {
    pub(super) client: Arc<HttpClient>,
    pub(super) tokens: Arc<Tokens>,
}

impl HttpClients {
    /// Creates the state of a sandbox without a network: each request fails with a problem, and no name is resolved.
    #[must_use]
    pub fn isolated() -> Self {
        Self { client: Arc::new(HttpClient::isolated()), tokens: Arc::default() }
    }
}

/// The requests that a call may send, and the connections for them.
pub struct HttpContext {
    pub(super) clients: Arc<HttpClients>,
    /// The origins that the bundle's manifest requests.
    pub(super) requested: Vec<HttpAccess>,
    /// Requests that a `read` operation may send in addition to GET and HEAD.
    pub(super) safe: Vec<SafeRequest>,
}

/// View of a call that `http` needs.
pub struct HttpView<'call> {
    /// The context of the call.
    pub call: &'call mut CallContext,
    /// The requests that the call may send.
    pub http: &'call HttpContext,
}

impl HttpContext {
    /// Creates the context of a call. `requested` are the capabilities that the bundle's manifest requests;
    /// `safe` are the requests that a `read` operation may send in addition to GET and HEAD.
    #[must_use]
    pub fn new(clients: Arc<HttpClients>, requested: &BTreeSet<Capability>, safe: Vec<SafeRequest>) -> Self {
        Self { clients, requested: origins(requested).cloned().collect(), safe }
    }
}

/// Returns the origins in a set of capabilities.
fn origins(capabilities: &BTreeSet<Capability>) -> impl Iterator<Item = &HttpAccess> {
    capabilities.iter().filter_map(|capability| match capability {
        Capability::Http(access) => Some(access),
        _ => None,
    })
}

impl types::Host for HttpView<'_> {
    fn convert_problem(&mut self, fault: Fault) -> wasmtime::Result<types::Problem> {
        self.call.convert_problem(fault)
    }
}

impl std::fmt::Debug for HttpClients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HttpClients")
    }
}
