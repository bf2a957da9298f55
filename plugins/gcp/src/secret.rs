//! Block type `gcp-secret`, implemented with the Secret Manager REST API (version 1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blockyard_sdk::clock;
use blockyard_sdk::http::{self, Request, Response};
use blockyard_sdk::prelude::*;
use blockyard_sdk::retry::RetriedResponse;

use crate::api;
use crate::checksum::crc32c;
use crate::credentials::GcpCredentials;

/// Maximum payload of a version in bytes ("Quotas and limits", Secret Manager).
const PAYLOAD_BYTES: usize = 64 << 10;

/// A secret in Google Cloud Secret Manager, usable as the source of another block's secret:
/// `block:gcp-secret/NAME`.
#[derive(Block, Debug)]
#[block(type = "gcp-secret", version = 1, title = "Google Cloud secret", interfaces(interface::SecretStore))]
pub(crate) struct GcpSecret {
    /// Credentials for the requests, e.g. `gcp-credentials/prod`.
    credentials: BlockRef<GcpCredentials>,
    /// Name of the secret in its project, e.g. `db-password`.
    secret: String,
    /// Version to read: a number, or `latest`.
    #[serde(default = "latest")]
    secret_version: String,
}

fn latest() -> String {
    "latest".to_owned()
}

/// Metadata of a version.
#[data]
struct SecretVersion {
    /// Version number.
    version: String,
    /// `ENABLED`, `DISABLED` or `DESTROYED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// Creation time (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
}

#[operations]
impl interface::SecretStore for GcpSecret {
    /// Returns the bytes of the secret as a stream.
    fn read(&self) -> Result<Streamed<SecretVersion>> {
        let url = format!("{}/versions/{}:access", self.url()?, http::percent_encode(&self.secret_version));
        let answer = self.send(|| http::get(url.as_str()))?;
        let found: Value = api::ok(answer, &self.subject())?.json()?;
        let payload = &found["payload"];
        let bytes = payload["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
        let bytes = bytes
            .ok_or_else(|| Problem::new("failed", format!("Secret Manager returned no data for {}", self.subject())))?;
        // A 64-bit number, encoded as a string.
        let expected = payload["dataCrc32c"].as_str().and_then(|sum| sum.parse::<u32>().ok());
        if expected.is_some_and(|expected| expected != crc32c(&bytes)) {
            return Err(Problem::new(
                "failed",
                format!("{} was corrupted in transit: its CRC32C checksum does not match", self.subject()),
            )
            .retryable());
        }
        Ok(Streamed { result: version(&found), body: Body::from_bytes("application/octet-stream", &bytes) })
    }
}

#[operations]
impl GcpSecret {
    /// Writes the input as a new version. Creates the secret if it does not exist.
    #[operation(write)]
    fn write(&self, input: Body) -> Result<SecretVersion> {
        let mut bytes = Vec::new();
        while let Some(chunk) = input.read(1 << 16)? {
            bytes.extend(chunk);
            if bytes.len() > PAYLOAD_BYTES {
                return Err(Problem::invalid(format!("the secret exceeds the limit of {} KiB", PAYLOAD_BYTES >> 10)));
            }
        }
        let payload = json!({ "data": STANDARD.encode(&bytes), "dataCrc32c": crc32c(&bytes).to_string() });
        let url = format!("{}:addVersion", self.url()?);
        // Sent once: a retry could create a second version.
        let add = || {
            Ok::<_, Problem>(
                self.credentials.get()?.sign(http::post(url.as_str()).json(&json!({ "payload": payload }))),
            )
        };
        let mut answer = add()?.send()?;
        if answer.status == 404 {
            self.create()?;
            answer = add()?.send()?;
        }
        Ok(version(&api::ok(answer, &self.subject())?.json()?))
    }

    /// Lists the versions, newest first.
    #[operation(read)]
    fn versions(&self) -> Result<Vec<SecretVersion>> {
        let url = format!("{}/versions", self.url()?);
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let parameters: Vec<(&str, &str)> = if token.is_empty() { Vec::new() } else { vec![("pageToken", &token)] };
            let answer = self.send(|| http::get(url.as_str()).query(parameters.iter().copied()))?;
            let page: Value = api::ok(answer, &self.subject())?.json()?;
            all.extend(page["versions"].as_array().into_iter().flatten().map(version));
            token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Disables a version, so that it cannot be read. It can be enabled again in Google Cloud.
    #[operation(write, repeatable)]
    fn disable(
        &self,
        /// Version number, e.g. `3`.
        version_number: u64,
    ) -> Result<SecretVersion> {
        let url = format!("{}/versions/{version_number}:disable", self.url()?);
        let answer = self.send(|| http::post(url.as_str()).json(&json!({})))?;
        Ok(version(&api::ok(answer, &self.subject())?.json()?))
    }

    /// Deletes the secret and all its versions.
    #[operation(destructive)]
    fn delete(&self) -> Result<()> {
        let url = self.url()?;
        let credentials = self.credentials.get()?;
        let RetriedResponse { response, attempts } =
            api::send_counting(|| Ok(credentials.sign(http::delete(url.as_str()))))?;
        // An earlier attempt deleted the secret, but its response was lost.
        if attempts > 1 && response.status == 404 {
            return Ok(());
        }
        api::ok(response, &self.subject()).map(drop)
    }

    /// Requests an access token, then the metadata of the secret.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let answered = self.url().and_then(|url| self.credentials.get()?.sign(http::get(url)).send());
        api::check(answered, &self.subject(), started, |_| None)
    }

    /// Checks the name and the version of the secret.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=255).contains(&self.secret.len()) || !self.secret.bytes().all(known) {
            violations
                .push(Violation::new("/secret", "is not a valid secret name: 1 to 255 letters, digits, `-` and `_`"));
        }
        let number = !self.secret_version.is_empty() && self.secret_version.bytes().all(|byte| byte.is_ascii_digit());
        if !number && self.secret_version != "latest" {
            violations.push(Violation::new("/secret_version", "is neither a number nor `latest`"));
        }
        violations
    }

    fn create(&self) -> Result<()> {
        let url = format!("{}/secrets?secretId={}", self.project_url()?, http::percent_encode(&self.secret));
        let secret = json!({ "replication": { "automatic": {} } });
        let answer = self.send(|| http::post(url.as_str()).json(&secret))?;
        // A concurrent call created the secret.
        if answer.status == 409 { Ok(()) } else { api::ok(answer, &self.subject()).map(drop) }
    }

    /// Sends an idempotent request, retrying transient failures.
    fn send(&self, request: impl Fn() -> Request) -> Result<Response> {
        let credentials = self.credentials.get()?;
        api::send(|| credentials.sign(request()))
    }

    fn project_url(&self) -> Result<String> {
        let credentials = self.credentials.get()?;
        let project = credentials.need_project()?;
        Ok(format!("{}/v1/projects/{}", credentials.base("secretmanager"), http::percent_encode(project)))
    }

    fn url(&self) -> Result<String> {
        Ok(format!("{}/secrets/{}", self.project_url()?, http::percent_encode(&self.secret)))
    }

    fn subject(&self) -> String {
        format!("secret `{}`", self.secret)
    }
}

/// Reads a version from its resource, named `projects/P/secrets/S/versions/N`.
fn version(resource: &Value) -> SecretVersion {
    let text = |field: &str| resource[field].as_str().map(str::to_owned);
    let name = resource["name"].as_str().unwrap_or_default();
    let number = name.rsplit('/').next().unwrap_or_default().to_owned();
    SecretVersion { version: number, state: text("state"), created: text("createTime") }
}
