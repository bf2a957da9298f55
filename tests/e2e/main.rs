//! The built binary against real databases, real keyrings, real components.

mod architecture;
mod audit;
mod bad_input;
mod blocks;
mod conformance_blocks;
mod conformance_code;
mod conformance_keys;
mod conformance_references;
mod conformance_secrets;
mod documentation;
mod durability;
mod faults;
mod formats;
mod keys;
mod mysql;
mod postgres;
mod purge;
mod questions;
mod reveal;
mod rotation;
mod sandbox;
mod sources;
mod sqlite;
mod yards;
