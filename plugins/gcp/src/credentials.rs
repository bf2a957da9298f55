//! Credentials for Google APIs: a service account key, or application-default credentials of a
//! user.

use std::time::Duration;

use blockyard_sdk::http::{self, Assertion, Client, Request, TokenSource};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

/// Google's OAuth 2.0 token endpoint.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Scope that covers everything that IAM permits the account to do.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Credentials for Google Cloud: a service account key, or application-default credentials of a
/// user.
#[derive(Block, Clone, Debug)]
#[block(type = "gcp-credentials", version = 1, title = "Google Cloud credentials", interfaces(interface::Credentials))]
pub(crate) struct GcpCredentials {
    /// Project ID used for requests and billing, e.g. `my-project`. Defaults to the project of the
    /// service account or the user's quota project.
    pub(crate) project: Option<String>,
    /// Service account key file: `--set service_account=@key.json`. The private key is stored as a
    /// secret.
    pub(crate) service_account: Option<ServiceAccount>,
    /// Application-default credentials of a user, as written by `gcloud auth application-default
    /// login`.
    pub(crate) authorized_user: Option<AuthorizedUser>,
    /// OAuth 2.0 scopes of the access tokens.
    #[serde(default = "scopes")]
    pub(crate) scopes: Vec<String>,
    /// Base URL of the APIs if it is not Google's: an emulator or a private endpoint, e.g.
    /// `http://localhost:4443`.
    pub(crate) endpoint: Option<String>,
}

/// Service account key file, in the format that Google issues.
#[data]
#[derive(Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceAccount {
    /// Always `service_account`.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// Project ID of the service account.
    pub(crate) project_id: Option<String>,
    /// ID of the private key.
    pub(crate) private_key_id: Option<String>,
    /// PEM-encoded private key.
    #[block(audience = "https://*.googleapis.com {config.endpoint}", sign = "goog4-rsa-sha256")]
    #[block(token = "{config.service_account.token_uri} https://oauth2.googleapis.com/token")]
    #[block(audience = "https://oauth2.{config.service_account.universe_domain}")]
    #[block(audience = "https://storage.{config.service_account.universe_domain}")]
    #[block(audience = "https://bigquery.{config.service_account.universe_domain}")]
    #[block(audience = "https://secretmanager.{config.service_account.universe_domain}")]
    pub(crate) private_key: Secret<String>,
    /// Email address of the service account.
    pub(crate) client_email: String,
    /// Numeric ID of the service account.
    pub(crate) client_id: Option<String>,
    /// OAuth 2.0 authorization endpoint. Not used.
    pub(crate) auth_uri: Option<String>,
    /// OAuth 2.0 token endpoint.
    #[serde(default = "token_uri")]
    pub(crate) token_uri: String,
    /// URL of Google's certificates. Not used.
    pub(crate) auth_provider_x509_cert_url: Option<String>,
    /// URL of the service account's certificates. Not used.
    pub(crate) client_x509_cert_url: Option<String>,
    /// Universe domain: `googleapis.com`, or the API domain of another universe (Trusted Partner
    /// Cloud).
    pub(crate) universe_domain: Option<String>,
}

/// Application-default credentials of a user.
#[data]
#[derive(Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthorizedUser {
    /// Always `authorized_user`.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// OAuth 2.0 client ID of the application that the user authorized.
    pub(crate) client_id: String,
    /// OAuth 2.0 client secret of that application.
    #[block(audience = "https://*.googleapis.com {config.endpoint}")]
    #[block(token = "{config.authorized_user.token_uri} https://oauth2.googleapis.com/token")]
    pub(crate) client_secret: Secret<String>,
    /// OAuth 2.0 refresh token.
    #[block(audience = "https://*.googleapis.com {config.endpoint}")]
    #[block(token = "{config.authorized_user.token_uri} https://oauth2.googleapis.com/token")]
    pub(crate) refresh_token: Secret<String>,
    /// User account, if the file contains it. Not used.
    pub(crate) account: Option<String>,
    /// Project ID that API quota is charged to.
    pub(crate) quota_project_id: Option<String>,
    /// OAuth 2.0 token endpoint.
    #[serde(default = "token_uri")]
    pub(crate) token_uri: String,
    /// Universe domain. Must be `googleapis.com`: other universes have no user accounts.
    pub(crate) universe_domain: Option<String>,
}

fn scopes() -> Vec<String> {
    vec![CLOUD_PLATFORM.to_owned()]
}

fn token_uri() -> String {
    TOKEN_URI.to_owned()
}

