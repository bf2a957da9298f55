//! Access checks for a request: the manifest asks for the origin, the yard grants it, the block's
//! configuration supplies the fields of the origin pattern, and the operation's effect allows the
//! method.

use blockyard_call::{EffectViolation, Fault, Problem, quoted};
use blockyard_model::{Capability, Effect, Origin, RequestUrl};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::view::HttpView;

impl HttpView<'_> {
    /// Checks that the bundle may send requests to an origin. Returns the networks, in addition to
    /// the public internet, in which the server may be.
    pub(super) fn permit(&self, origin: &Origin) -> Result<Vec<IpNet>, Problem> {
        let requested: Vec<_> = self
            .http
            .requested
            .iter()
            .filter(|requested| {
                requested.origin.expand(&self.call.config).is_some_and(|pattern| pattern.matches(origin))
            })
            .collect();
        if requested.is_empty() {
            return Err(self.not_requested(origin));
        }
        let mut granted = false;
        let mut networks = Vec::new();
        for capability in self.call.grants.iter() {
            let Capability::Http(grant) = capability else { continue };
            let in_force = requested.iter().any(|requested| requested.origin.covers(&grant.origin))
                && grant.origin.expand(&self.call.config).is_some_and(|pattern| pattern.matches(origin));
            if in_force {
                granted = true;
                self.call.usage.record(capability);
                networks.extend(grant.special_networks());
            }
        }
        if !granted {
            return Err(Problem::not_granted(&self.call.bundle, &format!("http {origin}")));
        }
        networks.sort();
        networks.dedup();
        Ok(networks)
    }

    fn not_requested(&self, origin: &Origin) -> Problem {
        let requested: Vec<String> =
            self.http.requested.iter().map(|requested| format!("`{}`", requested.origin)).collect();
        let problem = Problem::new(
            "not-granted",
            format!(
                "bundle `{}` may not send requests to `{origin}`: its manifest does not ask for it",
                self.call.bundle
            ),
        );
        match requested.is_empty() {
            true => problem,
            false => problem.hint(format!(
                "use an origin that the manifest asks for: {} (fields are taken from the block's configuration)",
                requested.join(", ")
            )),
        }
    }

    /// Refuses a request that may change data if the operation's effect is `read`. GET, HEAD and
    /// the requests that the manifest declares safe are allowed. No declaration covers a secret URL,
    /// because its path is not known when the declaration is approved.
    pub(super) fn enforce_effect(&self, method: &str, url: &RequestUrl, to_secret_url: bool) -> Result<(), Fault> {
        let declared =
            || !to_secret_url && self.http.safe.iter().any(|safe| safe.matches(method, url, &self.call.config));
        if self.call.effect != Effect::Read || matches!(method, "GET" | "HEAD") || declared() {
            return Ok(());
        }
        let url = self.call.shown.text(quoted(&format!("{}{}", url.origin, url.path())));
        Err(EffectViolation(format!("send `{method} {url}`")).into())
    }

    /// Adds a hint to a refused connection: the grant that would allow it.
    pub(super) fn explain_network(&self, problem: Problem, origin: &Origin) -> Problem {
        let address = problem
            .details
            .as_deref()
            .and_then(|details| serde_json::from_str::<Value>(details).ok())
            .and_then(|details| details["address"].as_str().map(str::to_owned));
        match (problem.code.as_str(), address) {
            ("not-granted", Some(address)) => {
                let literal = origin.host.to_string().trim_matches(['[', ']']) == address;
                let grant = if literal { format!("http {origin}") } else { format!("http {origin} at {address}") };
                problem.details(&json!({ "bundle": self.call.bundle, "capability": grant, "address": address }))
            }
            _ => problem,
        }
    }
}
