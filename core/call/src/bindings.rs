//! Bindings of the interfaces that capabilities share, generated from the WIT package. The bindings of a
//! capability refer to these with `with`.

#![allow(missing_docs, unreachable_pub, reason = "generated from schemas/wit/v0_1")]

wasmtime::component::bindgen!({
    path: "../../schemas/wit/v0_1",
    interfaces: "
        import blockyard:bundle/types@0.1.0;
        import blockyard:bundle/streams@0.1.0;
        import blockyard:bundle/secrets@0.1.0;
    ",
    imports: { default: async | trappable },
    with: {
        "blockyard:bundle/streams.body": crate::streams::Body,
        "blockyard:bundle/secrets.secret": crate::secrets::Secret,
    },
    trappable_error_type: {
        "blockyard:bundle/types.problem" => crate::problem::Fault,
    },
});
