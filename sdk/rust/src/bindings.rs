//! Guest bindings generated from the WIT package.

#![allow(missing_docs, unsafe_code, unreachable_pub, rust_2018_idioms, clippy::all, reason = "generated from wit/v0_1")]

wit_bindgen::generate!({
    path: "wit/v0_1",
    world: "bundle-reveal",
    pub_export_macro: true,
    default_bindings_module: "blockyard_sdk::bindings",
    runtime_path: "::blockyard_sdk::wit_bindgen::rt",
});