#[operations]
impl interface::Credentials for GcpCredentials {
    /// Returns the service account, the project and the scopes of the credentials.
    fn describe(&self) -> Result<Identity> {
        Ok(Identity {
            account: self.service_account.as_ref().map(|account| account.client_email.clone()),
            project: self.project().map(str::to_owned),
            scopes: self.scopes.clone(),
        })
    }
}

#[operations]
impl GcpCredentials {
    /// Requests an access token.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let (status, detail) = match self.authenticate() {
            Ok(()) => (StepStatus::Passed, self.service_account.as_ref().map(|account| account.client_email.clone())),
            Err(problem) => (StepStatus::Failed, Some(problem.to_string())),
        };
        vec![Step::new("authenticate", status, detail, started)]
    }

    /// Checks that exactly one kind of credentials is given. None is required with a custom
    /// `endpoint`.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        match (&self.service_account, &self.authorized_user, &self.endpoint) {
            (Some(_), Some(_), _) => violations.push(Violation::new(
                "/authorized_user",
                "cannot be combined with `service_account`; remove one of them",
            )),
            (None, None, None) => violations.push(Violation::new(
                "/service_account",
                "is missing; set it to a service account key file, or set `authorized_user`",
            )),
            _ => {}
        }
        let kinds = [
            ("service_account", self.service_account.as_ref().and_then(|account| account.kind.as_deref())),
            ("authorized_user", self.authorized_user.as_ref().and_then(|user| user.kind.as_deref())),
        ];
        for (field, kind) in kinds {
            if kind.is_some_and(|kind| kind != field) {
                violations.push(Violation::new(
                    format!("/{field}/type"),
                    format!("must be `{field}`; this is a different kind of key file"),
                ));
            }
        }
        let own = self.authorized_user.as_ref().and_then(|user| user.universe_domain.as_deref());
        if own.is_some_and(|domain| !domain.is_empty() && domain != "googleapis.com") {
            violations.push(Violation::new(
                "/authorized_user/universe_domain",
                "must be `googleapis.com`; other universes have no user accounts",
            ));
        }
        if self.scopes.is_empty() {
            violations.push(Violation::new("/scopes", "is empty; at least one scope is required"));
        }
        violations
    }

    fn authenticate(&self) -> Result<()> {
        if self.service_account.is_none() && self.authorized_user.is_none() {
            return Ok(());
        }
        // The host obtains an access token before it sends the request, so any response except 401
        // proves that authentication succeeded.
        let url = format!("{}/tokeninfo", self.base("oauth2"));
        let answer = self.sign(http::get(url).timeout(Duration::from_secs(30))).send()?;
        match answer.status {
            401 => Err(Problem::new("denied", "the access token was rejected")),
            _ => Ok(()),
        }
    }
}

impl GcpCredentials {
    /// Returns the project ID, if one is configured.
    pub(crate) fn project(&self) -> Option<&str> {
        let of_account = self.service_account.as_ref().and_then(|account| account.project_id.as_deref());
        let of_user = self.authorized_user.as_ref().and_then(|user| user.quota_project_id.as_deref());
        self.project.as_deref().or(of_account).or(of_user)
    }

    /// Returns the project ID, or an error if none is configured.
    pub(crate) fn need_project(&self) -> Result<&str> {
        self.project()
            .ok_or_else(|| Problem::invalid("no project is configured").hint("set `project` in the credentials"))
    }

    fn universe(&self) -> &str {
        let own = self.service_account.as_ref().and_then(|account| account.universe_domain.as_deref());
        own.filter(|domain| !domain.is_empty()).unwrap_or("googleapis.com")
    }

    /// Returns the base URL of an API, without a trailing slash.
    pub(crate) fn base(&self, service: &str) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://{service}.{}", self.universe()),
        }
    }

    /// Adds an access token to the request, if credentials are configured.
    pub(crate) fn sign(&self, request: Request) -> Request {
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        if let Some(account) = &self.service_account {
            let assertion = Assertion {
                token_url: &account.token_uri,
                issuer: &account.client_email,
                subject: None,
                scopes: &scopes,
                key_id: account.private_key_id.as_deref(),
            };
            return request.token(TokenSource::jwt_bearer(&assertion, &account.private_key));
        }
        if let Some(user) = &self.authorized_user {
            let client = Client { token_url: &user.token_uri, client_id: &user.client_id, scopes: &[] };
            let source = TokenSource::refresh_token(&client, Some(&user.client_secret), &user.refresh_token);
            return request.token(source);
        }
        request
    }
}

/// Identity of the credentials.
#[data]
struct Identity {
    /// Email address of the service account; omitted for users.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Project ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// OAuth 2.0 scopes.
    scopes: Vec<String>,
}
