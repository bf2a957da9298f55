//! Google Cloud as blocks: `gcp-credentials`, and what builds on them: `gcs-bucket` with the standard
//! interface `object-storage`, `bigquery-warehouse` with `database` and `job`, `gcp-secret` with
//! `secret-store`.

mod api;
mod bigquery;
mod bucket;
mod checksum;
mod credentials;
mod encryption;
mod path;
mod resumable;
mod secret;
mod signed;
mod upload;

use blockyard_sdk::prelude::*;

use bigquery::BigqueryWarehouse;
use bucket::GcsBucket;
use credentials::GcpCredentials;
use secret::GcpSecret;

bundle! {
    name: "gcp",
    description: "Google Cloud: credentials, Cloud Storage, BigQuery, Secret Manager",
    types: [GcpCredentials, GcsBucket, BigqueryWarehouse, GcpSecret],
    capabilities: [
        "http https://*.googleapis.com",
        // Clouds of their own, where the key of a service account says so.
        "http https://oauth2.{config.service_account.universe_domain}",
        "http https://storage.{config.credentials.config.service_account.universe_domain}",
        "http https://bigquery.{config.credentials.config.service_account.universe_domain}",
        "http https://secretmanager.{config.credentials.config.service_account.universe_domain}",
        // Emulators, private endpoints and other token servers: where the credentials name them.
        "http {config.endpoint}",
        "http {config.service_account.token_uri}",
        "http {config.authorized_user.token_uri}",
        "http {config.credentials.config.endpoint}",
        "http {config.credentials.config.service_account.token_uri}",
        "http {config.credentials.config.authorized_user.token_uri}",
        // Signed URLs.
        "crypto",
        "clock",
        "random",
    ],
}
