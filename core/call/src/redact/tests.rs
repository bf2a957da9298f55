//! Property tests: random secrets in random nested encodings, split into random chunks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use blockyard_model::SecretValue;
use blockyard_model::secret::MASK;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use proptest::prelude::*;

use super::*;
use crate::problem::Problem;

/// Encodings in which servers return a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoder {
    Plain,
    PercentUpper,
    PercentLower,
    PercentAll,
    Component,
    Form,
    Json,
    JsonAscii,
    JsonBytes,
    JsonSlash,
    Html,
    HtmlNumbers,
    RustDebug,
    HexLower,
    HexUpper,
    Base64,
    Base64NoPad,
    Base64Url,
    Base64Lines,
    Utf16Le,
    Utf16Be,
}

const ALL: [Encoder; 21] = [
    Encoder::Plain,
    Encoder::PercentUpper,
    Encoder::PercentLower,
    Encoder::PercentAll,
    Encoder::Component,
    Encoder::Form,
    Encoder::Json,
    Encoder::JsonAscii,
    Encoder::JsonBytes,
    Encoder::JsonSlash,
    Encoder::Html,
    Encoder::HtmlNumbers,
    Encoder::RustDebug,
    Encoder::HexLower,
    Encoder::HexUpper,
    Encoder::Base64,
    Encoder::Base64NoPad,
    Encoder::Base64Url,
    Encoder::Base64Lines,
    Encoder::Utf16Le,
    Encoder::Utf16Be,
];

fn percent(bytes: &[u8], kept: &[u8], upper: bool) -> Vec<u8> {
    let encode = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() && !kept.is_empty() || kept.contains(byte) => vec![*byte],
        byte if upper => format!("%{byte:02X}").into_bytes(),
        byte => format!("%{byte:02x}").into_bytes(),
    };
    bytes.iter().flat_map(encode).collect()
}

fn units(text: &str, only: impl Fn(char) -> bool) -> Vec<u8> {
    let escape = |c: char| match only(c) {
        true => c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect::<String>().into_bytes()
}

fn encode(encoder: Encoder, bytes: &[u8]) -> Vec<u8> {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    let json = || serde_json::to_string(&text()).expect("JSON");
    match encoder {
        Encoder::Plain => bytes.to_vec(),
        Encoder::PercentUpper => percent(bytes, b"-._~", true),
        Encoder::PercentLower => percent(bytes, b"-._~", false),
        Encoder::PercentAll => percent(bytes, b"", true),
        Encoder::Component => percent(bytes, b"-_.!~*'()", true),
        Encoder::Form => url::form_urlencoded::byte_serialize(bytes).collect::<String>().into_bytes(),
        Encoder::Json => json().into_bytes(),
        Encoder::JsonAscii => units(&json(), |c| !c.is_ascii()),
        Encoder::JsonBytes => {
            let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            units(&serde_json::to_string(&latin).expect("JSON"), |c| !c.is_ascii())
        }
        Encoder::JsonSlash => json().replace('/', "\\/").into_bytes(),
        Encoder::Html => text()
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;")
            .into_bytes(),
        Encoder::HtmlNumbers => text()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("&#x{:X};", u32::from(c)) })
            .collect::<String>()
            .into_bytes(),
        Encoder::RustDebug => format!("{:?}", text()).into_bytes(),
        Encoder::HexLower => bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
        Encoder::HexUpper => bytes.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect(),
        Encoder::Base64 => STANDARD.encode(bytes).into_bytes(),
        Encoder::Base64NoPad => STANDARD_NO_PAD.encode(bytes).into_bytes(),
        Encoder::Base64Url => URL_SAFE_NO_PAD.encode(bytes).into_bytes(),
        Encoder::Base64Lines => STANDARD.encode(bytes).into_bytes().chunks(20).collect::<Vec<_>>().join(&b"\r\n"[..]),
        Encoder::Utf16Le => text().encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Encoder::Utf16Be => text().encode_utf16().flat_map(u16::to_be_bytes).collect(),
    }
}

fn redactor(secret: &str) -> Redactor {
    Redactor::new([&SecretValue::new(secret.to_owned())].into_iter())
}

