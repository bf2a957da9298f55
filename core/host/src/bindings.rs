//! Host-side bindings generated from the WIT package: the exports of a bundle, and the interfaces of the
//! capabilities in this crate.

#![allow(missing_docs, unreachable_pub, reason = "generated from schemas/wit/v0_1")]

wasmtime::component::bindgen!({
    path: "../../schemas/wit/v0_1",
    world: "bundle-reveal",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "blockyard:bundle/types": blockyard_call::bindings::blockyard::bundle::types,
        "blockyard:bundle/streams": blockyard_call::bindings::blockyard::bundle::streams,
        "blockyard:bundle/secrets": blockyard_call::bindings::blockyard::bundle::secrets,
        "blockyard:bundle/sql": blockyard_sql::bindings::blockyard::bundle::sql,
        "blockyard:bundle/http": blockyard_http::bindings::blockyard::bundle::http,
    },
    trappable_error_type: {
        "blockyard:bundle/types.problem" => blockyard_call::Fault,
    },
});
