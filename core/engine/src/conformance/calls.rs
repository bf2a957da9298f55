//! Uses a sample block of each type: `validate`, `check` and all operations, without a network.

use std::time::Duration;

use blockyard_host::{Deadline, Input, LogLine};
use blockyard_model::{Address, BlockName, BlockType, BundleName, PlainDocument};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value};

use super::outcome::{ConformanceResult, finding, text};
use super::sample::{CANARY, Sampler};
use crate::{Block, Capability, CheckStep, Code, Error, ErrorKind, Patch, Yard};

/// Name of the sample blocks.
const NAME: &str = "sample";
/// Time of one call. Without a network, a bundle has nothing to wait for.
const TIME: Duration = Duration::from_secs(20);
/// Maximum number of bytes that are read of an output.
const OUTPUT_BYTES: usize = 1 << 20;

/// Texts that a bundle returned. The canaries must not be in them.
#[derive(Default)]
struct Returned {
    texts: Vec<(String, String)>,
    /// Limits that calls exceeded.
    limits: Vec<String>,
}

/// Tests the block types of an installed bundle.
pub(super) async fn run(yard: &Yard, bundle: &BundleName, manifest: &str) -> Result<Vec<ConformanceResult>, Error> {
    let mut results = Vec::new();
    for installed in yard.newest_manifests().await? {
        for block_type in &installed.types {
            results.extend(block_type_results(yard, bundle, block_type, manifest).await?);
        }
    }
    Ok(results)
}

async fn block_type_results(
    yard: &Yard,
    bundle: &BundleName,
    block_type: &BlockType,
    manifest: &str,
) -> Result<Vec<ConformanceResult>, Error> {
    let slug = &block_type.slug;
    let name = |test: &str| format!("{slug}: {test}");
    let skipped = |reason: &str| {
        [ConformanceResult::skipped(name("calls of a sample block"), format!("{reason}; add `examples` to the schema"))]
    };
    let document = match Sampler::new(&block_type.schema, manifest).document() {
        Ok(document) => document,
        Err(reason) => return Ok(skipped(&format!("no sample block: {reason}")).into()),
    };
    let mut returned = Returned::default();
    let address = Address { type_slug: slug.clone(), name: BlockName::new(NAME)? };
    let patch = Patch { document: Some(PlainDocument(document)), ..Patch::default() };
    let created = yard.create(&address, patch).await;
    let mut results = vec![ConformanceResult::of(name("`validate`"), findings(&created))];
    if let Err(error) = created {
        returned.error("`validate`", &error);
        results.extend(returned.results(slug.as_str()));
        results.extend(skipped(&format!("the sample block is not valid: {}", text(&error))));
        return Ok(results);
    }
    let block = yard.block(&address.to_string()).await?;
    let grants = yard.granted(bundle).await?;
    for capability in grants.iter() {
        yard.revoke(bundle, capability).await?;
    }
    let checked = check(&block, "`check` without grants", &mut returned).await;
    results.push(ConformanceResult::of(name("`check` with nothing granted"), checked));
    grant(yard, bundle, grants.iter()).await?;
    let checked = check(&block, "`check`", &mut returned).await;
    results.push(ConformanceResult::of(name("`check` without a network"), checked));
    for operation in &block_type.operations {
        let name = name(&format!("`{}` without a network", operation.name));
        results.push(match Sampler::new(&operation.arguments, manifest).document() {
            Ok(arguments) => {
                let arguments = if arguments.is_object() { arguments } else { Value::Object(Map::new()) };
                call(&block, &operation.name, arguments, operation.input, name, &mut returned).await
            }
            Err(reason) => ConformanceResult::skipped(name, format!("there are no sample arguments: {reason}")),
        });
    }
    results.extend(returned.results(slug.as_str()));
    Ok(results)
}

async fn grant(yard: &Yard, bundle: &BundleName, capabilities: impl Iterator<Item = &Capability>) -> Result<(), Error> {
    for capability in capabilities {
        yard.grant(bundle, capability).await?;
    }
    Ok(())
}

/// Returns the finding that a failed call is, if any.
fn findings<T>(result: &Result<T, Error>) -> Vec<String> {
    result.as_ref().err().and_then(finding).into_iter().collect()
}

