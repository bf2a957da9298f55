//! Bindings of the interface `sql`, generated from the WIT package.

#![allow(missing_docs, unreachable_pub, reason = "generated from schemas/wit/v0_1")]

wasmtime::component::bindgen!({
    path: "../../../schemas/wit/v0_1",
    interfaces: "import blockyard:bundle/sql@0.1.0;",
    imports: { default: async | trappable },
    with: {
        "blockyard:bundle/types": blockyard_call::bindings::blockyard::bundle::types,
        "blockyard:bundle/streams": blockyard_call::bindings::blockyard::bundle::streams,
        "blockyard:bundle/secrets": blockyard_call::bindings::blockyard::bundle::secrets,
        "blockyard:bundle/sql.connection": crate::connection::Connection,
        "blockyard:bundle/sql.transaction": crate::connection::Transaction,
        "blockyard:bundle/sql.rows": crate::rows::Rows,
    },
    trappable_error_type: {
        "blockyard:bundle/types.problem" => blockyard_call::Fault,
    },
});
