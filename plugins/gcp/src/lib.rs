//! Bundle for Google Cloud. It defines the block type `gcp-credentials` and the types that use it:
//! `gcs-bucket` (interface `object-storage`), `bigquery-warehouse` (interfaces `database` and
//! `job`) and `gcp-secret` (interface `secret-store`).

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
        // Other universes (Trusted Partner Cloud), if the service account key names one.
        "http https://oauth2.{config.service_account.universe_domain}",
        "http https://storage.{config.credentials.config.service_account.universe_domain}",
        "http https://bigquery.{config.credentials.config.service_account.universe_domain}",
        "http https://secretmanager.{config.credentials.config.service_account.universe_domain}",
        // Emulators, private endpoints and other token servers that the credentials configure.
        "http {config.endpoint}",
        "http {config.service_account.token_uri}",
        "http {config.authorized_user.token_uri}",
        "http {config.credentials.config.endpoint}",
        "http {config.credentials.config.service_account.token_uri}",
        "http {config.credentials.config.authorized_user.token_uri}",
        // Required for signed URLs.
        "crypto",
        "clock",
        "random",
    ],
}
