//! Traces are exported over OTLP/HTTP to the configured collector only. They contain no values, and
//! a collector that does not respond affects nothing.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use blockyard_tests::web::{Answer, Web};
use blockyard_tests::{TestYard, bundle, run_command};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

const CANARY: &str = "wheatear";

fn yard() -> TestYard {
    let yard = TestYard::with_sqlite();
    yard.ok(&["install", &bundle("misbehave"), "--yes"]);
    yard.ok_with_input(&["create", "misbehave/m", "--secret", "password=-"], &format!("{CANARY}-password"));
    yard
}

/// Starts an OpenTelemetry collector that accepts OTLP/HTTP. An empty response acknowledges all
/// data.
fn start_collector() -> Web {
    Web::start(|_| Answer::text("").header("content-type", "application/x-protobuf"))
}

/// Returns the spans that a collector received.
fn spans(collector: &Web) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in collector.requests() {
        let line = (request.method.as_str(), request.target.as_str(), request.version.as_str());
        assert_eq!(line, ("POST", "/v1/traces", "HTTP/1.1"));
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        let export = ExportTraceServiceRequest::decode(request.body.as_slice()).expect("protobuf");
        for resource in export.resource_spans {
            let service = resource.resource.expect("a resource").attributes;
            assert_eq!(
                format!("{:?}", service[0].value.as_ref().and_then(|v| v.value.as_ref())),
                "Some(StringValue(\"blockyard\"))"
            );
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => panic!("`{name}` is {other:?} in {span:?}"),
    }
}

#[test]
fn spans_of_calls_contain_no_values() {
    let yard = yard();
    yard.ok(&["execute", "sql-database/flights", "create table t (a)"]);
    let collector = start_collector();
    let export = |arguments: &[&str]| {
        let mut command = yard.command(arguments);
        run_command(command.env("BLOCKYARD_OTLP", collector.url()), None)
    };
    let statement = format!("select '{CANARY}' as word, :word as other");
    let parameter = format!("word={CANARY}-parameter");
    let queried = export(&["query", "sql-database/flights", &statement, "--param", &parameter, "--format", "csv"]);
    assert_eq!((queried.code, queried.stderr.as_str()), (0, ""), "{}", queried.stdout);
    assert!(queried.stdout.contains(CANARY), "the output must contain the canary");
    assert_eq!(
        yard.run(&["call", "misbehave/m", "log-secret", "--otlp"]).code,
        2,
        "the flag must precede the operation"
    );
    let address = collector.url();
    assert_eq!(yard.run(&["--otlp", &address, "call", "misbehave/m", "log-secret", "-q"]).code, 0);
    assert_eq!(yard.run(&["--otlp", &address, "call", "misbehave/m", "panic"]).code, 7);

    let spans = spans(&collector);
    let call = |operation: &str| {
        let of = |span: &&Span| span.name == "call" && attribute(span, "operation") == operation;
        spans.iter().find(of).unwrap_or_else(|| panic!("no call of {operation} in {spans:?}"))
    };
    let query = call("query");
    assert_eq!(attribute(query, "block"), "sql-database/flights");
    assert_eq!(attribute(query, "revision"), "1");
    let number = |name: &str| query.attributes.iter().find(|attribute| attribute.key == name).cloned();
    for name in ["revision", "bytes"] {
        let value = number(name).and_then(|attribute| attribute.value?.value);
        assert!(matches!(value, Some(Value::IntValue(_))), "`{name}` is {value:?}");
    }
    assert_eq!(attribute(query, "bundle"), "sql");
    assert_eq!(attribute(query, "digest").len(), 64);
    assert_eq!(attribute(query, "effect"), "read");
    assert_eq!(attribute(query, "outcome"), "ok");
    assert!(attribute(query, "bytes").parse::<u64>().expect("a number") > 0);
    assert!(query.end_time_unix_nano > query.start_time_unix_nano);
    assert_eq!(attribute(call("panic"), "outcome"), "bundle");
    let opened = spans.iter().find(|span| span.name == "host-call" && attribute(span, "function") == "sql.open");
    let opened = opened.expect("the host opened a database");
    assert_eq!(attribute(opened, "dialect"), "sqlite");
    assert_eq!((&opened.parent_span_id, &opened.trace_id), (&query.span_id, &query.trace_id));

    for request in collector.requests() {
        let text = format!("{} {:?} {}", request.target, request.headers, String::from_utf8_lossy(&request.body));
        assert!(!text.contains(CANARY), "{text}");
        // Traces contain neither thread names nor source locations.
        assert!(!text.contains("thread") && !text.contains(".rs"), "{text}");
    }
}

#[test]
fn nothing_is_exported_without_an_endpoint() {
    let yard = yard();
    let collector = start_collector();
    let mut command = yard.command(&["call", "misbehave/m", "nothing"]);
    // Environment variables that other programs use.
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).env("OTEL_TRACES_EXPORTER", "otlp");
    assert_eq!(run_command(&mut command, None).code, 0);
    assert!(collector.requests().is_empty());
    // The address on the command line takes precedence over these variables.
    let other = start_collector();
    let mut command = yard.command(&["--otlp", &other.url(), "call", "misbehave/m", "nothing"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).env("OTEL_TRACES_SAMPLER", "always_off");
    assert_eq!(run_command(&mut command, None).code, 0);
    assert!(collector.requests().is_empty());
    assert_eq!(spans(&other).len(), 1);
}

#[test]
fn unresponsive_collector_does_not_affect_calls() {
    let yard = yard();
    // One port that rejects connections, and one that accepts them and never responds.
    let closed = "127.0.0.1:1".parse().expect("an address without a listener");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    for address in [closed, silent.local_addr().expect("its address")] {
        let address = format!("http://{address}");
        let started = Instant::now();
        let output = yard.run(&["--otlp", &address, "call", "misbehave/m", "nothing"]);
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (0, "null\n", ""), "{address}");
        assert!(started.elapsed() < Duration::from_secs(20), "{address}");
        let stderr = yard.run(&["--otlp", &address, "-v", "call", "misbehave/m", "nothing"]).stderr;
        assert_eq!(stderr.matches("traces cannot be exported, and are dropped").count(), 1, "{stderr}");
    }
}

#[test]
fn invalid_endpoint_is_a_usage_error_without_quoting_it() {
    let yard = yard();
    for address in ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://user:hunter2@127.0.0.1:4318"] {
        let stderr = yard.fails(2, &["--otlp", address, "list"]);
        assert!(stderr.contains("`--otlp`") && !stderr.contains("hunter2"), "{stderr}");
    }
}
