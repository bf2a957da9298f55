//! Host-side bindings generated from the WIT package.

#![allow(missing_docs, unreachable_pub, reason = "generated from schemas/wit/v0_1")]

wasmtime::component::bindgen!({
    path: "../../schemas/wit/v0_1",
    world: "bundle-reveal",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "blockyard:bundle/streams.body": crate::capability::streams::Body,
        "blockyard:bundle/secrets.secret": crate::capability::secrets::Secret,
        "blockyard:bundle/http.token-source": crate::capability::http::TokenSource,
        "blockyard:bundle/sql.connection": crate::capability::sql::Connection,
        "blockyard:bundle/sql.transaction": crate::capability::sql::Transaction,
        "blockyard:bundle/sql.rows": crate::capability::sql::Rows,
    },
    trappable_error_type: {
        "blockyard:bundle/types.problem" => crate::problem::Fault,
    },
});
