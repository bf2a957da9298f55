//! What a bundle may do, in a few sentences that a person can judge. The review lists every capability.

use std::collections::BTreeSet;

use blockyard_model::{BlockType, Capability, Effect, Manifest};

/// A sentence about the permissions of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The sentence, without a subject: `send requests to …`.
    pub text: String,
    /// `true` for a permission that few bundles need, and that gives up a protection.
    pub is_unusual: bool,
}

/// Summarizes the capabilities of a bundle, unusual ones first. Every capability is part of a sentence.
pub(crate) fn permissions(capabilities: &BTreeSet<Capability>) -> Vec<Permission> {
    let (mut unusual, mut hosts, mut fields, mut dialects) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let has = |capability: &Capability| capabilities.contains(capability);
    for capability in capabilities {
        match capability {
            Capability::Reveal => {
                unusual.push("read the secrets of its blocks in plain text; every use is recorded".to_owned())
            }
            Capability::Http(access) if !access.networks.is_empty() => unusual.push(capability.explanation()),
            Capability::Http(access) if access.origin.has_fields() => {
                let origin = shortened(&access.origin.to_string());
                match origin.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    Some(field) => fields.push(format!("`{field}`")),
                    // The bundle names a part of the host, which may be the domain.
                    None => hosts.push(host(&origin)),
                }
            }
            Capability::Http(access) => hosts.push(host(&access.origin.to_string())),
            Capability::Sql(dialect) => dialects.push(dialect.product().to_owned()),
            _ => {}
        }
    }
    for names in [&mut hosts, &mut fields] {
        names.sort();
        names.dedup();
    }
    let mut usual = Vec::new();
    if !hosts.is_empty() {
        usual.push(format!("send requests to {}", listed(&hosts)));
    }
    if !fields.is_empty() {
        usual.push(format!("send requests to the servers that its blocks name in {}", listed(&fields)));
    }
    if !dialects.is_empty() {
        usual.push(format!("open the {} databases that its blocks name", listed(&dialects)));
    }
    match (has(&Capability::Secrets), has(&Capability::Crypto)) {
        (true, true) => usual.push("use the secrets of its blocks, and sign with them, without seeing them".to_owned()),
        (true, false) => usual.push("use the secrets of its blocks without seeing them".to_owned()),
        (false, true) => usual.push("sign with the secrets of its blocks without seeing them".to_owned()),
        (false, false) => {}
    }
    let harmless = [Capability::Log, Capability::Clock, Capability::Random];
    let harmless: Vec<String> = harmless.iter().filter(|own| has(own)).map(Capability::explanation).collect();
    if !harmless.is_empty() {
        usual.push(harmless.join(", "));
    }
    let unusual = unusual.into_iter().map(|text| Permission { text, is_unusual: true });
    unusual.chain(usual.into_iter().map(|text| Permission { text, is_unusual: false })).collect()
}

/// Returns the host of an origin. Without encryption, the scheme is part of the text.
fn host(origin: &str) -> String {
    origin.strip_prefix("https://").unwrap_or(origin).to_owned()
}

/// Returns an origin pattern with the last name of each field: `https://a.{config.b.c}` is
/// `https://a.{c}`.
fn shortened(origin: &str) -> String {
    let mut text = String::new();
    for (at, part) in origin.split('{').enumerate() {
        let (field, rest) = part.split_once('}').unwrap_or(("", part));
        if at > 0 {
            text.push_str(&format!("{{{}}}", field.rsplit('.').next().unwrap_or(field)));
        }
        text.push_str(rest);
    }
    text
}

/// Summarizes the block types of a bundle, and what their operations declare to be safe.
pub(crate) fn types(manifest: &Manifest) -> Vec<String> {
    let mut lines: Vec<String> = manifest
        .types
        .iter()
        .map(|block_type| format!("block type `{}`: {}", block_type.slug, counts(block_type)))
        .collect();
    for block_type in &manifest.types {
        let safe = block_type.operations.iter().filter(|operation| !operation.safe.is_empty());
        let names: Vec<String> = safe.map(|operation| format!("`{}`", operation.name)).collect();
        if !names.is_empty() {
            let (slug, names) = (&block_type.slug, listed(&names));
            lines.push(format!(
                "operations of `{slug}` that read, but send other requests, which the bundle declares safe: {names}"
            ));
        }
    }
    lines
}

/// Returns the number of operations of each effect.
fn counts(block_type: &BlockType) -> String {
    let counts = [Effect::Read, Effect::Write, Effect::Destructive].map(|effect| {
        let count = block_type.operations.iter().filter(|operation| operation.effect == effect).count();
        (count > 0).then(|| format!("{count} {effect}"))
    });
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    if counts.is_empty() { "no operations".to_owned() } else { format!("operations: {}", counts.join(", ")) }
}

fn listed(names: &[String]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(texts: &[&str]) -> Vec<String> {
        let capabilities = texts.iter().map(|text| text.parse().expect(text)).collect();
        let mark = |own: Permission| format!("{}{}", if own.is_unusual { "! " } else { "" }, own.text);
        permissions(&capabilities).into_iter().map(mark).collect()
    }

    #[test]
    fn capabilities_are_grouped_and_unusual_ones_come_first() {
        assert_eq!(
            summary(&[
                "http https://*.googleapis.com",
                "http https://storage.{config.credentials.config.universe_domain}",
                "http {config.endpoint}",
                "http {config.credentials.config.endpoint}",
                "secrets",
                "crypto",
                "log",
                "clock",
                "random",
                "reveal",
            ]),
            [
                "! read the secrets of its blocks in plain text; every use is recorded",
                "send requests to *.googleapis.com and storage.{universe_domain}",
                "send requests to the servers that its blocks name in `endpoint`",
                "use the secrets of its blocks, and sign with them, without seeing them",
                "write to the log, read the time, get random bytes",
            ]
        );
        assert_eq!(
            summary(&["sql sqlite", "sql postgres", "sql mysql", "secrets"]),
            [
                "open the SQLite, PostgreSQL and MySQL databases that its blocks name",
                "use the secrets of its blocks without seeing them",
            ]
        );
        assert_eq!(summary(&[]), [""; 0]);
    }

    /// A bundle cannot hide a server in a long list.
    #[test]
    fn every_server_is_named() {
        let texts: Vec<String> = (0..40).map(|number| format!("http https://h{number}.example")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let summary = summary(&texts).concat();
        assert!((0..40).all(|number| summary.contains(&format!("h{number}.example"))), "{summary}");
        let domain = self::summary(&["http https://{config.region}.evil.example"]);
        assert_eq!(domain, ["send requests to {region}.evil.example"]);
        let port = self::summary(&["http http://{config.host}:8080"]);
        assert_eq!(port, ["send requests to http://{host}:8080"]);
    }
}