/// Masks a text as a stream of chunks of `size` bytes. Returns the bytes, if a secret was found,
/// and if the stream was refused.
fn streamed(redactor: &Arc<Redactor>, text: &[u8], size: usize, on_find: OnFind) -> (Vec<u8>, bool, bool) {
    let source: Vec<Result<Bytes, Problem>> =
        text.chunks(size.max(1)).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let found = Arc::new(AtomicBool::new(false));
    let masked = redactor.clone().stream(stream::iter(source).boxed(), on_find, found.clone(), Arc::default());
    let chunks: Vec<Result<Bytes, Problem>> =
        futures_util::FutureExt::now_or_never(masked.collect()).expect("nothing waits");
    let refused = chunks.iter().any(Result::is_err);
    (chunks.into_iter().flatten().flatten().collect(), found.load(Ordering::Relaxed), refused)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn encoded_secrets_are_masked(
        secret in prop_oneof!["[!-~]{4,12}", "[ -~]{4,40}", "[a-z]{4,7}", "[0-9]{4,8}", "[a-zA-Zäöüß€🦓]{4,20}"],
        inner in prop::sample::select(&ALL[..]),
        outer in prop::sample::select(&ALL[..]),
        before in "([a-z]{0,7}[ :=])?",
        after in "([ ,;][a-z]{0,7})?",
        size in 1_usize..90,
    ) {
        prop_assume!(secret.trim().len() >= 4);
        let middle = [before.as_bytes(), &encode(inner, secret.as_bytes()), after.as_bytes()].concat();
        // Servers encode an entire text as UTF-16, not a part of one.
        prop_assume!(!matches!(inner, Encoder::Utf16Le | Encoder::Utf16Be) || outer == Encoder::Plain
            || matches!(outer, Encoder::Base64 | Encoder::Base64Url | Encoder::HexLower | Encoder::PercentUpper));
        let text = [b"<", &encode(outer, &middle)[..], b">"].concat();
        let redactor = Arc::new(redactor(&secret));
        prop_assert!(redactor.finds(&text), "{}", String::from_utf8_lossy(&text));
        let (masked, found, _) = streamed(&redactor, &text, size, OnFind::Mask);
        prop_assert!(found);
        prop_assert!(!redactor.finds(&masked), "{} of {}", String::from_utf8_lossy(&masked), String::from_utf8_lossy(&text));
        let (sent, _, refused) = streamed(&redactor, &text, size, OnFind::Refuse);
        prop_assert!(refused && !redactor.finds(&sent));
    }

    #[test]
    fn text_without_a_secret_is_unchanged(text in "[a-y0-9%&\\\\+/ =\u{e9}]{0,200}", size in 1_usize..50) {
        let redactor = Arc::new(redactor("zQ7!zQ7!zQ7!zQ7!"));
        let (masked, found, refused) = streamed(&redactor, text.as_bytes(), size, OnFind::Mask);
        prop_assert!(!found && !refused);
        prop_assert_eq!(masked, text.as_bytes());
    }

    #[test]
    fn a_stream_is_masked_for_any_chunk_sizes(
        chunks in proptest::collection::vec("(s3cret-canary|[a-z]{0,9}|s3cret|-canary){0,3}", 0..9),
        size in 1_usize..40,
    ) {
        let redactor = Arc::new(redactor("s3cret-canary"));
        let text = chunks.concat();
        let (masked, found, _) = streamed(&redactor, text.as_bytes(), size, OnFind::Mask);
        prop_assert_eq!(found, text.contains("s3cret-canary"));
        prop_assert_eq!(masked.len(), redactor.text(text).len());
    }
}

