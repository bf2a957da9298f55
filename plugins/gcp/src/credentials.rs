//! Who calls Google's APIs: a service account with its key, or a person who agreed once.

use std::time::Duration;

use blockyard_sdk::http::{self, Assertion, Client, Request, TokenSource};
use blockyard_sdk::prelude::*;
use blockyard_sdk::{StepStatus, clock};

use crate::api;

/// Where Google hands out access tokens.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// All that the account itself may do.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Credentials for Google Cloud: the key of a service account, or application-default credentials of a person.
#[derive(Block, Clone, Debug)]
#[block(type = "gcp-credentials", version = 1, title = "Google Cloud credentials", interfaces("credentials"))]
pub(crate) struct GcpCredentials {
    /// The project that is used and billed; where none is given, that of the service account.
    pub(crate) project: Option<String>,
    /// The key file of a service account: `--set service_account=@key.json`. Its private key is kept as a secret.
    pub(crate) service_account: Option<ServiceAccount>,
    /// Application-default credentials of a person, as `gcloud auth application-default login` writes them.
    pub(crate) authorized_user: Option<AuthorizedUser>,
    /// What tokens are good for (OAuth 2.0 scopes).
    #[serde(default = "scopes")]
    pub(crate) scopes: Vec<String>,
    /// Where the APIs are, in place of Google's own servers: an emulator, or a private endpoint.
    pub(crate) endpoint: Option<String>,
}

/// The key file of a service account, as Google makes it.
#[data]
#[derive(Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServiceAccount {
    /// `service_account`.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// The account's project.
    pub(crate) project_id: Option<String>,
    /// Which of the account's keys this is.
    pub(crate) private_key_id: Option<String>,
    /// The key, in PEM.
    #[block(audience = "https://*.googleapis.com {config.endpoint}", sign = "goog4-rsa-sha256")]
    #[block(token = "{config.service_account.token_uri} https://oauth2.googleapis.com/token")]
    #[block(audience = "https://oauth2.{config.service_account.universe_domain}")]
    #[block(audience = "https://storage.{config.service_account.universe_domain}")]
    #[block(audience = "https://bigquery.{config.service_account.universe_domain}")]
    #[block(audience = "https://secretmanager.{config.service_account.universe_domain}")]
    pub(crate) private_key: Secret<String>,
    /// The account's e-mail address.
    pub(crate) client_email: String,
    /// The account's number.
    pub(crate) client_id: Option<String>,
    /// Not used: where people would log in.
    pub(crate) auth_uri: Option<String>,
    /// Where tokens come from.
    #[serde(default = "token_uri")]
    pub(crate) token_uri: String,
    /// Not used: certificates of Google.
    pub(crate) auth_provider_x509_cert_url: Option<String>,
    /// Not used: certificates of the account.
    pub(crate) client_x509_cert_url: Option<String>,
    /// Where the APIs' names end: `googleapis.com`, or the domain of a cloud of its own.
    pub(crate) universe_domain: Option<String>,
}

/// Application-default credentials of a person.
#[data]
#[derive(Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthorizedUser {
    /// `authorized_user`.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// The program that the person agreed to.
    pub(crate) client_id: String,
    /// That program's secret.
    #[block(audience = "https://*.googleapis.com {config.endpoint}")]
    #[block(token = "{config.authorized_user.token_uri} https://oauth2.googleapis.com/token")]
    pub(crate) client_secret: Secret<String>,
    /// What the person gave it.
    #[block(audience = "https://*.googleapis.com {config.endpoint}")]
    #[block(token = "{config.authorized_user.token_uri} https://oauth2.googleapis.com/token")]
    pub(crate) refresh_token: Secret<String>,
    /// Not used: the person's account, where it is said.
    pub(crate) account: Option<String>,
    /// The project that quota is taken from.
    pub(crate) quota_project_id: Option<String>,
    /// Where tokens come from.
    #[serde(default = "token_uri")]
    pub(crate) token_uri: String,
    /// `googleapis.com`: people have accounts in no other.
    pub(crate) universe_domain: Option<String>,
}

fn scopes() -> Vec<String> {
    vec![CLOUD_PLATFORM.to_owned()]
}

fn token_uri() -> String {
    TOKEN_URI.to_owned()
}

#[operations]
impl GcpCredentials {
    /// Says whose credentials these are and for which project.
    #[operation(read)]
    fn describe(&self) -> Result<Identity> {
        Ok(Identity {
            account: self.service_account.as_ref().map(|account| account.client_email.clone()),
            project: self.project().map(str::to_owned),
            scopes: self.scopes.clone(),
        })
    }

    /// Gets an access token.
    #[check]
    fn check(&self) -> Vec<Step> {
        let started = clock::now();
        let (status, detail) = match self.authenticate() {
            Ok(()) => (StepStatus::Passed, self.service_account.as_ref().map(|account| account.client_email.clone())),
            Err(problem) => (StepStatus::Failed, Some(problem.to_string())),
        };
        vec![api::step("authenticate", status, detail, started)]
    }

    /// One way to prove who calls, and no more.
    #[validate]
    fn validate(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        match (&self.service_account, &self.authorized_user, &self.endpoint) {
            (Some(_), Some(_), _) => violations.push(Violation::new(
                "/authorized_user",
                "stands beside `service_account`; credentials are one or the other",
            )),
            (None, None, None) => violations.push(Violation::new(
                "/service_account",
                "is missing; give the key file of a service account, or `authorized_user`",
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
                    format!("is not `{field}`: another kind of key file"),
                ));
            }
        }
        let own = self.authorized_user.as_ref().and_then(|user| user.universe_domain.as_deref());
        if own.is_some_and(|domain| !domain.is_empty() && domain != "googleapis.com") {
            violations.push(Violation::new(
                "/authorized_user/universe_domain",
                "is another cloud, where people have no accounts",
            ));
        }
        if self.scopes.is_empty() {
            violations.push(Violation::new("/scopes", "is empty; a token is good for something"));
        }
        violations
    }

    fn authenticate(&self) -> Result<()> {
        if self.service_account.is_none() && self.authorized_user.is_none() {
            return Ok(());
        }
        // Whatever is answered: the host has a token before it sends the request.
        let url = format!("{}/tokeninfo", self.base("oauth2"));
        let answer = self.sign(http::get(url).timeout(Duration::from_secs(30))).send()?;
        match answer.status {
            401 => Err(Problem::new("denied", "the access token that was given is not accepted")),
            _ => Ok(()),
        }
    }
}

impl GcpCredentials {
    /// The project, where one is known.
    pub(crate) fn project(&self) -> Option<&str> {
        let of_account = self.service_account.as_ref().and_then(|account| account.project_id.as_deref());
        let of_user = self.authorized_user.as_ref().and_then(|user| user.quota_project_id.as_deref());
        self.project.as_deref().or(of_account).or(of_user)
    }

    /// The project, for what cannot be without.
    pub(crate) fn need_project(&self) -> Result<&str> {
        self.project().ok_or_else(|| {
            Problem::invalid("it is not known in which project").hint("set `project` in the credentials")
        })
    }

    fn universe(&self) -> &str {
        let own = self.service_account.as_ref().and_then(|account| account.universe_domain.as_deref());
        own.filter(|domain| !domain.is_empty()).unwrap_or("googleapis.com")
    }

    /// Where an API is, without a slash at the end.
    pub(crate) fn base(&self, service: &str) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://{service}.{}", self.universe()),
        }
    }

    /// The request with an access token, where there are credentials.
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

/// Whose credentials they are.
#[data]
struct Identity {
    /// The service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    /// What tokens are good for.
    scopes: Vec<String>,
}