/// Runs the check of a block, which may fail but not crash.
async fn check(block: &Block, what: &str, returned: &mut Returned) -> Vec<String> {
    let checked = block.check().await;
    match &checked {
        Ok(check) => {
            for CheckStep { name, status, detail, .. } in &check.steps {
                returned.text(what, &format!("{name} {status} {}", detail.as_deref().unwrap_or_default()));
            }
            returned.log(what, &check.log);
        }
        Err(error) => returned.error(what, error),
    }
    findings(&checked)
}

/// Calls an operation with sample arguments, and reads its output.
async fn call(
    block: &Block,
    operation: &str,
    arguments: Value,
    has_input: bool,
    name: String,
    returned: &mut Returned,
) -> ConformanceResult {
    let what = format!("`{operation}`");
    let input = has_input.then(|| Input {
        media_type: "application/octet-stream".to_owned(),
        size: Some(NAME.len() as u64),
        stream: stream::iter([Ok(Bytes::from_static(NAME.as_bytes()))]).boxed(),
    });
    let error = match block.call_with(operation, arguments, input, Deadline::within(TIME)).await {
        Ok(reply) => {
            returned.text(&what, &reply.result.to_string());
            returned.log(&what, &reply.log);
            match reply.output {
                Some((_, output)) => read(output, &what, returned).await,
                None => None,
            }
        }
        Err(error) if error.kind() == ErrorKind::Invalid => {
            return ConformanceResult::skipped(name, format!("the sample arguments are not valid: {}", text(&error)));
        }
        Err(error) => Some(error),
    };
    if let Some(error) = &error {
        returned.error(&what, error);
    }
    ConformanceResult::of(name, error.as_ref().and_then(finding).into_iter().collect())
}

/// Reads the beginning of an output. Returns the error that ends it.
async fn read(mut output: blockyard_host::ByteStream, what: &str, returned: &mut Returned) -> Option<Error> {
    let mut bytes = Vec::new();
    let mut failed = None;
    while let Some(chunk) = output.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(problem) => {
                failed = Some(Error::from(problem));
                break;
            }
        }
        if bytes.len() > OUTPUT_BYTES {
            break;
        }
    }
    returned.text(what, &String::from_utf8_lossy(&bytes));
    failed
}

impl Returned {
    fn text(&mut self, what: &str, text: &str) {
        self.texts.push((what.to_owned(), text.to_owned()));
    }

    fn log(&mut self, what: &str, lines: &[LogLine]) {
        for line in lines {
            self.text(&format!("the log of {what}"), &line.message);
        }
    }

    fn error(&mut self, what: &str, error: &Error) {
        let details = error.values().map(|details| details.to_string()).unwrap_or_default();
        let text = [text(error), error.hints().join(" "), details].concat();
        self.text(&format!("an error of {what}"), &text);
        let is_late = matches!(error.as_code(), Some(Code::DeadlineExceeded));
        if is_late || error.kind() == ErrorKind::Bundle && error.to_string().contains("was stopped") {
            self.limits.push(format!("{what}: {error}"));
        }
    }

    /// Searches the canaries, and lists the exceeded limits.
    fn results(self, slug: &str) -> [ConformanceResult; 2] {
        let leaks = self.texts.iter().filter(|(_, text)| text.contains(CANARY));
        let mut findings: Vec<String> = leaks.map(|(what, _)| format!("a secret is in {what}")).collect();
        findings.dedup();
        [
            ConformanceResult::of(format!("{slug}: no secret in output"), findings),
            ConformanceResult::of(format!("{slug}: limits"), self.limits),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConformanceStatus;

    #[test]
    fn canaries_and_limits_are_found() {
        let mut returned = Returned::default();
        returned.text("`get`", "nothing");
        let [secrets, limits] = returned.results("acme");
        assert_eq!((secrets.status, limits.status), (ConformanceStatus::Ok, ConformanceStatus::Ok));
        let mut returned = Returned::default();
        returned.error("`get`", &Error::new(ErrorKind::Remote, "failed").because(format!("token {CANARY}1")));
        returned.error("`put`", &Error::new(ErrorKind::Bundle, "bundle `acme` was stopped: its stack exceeds 512 KiB"));
        let [secrets, limits] = returned.results("acme");
        assert_eq!(secrets.reasons, ["a secret is in an error of `get`"]);
        assert_eq!(limits.reasons, ["`put`: bundle `acme` was stopped: its stack exceeds 512 KiB"]);
    }
}
