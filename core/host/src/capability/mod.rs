//! Capabilities that the host provides to bundles: one file per capability, all with the same
//! structure.

#![allow(unreachable_pub, reason = "the generated bindings re-export the guest's resources")]

pub(crate) mod clock;
pub(crate) mod crypto;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod random;
pub(crate) mod reveal;
pub(crate) mod secrets;
pub(crate) mod sql;
pub(crate) mod streams;