#[test]
fn server_encodings_of_a_secret_are_masked() {
    for (secret, text) in [
        ("p@ss/w~rd two*A%", "client_secret=p%40ss%2Fw%7Erd+two*A%25&x=1"),
        ("ab/c:d=e?f", "ab%2fc%3ad%3de%3ff"),
        ("p@ss/w~rd two*A%", r"p@ss\/w~rd two*A%"),
        ("café-pass", r"caf\u00c3\u00a9-pass"),
        ("café-pass", r"caf\u00e9-pass"),
        ("AbCdEf123456XyZ", "abcdef123456xyz"),
        ("!'()*~-_.!", "!'()*~-_.!"),
        ("p\"w\"Secret-99x", "\"p\"\"w\"\"Secret-99x\""),
        ("it's-Secret-77", "'it''s-Secret-77'"),
        ("it's-Secret-77", r"'it'\''s-Secret-77'"),
        ("p\"w\"Secret-99x", r#"{"csv": "\"p\"\"w\"\"Secret-99x\""}"#),
        ("a\"\"b-Secret", "\"a\"\"\"\"b-Secret\""),
    ] {
        let masked = redactor(secret).text(format!("<{text}>"));
        assert!(masked.starts_with("<*") || masked.contains(MASK), "{text}: {masked}");
        assert!(!redactor(secret).finds(masked.as_bytes()), "{masked}");
    }
}

#[test]
fn short_secrets_are_masked_completely_in_base64_at_every_alignment() {
    for secret in ["k9zq4xw", "hunter7", "abcd", "a1b2c", "pin123"] {
        let redactor = redactor(secret);
        for before in 0..4 {
            for after in 0..4 {
                let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(after));
                let encoded = STANDARD.encode(&text);
                let masked = redactor.text(encoded.clone());
                let first = before * 8 / 6;
                let last = ((before + secret.len()) * 8).div_ceil(6);
                assert_eq!(masked, format!("{}{MASK}{}", &encoded[..first], &encoded[last..]), "{text}");
            }
        }
    }
}

#[test]
fn a_substring_of_a_long_secret_is_masked() {
    let key: String = (0..40_000).map(|at| char::from(b'!' + u8::try_from(at * at % 89).expect("small"))).collect();
    let redactor = redactor(&key);
    assert_eq!(redactor.text(format!("<{key}>")), format!("<{MASK}>"));
    assert!(redactor.text(STANDARD.encode(&key)).len() < 20);
    assert!(redactor.finds(&key.as_bytes()[5_000..6_000]));
    assert!(!redactor.finds("x".repeat(100_000).as_bytes()));
}

#[test]
fn a_large_secret_needs_little_memory() {
    let key: String = (0_u64..900_000)
        .map(|at| char::from(b'0' + u8::try_from(at.wrapping_mul(2_654_435_761) >> 7 & 63).expect("six bits")))
        .collect();
    let redactor = redactor(&key);
    let bytes: usize = redactor.search.size();
    assert!(bytes < 8 << 20, "{bytes} bytes");
}

#[test]
fn a_body_that_could_be_echoed_is_rejected_with_the_reason() {
    let redactor = Arc::new(redactor("hunter7"));
    let refused = last_chunk(&redactor, "name,hunter7", OnFind::RefuseGuess, &Arc::default());
    let problem = refused.expect_err("it holds the secret");
    assert_eq!(problem.message, "the body holds a secret of this block, and the server could echo it");
    assert!(problem.hint.is_some_and(|hint| hint.contains("remove the value from the data")));
    let refused = last_chunk(&redactor, "name,hunter7", OnFind::Refuse, &Arc::default());
    assert!(refused.expect_err("it holds the secret").message.contains("cannot be forwarded"));
}

#[test]
fn numbers_in_json_stay_valid_json() {
    let value = redactor("1234").json(r#"{"n": 7123456, "text": "pin 1234"}"#).expect("JSON");
    assert_eq!(value, serde_json::json!({"n": 7_123_456, "text": format!("pin {MASK}")}));
    assert!(redactor("1234").json("nonsense").is_err());
}

/// Reads a stream to its end. Returns its last chunk.
fn last_chunk(
    redactor: &Arc<Redactor>,
    text: &'static str,
    on_find: OnFind,
    watch: &Arc<Watch>,
) -> Result<Bytes, Problem> {
    let source = stream::iter([Ok(Bytes::from_static(text.as_bytes()))]).boxed();
    let searched = redactor.clone().stream(source, on_find, Arc::default(), watch.clone());
    let mut chunks: Vec<_> = futures_util::FutureExt::now_or_never(searched.collect()).expect("nothing waits");
    chunks.pop().expect("a chunk")
}

#[test]
fn a_stream_reports_a_secret_of_the_arguments() {
    let redactor = Arc::new(redactor("hunter7").with(&SecretValue::new("swordfish".to_owned())));
    let watch = Arc::new(Watch::default());
    watch.record_argument_secrets(redactor.found_in("user=hunter7"));
    last_chunk(&redactor, "it said swordfish", OnFind::Mask, &watch).expect("a masked chunk");
    assert!(watch.check().is_ok(), "the arguments do not contain it");
    last_chunk(&redactor, "it said hunter7", OnFind::Mask, &watch).expect("a masked chunk");
    assert!(matches!(watch.check(), Err(Guessing::Echoed)));
}
