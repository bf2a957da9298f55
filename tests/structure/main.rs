//! Tests of the repository itself: dependencies between crates, licenses, texts. They need cargo,
//! but neither the binary nor a server.

mod architecture;
mod dependencies;
mod modules;
mod tidy;
