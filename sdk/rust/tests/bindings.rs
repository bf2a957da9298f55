//! The bindings of native targets have the signatures of those that `wit-bindgen` generates for
//! WebAssembly.

use std::collections::BTreeSet;

/// The generated bindings. Their functions cannot be called natively.
#[allow(missing_docs, unsafe_code, unreachable_pub, rust_2018_idioms, dead_code, clippy::all, reason = "generated")]
mod generated {
    wit_bindgen::generate!({ path: "wit/v0_1", world: "bundle-reveal" });
}

/// Names every item of the bindings with its signature, so that it must exist in both.
macro_rules! signatures {
    ($name:ident, $($root:ident)::+) => {
        #[allow(dead_code, reason = "compiled only")]
        mod $name {
            use std::fmt::{Debug, Display};

            use $($root)::+::blockyard::bundle as imports;
            use $($root)::+::exports::blockyard::bundle::block_types;
            use imports::http::{
                Auth, ClientGrant, JwtGrant, Request, Response, SecretForm, SecretHeader, TokenSource,
            };
            use imports::secrets::Secret;
            use imports::sql::{Column, Connection, Execution, Rows, Target, Timestamp, Transaction, Value};
            use imports::streams::Body;
            use imports::types::Problem;

            type Fallible<T> = Result<T, Problem>;

            fn types(p: Problem) -> (String, String, Option<String>, bool, Option<String>) {
                fn is<T: Clone + std::error::Error + Display>() {}
                is::<Problem>();
                let Problem { code, message, hint, retryable, details } = p;
                (code, message, hint, retryable, details)
            }

            fn streams() {
                fn is<T: Debug + Send + Sync>() {}
                is::<Body>();
                let _: fn(&str, &[u8]) -> Body = Body::from_bytes;
                let _: fn(&Body) -> String = Body::media_type;
                let _: fn(&Body) -> Option<u64> = Body::size;
                let _: fn(&Body, u32) -> Fallible<Option<Vec<u8>>> = Body::read;
                let _: fn(&Body, u32) -> Fallible<Option<Body>> = Body::take;
                let _: fn(&Body) -> Fallible<Body> = Body::again;
            }

            fn secrets() {
                fn is<T: Debug + Send + Sync>() {}
                is::<Secret>();
                let _: fn(&str) -> Fallible<Secret> = imports::secrets::open;
                let _: fn(&Secret) -> String = Secret::pointer;
                let _: fn(&Secret) -> Fallible<Vec<u8>> = imports::reveal::reveal;
                let _: fn(&Secret, &[u8]) -> Fallible<Vec<u8>> = imports::crypto::hmac_sha256;
                let _: fn(&Secret, &[u8]) -> Fallible<Vec<u8>> = imports::crypto::sign_rs256;
            }

            fn http(key: &Secret, source: &TokenSource) {
                fn is<T: Debug + Clone>() {}
                fn is_debug<T: Debug>() {}
                fn is_copy<T: Debug + Copy + Ord>() {}
                is::<Request>();
                is::<JwtGrant>();
                is::<ClientGrant>();
                is_debug::<Response>();
                is_debug::<TokenSource>();
                is_copy::<SecretForm>();
                let text = String::new;
                let _: fn(&Request, &Auth<'_>, &[SecretHeader<'_>], Option<Body>) -> Fallible<Response> =
                    imports::http::send;
                let _: fn(&JwtGrant, &Secret) -> Fallible<TokenSource> = TokenSource::jwt_bearer;
                let _: fn(&ClientGrant, &Secret) -> Fallible<TokenSource> = TokenSource::client_credentials;
                let _: fn(&ClientGrant, Option<&Secret>, &Secret) -> Fallible<TokenSource> =
                    TokenSource::refresh_token;
                let _ = Request { method: text(), url: text(), headers: vec![(text(), text())], timeout_ms: Some(1) };
                let _ = |r: Response| -> (u16, Vec<(String, String)>, Body) { (r.status, r.headers, r.body) };
                let (subject, key_id) = (Some(text()), Some(text()));
                let _ = JwtGrant { token_url: text(), issuer: text(), subject, scopes: vec![text()], key_id };
                let _ = ClientGrant { token_url: text(), client_id: text(), scopes: vec![text()] };
                let _ = [Auth::None, Auth::Bearer(key), Auth::Basic((text(), key)), Auth::Token(source)];
                let _ = Auth::Url(key);
                let _ = [Auth::Scheme((text(), key)), Auth::Member((text(), key))];
                let _: fn(&Secret) -> Fallible<String> = imports::http::secret_origin;
                let _ = [SecretForm::Plain, SecretForm::Base64Sha256]
                    .map(|form| SecretHeader { name: text(), secret: key, form });
            }

            fn sql() {
                fn is<T: Debug + Clone>() {}
                fn is_copy<T: Debug + Copy>() {}
                fn is_resource<T: Debug + Send + Sync>() {}
                is::<Target>();
                is::<Value>();
                is::<Column>();
                is_copy::<Timestamp>();
                is_copy::<Execution>();
                is_resource::<Connection>();
                is_resource::<Transaction>();
                is_resource::<Rows>();
                let text = String::new;
                let _: fn(&Target, Option<&Secret>) -> Fallible<Connection> = Connection::open;
                let _: fn(&Connection, &str, &[Value]) -> Fallible<Rows> = Connection::query;
                let _: fn(&Connection, &str, &[Value]) -> Fallible<Execution> = Connection::execute;
                let _: fn(&Connection, &str, &[Vec<Value>]) -> Fallible<Execution> = Connection::execute_many;
                let _: fn(&Connection) -> Fallible<Transaction> = Connection::begin;
                let _: fn(&Transaction, &str, &[Value]) -> Fallible<Rows> = Transaction::query;
                let _: fn(&Transaction, &str, &[Value]) -> Fallible<Execution> = Transaction::execute;
                let _: fn(&Transaction, &[String], &[String], &[Vec<Value>]) -> Fallible<u64> = Transaction::insert;
                let _: fn(Transaction) -> Fallible<()> = Transaction::commit;
                let _: fn(&Rows) -> Vec<Column> = Rows::columns;
                let _: fn(&Rows, u32) -> Fallible<Vec<Vec<Value>>> = Rows::next;
                let _: fn(Rows) -> Body = Rows::into_arrow;
                let (host, port, username) = (Some(text()), Some(1_u16), Some(text()));
                let options = vec![(text(), text())];
                let _ = Target { dialect: text(), host, port, database: text(), username, options };
                let _ = Column { name: text(), type_name: text(), nullable: Some(true) };
                let _ = Execution { rows_affected: 1_u64, last_insert_id: Some(1_i64) };
                let timestamp = Timestamp { micros: 1_i64, offset_minutes: Some(1_i16) };
                let _ = [
                    Value::Null,
                    Value::Boolean(true),
                    Value::Integer(1_i64),
                    Value::Float(1_f64),
                    Value::Decimal(text()),
                    Value::Text(text()),
                    Value::Bytes(vec![1_u8]),
                    Value::Date(1_i32),
                    Value::Time(1_i64),
                    Value::Timestamp(timestamp),
                    Value::Uuid(text()),
                    Value::Json(text()),
                    Value::Other((text(), text())),
                ];
            }

            fn small() {
                use imports::log::Level;
                fn is<T: Debug + Copy + Ord>() {}
                is::<Level>();
                let _: fn(Level, &str) = imports::log::write;
                let _ = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
                let _: fn() -> u64 = imports::clock::now;
                let _: fn(u32) = imports::clock::sleep;
                let _: fn(u32) -> Vec<u8> = imports::random::fill;
            }

            struct Bundle;

            impl block_types::GuestParts for Bundle {
                fn next(&self) -> Fallible<Option<Body>> {
                    Ok(None)
                }
            }

            impl block_types::Guest for Bundle {
                type Parts = Self;

                fn describe() -> String {
                    String::new()
                }

                fn validate(_: String, _: String) -> Result<(), Vec<block_types::Violation>> {
                    Err(vec![block_types::Violation { pointer: String::new(), message: String::new() }])
                }

                fn migrate(_: String, _: u32, config: String) -> Fallible<String> {
                    Ok(config)
                }

                fn check(block: block_types::Block) -> Fallible<String> {
                    let block_types::Block { type_, name, revision, config } = block;
                    let _: u64 = revision;
                    Ok(type_ + &name + &config)
                }

                fn invoke(
                    _: block_types::Block,
                    _: String,
                    _: String,
                    input: Option<Body>,
                ) -> Fallible<block_types::Reply> {
                    use block_types::{Output, Parts};
                    let outputs = [Output::None, Output::Parts(Parts::new(Bundle))];
                    let mut outputs = outputs.into_iter().chain(input.map(Output::Body));
                    let output = outputs.next().expect("an output");
                    Ok(block_types::Reply { result: String::new(), output })
                }
            }
        }
    };
}

signatures!(wasm, crate::generated);
signatures!(native, blockyard_sdk::bindings);

/// A function that is added to the interfaces must be added to `signatures!`.
#[test]
fn each_function_of_the_interfaces_is_compared() {
    let source = include_str!("bindings.rs");
    let mut names = BTreeSet::new();
    for line in include_str!("../wit/v0_1/bundle.wit").lines() {
        if let Some((name, signature)) = line.trim().split_once(": ")
            && (signature.starts_with("func(") || signature.starts_with("static func("))
        {
            names.insert(name.replace('-', "_"));
        }
    }
    assert!(names.len() > 30, "{names:?}");
    let is_named = |name: &String| source.contains(&format!("::{name}")) || source.contains(&format!("fn {name}("));
    let missing: Vec<&String> = names.iter().filter(|name| !is_named(name)).collect();
    assert!(missing.is_empty(), "`signatures!` does not compare {missing:?}");
}
