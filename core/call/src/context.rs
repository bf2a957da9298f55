//! The context of a call, which all capabilities share: the block, its secrets, and the search for them. It is
//! created for the call and dropped after it, with all handles, so that no resource outlives the call.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use blockyard_model::{Capability, Effect, Origin, Pointer, RequestUrl, SecretUse, SecretValue};
use serde_json::Value;
use wasmtime::component::{HasSelf, Linker, ResourceTable};

use crate::bindings::blockyard::bundle::types;
use crate::problem::{Fault, Problem};
use crate::redact::{Guessing, Redactor, Watch};
use crate::trap::LimitExceeded;
use crate::usage::Usage;
use crate::{limits, trace};

/// A secret of the called block, with its permitted uses.
#[derive(Debug, Clone)]
pub struct CallSecret {
    /// The plaintext value.
    pub value: SecretValue,
    /// The permitted uses, with references to configuration fields resolved.
    pub uses: SecretUse,
}

impl CallSecret {
    /// Restricts a secret URL to its own origin. Returns the parts of the URL that are secrets, too; none
    /// for other secrets, and for a URL that may not be used.
    fn restrict_url(&mut self) -> Vec<SecretValue> {
        let url = self.uses.url.then(|| RequestUrl::parse_secret(&self.value).ok()).flatten();
        let Some(url) = url.filter(|url| self.uses.is_for(&url.origin)) else { return Vec::new() };
        self.uses.restrict_to(&url.origin);
        url.secret_parts()
    }
}

/// The context of a call. It implements the interfaces that are always linked, `types` and `streams`, and
/// `secrets`.
pub struct CallContext {
    /// The resources to which the guest holds handles.
    pub table: ResourceTable,
    /// Name of the bundle, for error messages.
    pub bundle: String,
    /// The declared effect of the operation.
    pub effect: Effect,
    /// The block's configuration. A bundle can access only the servers and files that it names.
    pub config: Value,
    /// Address and revision of the block, `TYPE/NAME@REVISION`. Connection pools are keyed by it.
    pub block: String,
    /// The block's secrets.
    pub secrets: BTreeMap<Pointer, CallSecret>,
    /// The granted capabilities.
    pub grants: Arc<BTreeSet<Capability>>,
    /// Records which of the granted capabilities the call uses.
    pub usage: Usage,
    /// Masks secrets in data from remote services before the guest reads it.
    pub redactor: Arc<Redactor>,
    /// Masks secrets in what the caller sees: log lines, errors, results. Does not mask secrets
    /// that the caller's own arguments contain.
    pub shown: Arc<Redactor>,
    /// Counts the masked secrets, to detect a guest that guesses.
    pub watch: Arc<Watch>,
    /// Finds secrets in text that the guest wrote. Created on first use.
    guest_redactor: Option<Arc<Redactor>>,
    /// The caller's arguments, to search them for secrets that are added later.
    recorded_arguments: Option<String>,
    /// Finds secrets that the guest has not sent to a database verbatim in this call; `None` if it has
    /// sent none.
    unsent_redactor: Option<Arc<Redactor>>,
    /// Set after a host function failed with a problem whose code is reserved for the host, see
    /// [`Problem::is_reserved_for_host`].
    denied_by_host: bool,
    /// Size of the bodies that the guest created and the host holds, in bytes.
    body_bytes: usize,
}

impl CallContext {
    /// Creates the context of a call of the operation of a block.
    #[must_use]
    pub fn new(
        bundle: String,
        effect: Effect,
        config: Value,
        block: String,
        mut secrets: BTreeMap<Pointer, CallSecret>,
        grants: Arc<BTreeSet<Capability>>,
    ) -> Self {
        let parts: Vec<SecretValue> = secrets.values_mut().flat_map(CallSecret::restrict_url).collect();
        let redactor = Arc::new(Redactor::new(secrets.values().map(|secret| &secret.value).chain(&parts)));
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits::HANDLES);
        Self {
            table,
            bundle,
            effect,
            config,
            block,
            secrets,
            usage: Usage::new(grants.clone()),
            grants,
            shown: redactor.clone(),
            redactor,
            watch: Arc::default(),
            guest_redactor: None,
            recorded_arguments: None,
            unsent_redactor: None,
            denied_by_host: false,
            body_bytes: 0,
        }
    }

    /// Adds a secret to the masked secrets, e.g. an access token or a header derived from a secret. Like the
    /// block's own secrets, it is not masked for the caller if the caller's arguments contain it.
    pub fn add_secret(&mut self, secret: &SecretValue) {
        if !self.redactor.contains(secret) {
            self.redactor = Arc::new(self.redactor.with(secret));
            self.unsent_redactor =
                self.unsent_redactor.take().map(|unsent_redactor| Arc::new(unsent_redactor.with(secret)));
            self.guest_redactor = None;
            let added = Redactor::new([secret].into_iter());
            if self.recorded_arguments.as_ref().is_some_and(|arguments| added.finds(arguments.as_bytes())) {
                self.watch.record_argument_secrets(self.watch.argument_secrets().with(secret));
            } else {
                self.shown = Arc::new(self.shown.with(secret));
            }
        }
    }

    /// Records the caller's arguments. A secret that they contain is not masked for the caller:
    /// otherwise, the mask would confirm a guessed secret. The guest may send it on if it is part of a
    /// longer word, such as the password `test` in the path `data/latest.csv`. The first mask of a secret
    /// that they contain stops the call, see `Watch::record_argument_secrets`.
    pub fn record_arguments(&mut self, arguments: &str) {
        // Without a secret of the block, none is derived.
        if self.secrets.is_empty() {
            return;
        }
        self.recorded_arguments = Some(arguments.to_owned());
        if self.redactor.finds(arguments.as_bytes()) {
            self.shown = Arc::new(self.redactor.without(arguments));
            self.guest_redactor = None;
            self.watch.record_argument_secrets(self.redactor.found_in(arguments));
        }
    }

    /// Returns true if the host has denied something to the guest in this call. The guest may then return a
    /// problem whose code is reserved for the host.
    #[must_use]
    pub fn is_denied_by_host(&self) -> bool {
        self.denied_by_host
    }

    /// Returns the secrets of the call that this server may know, and therefore echo: those that
    /// the host sends to its origin, in this request or in another.
    #[must_use]
    pub fn may_echo(&self, origin: &Origin) -> Vec<Pointer> {
        let sent_there = |uses: &SecretUse| uses.is_for(origin) || uses.tokens.iter().any(|url| url.origin == *origin);
        let secrets = self.secrets.iter().filter(|(_, secret)| sent_there(&secret.uses));
        secrets.map(|(pointer, _)| pointer.clone()).collect()
    }

    /// Checks whether all of these secrets may be sent to an origin.
    #[must_use]
    pub fn is_audience_of(&self, secrets: &[Pointer], origin: &Origin) -> bool {
        let may_have = self.may_echo(origin);
        secrets.iter().all(|pointer| may_have.contains(pointer))
    }

    /// Checks that text which the guest wrote contains no secret, before it is sent to a server
    /// whose responses are masked. A guest does not know any secret, so a secret in its text is a
    /// guess, and the mask of its echo would confirm it.
    ///
    /// Permitted are a secret that the block's configuration also contains in plain text, and one that is
    /// part of a longer word in the caller's arguments.
    ///
    /// # Errors
    /// Returns a trap that ends the call.
    pub fn check_for_secrets<'a>(&mut self, words: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Fault> {
        let redactor = self.guest_redactor();
        for word in words {
            self.watch.searched(word.len());
            if redactor.finds(word) {
                let is_argument = self
                    .recorded_arguments
                    .as_deref()
                    .is_some_and(|arguments| !redactor.without(arguments).finds(word));
                let reason = if is_argument { Guessing::Argument } else { Guessing::Sent };
                return Err(Fault::Trap(wasmtime::Error::new(reason)));
            }
        }
        Ok(())
    }

    /// Returns the redactor of the secrets that text of the guest must not contain, see
    /// [`check_for_secrets`](Self::check_for_secrets).
    pub(crate) fn guest_redactor(&mut self) -> Arc<Redactor> {
        if let Some(redactor) = &self.guest_redactor {
            return redactor.clone();
        }
        let config = self.config.to_string();
        let holds = self.redactor.finds(config.as_bytes());
        let own = if holds { Arc::new(self.redactor.without(&config)) } else { self.redactor.clone() };
        let arguments = self.recorded_arguments.as_deref().filter(|_| !self.watch.argument_secrets().is_empty());
        let arguments = arguments.and_then(|arguments| serde_json::from_str(arguments).ok());
        let own = arguments.map_or(own.clone(), |arguments| Arc::new(own.without_parts_of_words(&arguments)));
        self.guest_redactor.insert(own).clone()
    }

    /// Masks secrets in text from a remote service. Returns the text and the number of masked secrets. The
    /// text must not reach the guest before [`watched`](Self::watched) is called: it counts toward the limits
    /// of [`Watch`], and the mask of a secret that the caller's arguments contain stops the call.
    pub fn mask_remote_text(&self, text: String) -> (String, usize) {
        self.watch.searched(text.len());
        if self.watch.argument_secrets().finds(text.as_bytes()) {
            self.watch.echo();
        }
        let (text, places) = self.redactor.counted(text);
        self.watch.found(places);
        (text, places)
    }

    /// Masks secrets in a problem whose text comes from a remote service, see
    /// [`mask_remote_text`](Self::mask_remote_text).
    pub fn mask_remote_problem(&self, problem: Problem) -> Problem {
        let masked = |text| self.mask_remote_text(text).0;
        Problem {
            code: masked(problem.code),
            message: masked(problem.message),
            hint: problem.hint.map(masked),
            details: problem.details.map(masked),
            ..problem
        }
    }

    /// Records texts of the guest that a database may quote in an error message: statements, parameters
    /// and rows. A secret in them is not masked for the caller either: the rows may be those of a file
    /// that the caller loads, and the mask would confirm a guess in it.
    ///
    /// The guest controls the size of the texts. They are searched in chunks, and other tasks of the
    /// thread run between two chunks.
    pub async fn record_sent<'a>(&mut self, texts: impl Iterator<Item = Cow<'a, [u8]>> + Send) {
        if self.redactor.is_empty() {
            return;
        }
        let mut chunk = Vec::new();
        for text in texts.filter(|text| !text.is_empty()) {
            let mut rest = &text[..];
            while !rest.is_empty() {
                self.make_room_for_sent(&mut chunk).await;
                let (head, after) = rest.split_at(rest.len().min(limits::SEARCHED_BYTES - chunk.len()));
                chunk.extend_from_slice(head);
                rest = after;
            }
            // A secret does not span texts: servers quote them one by one.
            self.make_room_for_sent(&mut chunk).await;
            chunk.push(b'\n');
        }
        self.record_sent_chunk(&chunk);
    }

    /// Searches a full chunk. Retains its end, in which a secret may begin.
    async fn make_room_for_sent(&mut self, chunk: &mut Vec<u8>) {
        if chunk.len() == limits::SEARCHED_BYTES {
            self.record_sent_chunk(chunk);
            chunk.drain(..chunk.len().saturating_sub(self.redactor.window()));
            tokio::task::yield_now().await;
        }
    }

    fn record_sent_chunk(&mut self, chunk: &[u8]) {
        let unsent = self.unsent_redactor.as_ref().unwrap_or(&self.redactor);
        if unsent.finds(chunk) {
            self.unsent_redactor = Some(Arc::new(unsent.without(chunk)));
            self.shown = Arc::new(self.shown.without(chunk));
        }
    }

    /// Withholds a database's message entirely if it contains a secret that the guest has not sent to
    /// a database in this call.
    ///
    /// A database derives its message from statements, parameters and rows. Text that they contain
    /// verbatim reveals nothing: the message is the same for a wrong guess. A secret that a statement
    /// assembles is a guess, and a mask would reveal its position.
    fn withhold_database_message(&self, problem: Problem) -> Problem {
        self.watch.searched(problem.message.len());
        let unsent = self.unsent_redactor.as_ref().unwrap_or(&self.redactor);
        if !unsent.finds_in(&problem) {
            return problem;
        }
        if unsent.shared_with(&self.watch.argument_secrets()).finds_in(&problem) {
            self.watch.echo();
        }
        self.watch.found(1);
        let withheld = Problem::new(&problem.code, "the database's message holds a secret of this block")
            .hint("see the log of the database server");
        if problem.retryable { withheld.retryable() } else { withheld }
    }

    /// Ends the call of a guest that tries to guess a secret. Called before masked text reaches the
    /// guest.
    ///
    /// # Errors
    /// Returns a trap if too many secrets were masked, see [`Watch`].
    pub fn watched(&self) -> wasmtime::Result<()> {
        self.watch.check().map_err(wasmtime::Error::new)
    }

    /// Counts bytes of bodies that the guest created and the host holds. Their total is bounded
    /// like the guest's memory.
    ///
    /// # Errors
    /// Returns a trap if the total exceeds [`limits::MEMORY_BYTES`].
    pub(crate) fn count_body_bytes(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.body_bytes = self.body_bytes.saturating_add(bytes);
        if self.body_bytes > limits::MEMORY_BYTES {
            let mebibytes = limits::MEMORY_BYTES >> 20;
            let exceeded = LimitExceeded(format!("its bodies use more than {mebibytes} MiB of memory"));
            return Err(wasmtime::Error::new(exceeded));
        }
        Ok(())
    }

    /// Releases bytes that [`count_body_bytes`](Self::count_body_bytes) counted.
    pub(crate) fn release_body_bytes(&mut self, bytes: usize) {
        self.body_bytes = self.body_bytes.saturating_sub(bytes);
    }
}

impl types::Host for CallContext {
    fn convert_problem(&mut self, fault: Fault) -> wasmtime::Result<types::Problem> {
        match fault {
            Fault::Problem(problem) => {
                trace::failed(&problem.code);
                self.denied_by_host |= problem.is_reserved_for_host();
                // Text from remote services is already masked by `outside`. Text of the guest is
                // not masked for the guest, because a mask would reveal where it contains a secret.
                let problem = if problem.is_from_database { self.withhold_database_message(problem) } else { problem };
                self.watched()?;
                Ok(problem.into())
            }
            Fault::Trap(error) => Err(error),
        }
    }
}

/// Links the interface `types`, which has no functions.
///
/// # Errors
/// Returns an error if the linker already defines the interface.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    call: fn(&mut T) -> &mut CallContext,
) -> wasmtime::Result<()> {
    types::add_to_linker::<T, HasSelf<CallContext>>(linker, call)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use blockyard_model::{Digest, SecretUse};
    use futures_util::FutureExt as _;

    use super::types::Host as _;
    use super::*;

    fn state(secret: &str) -> CallContext {
        let secret = CallSecret { value: SecretValue::new(secret.to_owned()), uses: SecretUse::default() };
        let secrets = BTreeMap::from([(Pointer::new("/password"), secret)]);
        let (bundle, block) = ("zoo".to_owned(), "zoo/a".to_owned());
        CallContext::new(bundle, Effect::Read, Value::Null, block, secrets, Arc::default())
    }

    /// Returns the message that a guest receives after a statement.
    fn database_message(state: &mut CallContext, statement: &str, message: &str) -> wasmtime::Result<String> {
        let recorded = state.record_sent([Cow::Borrowed(statement.as_bytes())].into_iter());
        recorded.now_or_never().expect("a short text is searched at once");
        let problem = Problem::from_database("invalid", message);
        Ok(state.convert_problem(problem.into())?.message)
    }

    #[test]
    fn database_messages_confirm_no_guess() {
        let mut state = state("hunter7");
        let quoted = "invalid input syntax for type integer: \"hunter7\"";
        // Text that the statement contains verbatim is not masked, whether it is the secret or not.
        assert_eq!(database_message(&mut state, "select 'hunter7'::int", quoted).expect("a message"), quoted);
        assert_eq!(
            database_message(&mut state, "select 'hunter8'::int", "no \"hunter8\"").expect("a message"),
            "no \"hunter8\""
        );
        // Rows of the statement can be read after another one, so its text stays recorded.
        assert_eq!(database_message(&mut state, "select 1", quoted).expect("a message"), quoted);
        // If the statement assembles the secret, the entire message is withheld.
        let mut state = self::state("hunter7");
        let withheld = database_message(&mut state, "select ('hunt' || 'er7')::int", quoted).expect("a message");
        assert_eq!(withheld, "the database's message holds a secret of this block");
        let again = (0..=limits::MASKED_OCCURRENCES).map(|_| database_message(&mut state, "select 1", quoted));
        assert!(again.last().expect("messages").is_err(), "guessing is stopped");
    }

    #[test]
    fn long_strings_are_searched_in_chunks() {
        let mut state = state("hunter7");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for before in [0, limits::SEARCHED_BYTES - 3, 2 * limits::SEARCHED_BYTES - 1] {
            state.unsent_redactor = None;
            let text = ["x".repeat(before), "y".repeat(2 * limits::SEARCHED_BYTES)].join("hunter7");
            let texts = || [Cow::Borrowed(&b"select 1"[..]), Cow::Borrowed(text.as_bytes())].into_iter();
            assert!(state.record_sent(texts()).now_or_never().is_none(), "other tasks run in between");
            state.unsent_redactor = None;
            runtime.block_on(state.record_sent(texts()));
            let problem = state.withhold_database_message(Problem::from_database("invalid", "no hunter7"));
            assert_eq!(problem.message, "no hunter7", "{before}");
        }
        // A secret is not assembled from two texts.
        state.unsent_redactor = None;
        let halves = [Cow::Borrowed(&b"hunt"[..]), Cow::Borrowed(&b"er7"[..])];
        runtime.block_on(state.record_sent(halves.into_iter()));
        assert_ne!(
            state.withhold_database_message(Problem::from_database("invalid", "no hunter7")).message,
            "no hunter7"
        );
    }

    #[test]
    fn chunks_of_sent_texts_are_bounded() {
        let mut state = state("hunter7");
        let empty = || std::iter::repeat_n(Cow::Borrowed(&b""[..]), 2 * limits::SEARCHED_BYTES);
        let recorded = state.record_sent(empty().chain([Cow::Borrowed(&b"hunter7"[..])]));
        assert!(recorded.now_or_never().is_some(), "empty texts take no room in a chunk");
        assert_eq!(
            state.withhold_database_message(Problem::from_database("invalid", "no hunter7")).message,
            "no hunter7"
        );
        let full = "x".repeat(limits::SEARCHED_BYTES);
        let recorded = state.record_sent([Cow::Borrowed(full.as_bytes())].into_iter());
        assert!(recorded.now_or_never().is_none(), "a full chunk is searched before the line feed");
    }

    #[test]
    fn host_messages_quote_guest_input_unmasked() {
        let mut state = state("hunter7");
        let problem = Problem::new("not-found", "the block has no secret at `/hunter7`");
        let message = state.convert_problem(problem.into()).expect("a problem").message;
        assert_eq!(message, "the block has no secret at `/hunter7`");
        let outside = state.mask_remote_problem(Problem::new("failed", "the server said hunter7"));
        assert_eq!(outside.message, "the server said ********");
    }

    #[test]
    fn guest_input_that_contains_a_secret_is_rejected() {
        let mut state = state("hunter7");
        assert!(state.check_for_secrets([&b"hunter6"[..], b"hunt", b"er7"]).is_ok());
        assert!(state.check_for_secrets([&b"x=aHVudGVyNw=="[..]]).is_err());
        assert!(state.check_for_secrets([&b"/a/HUNTER7"[..]]).is_ok(), "short secrets are matched case-sensitively");
        state.config = serde_json::json!({"note": "hunter7"});
        state.guest_redactor = None;
        assert!(state.check_for_secrets([&b"hunter7"[..]]).is_ok(), "the configuration contains it");
    }

    #[test]
    fn parts_of_a_secret_url_are_masked() {
        let parse = |text: &str| RequestUrl::parse(text).expect("a URL").origin;
        let token = "XXXXXXXXXXXXXXXXXXXXXXXX";
        let state = |audience: &str| {
            let value = SecretValue::new(format!("https://hooks.a.example/services/T01/{token}"));
            let audience = vec![audience.parse().expect("an audience")];
            let uses = SecretUse { audience, url: true, ..SecretUse::default() };
            let secrets = BTreeMap::from([(Pointer::new("/url"), CallSecret { value, uses })]);
            let (bundle, block) = ("zoo".to_owned(), "zoo/a".to_owned());
            CallContext::new(bundle, Effect::Read, Value::Null, block, secrets, Arc::default())
        };
        let own = state("https://*.a.example");
        let masked = |text: String| own.mask_remote_text(text).0;
        assert_eq!(masked(format!("no route for POST /services/T01/{token}")), "no route for POST ********");
        assert_eq!(masked(format!("no token {token}")), "no token ********");
        assert_eq!(masked("https://hooks.a.example/services".to_owned()), "https://hooks.a.example/services");
        // Another server of the pattern does not receive the URL, not even in a body.
        assert!(!own.may_echo(&parse("https://hooks.a.example")).is_empty());
        assert!(own.may_echo(&parse("https://other.a.example")).is_empty());
        // The URL is not that of the audience, so it is sent to no server.
        assert!(state("https://b.example").may_echo(&parse("https://hooks.a.example")).is_empty());
    }

    #[test]
    fn strings_of_the_arguments_are_not_guesses() {
        let mut state = state("test");
        assert!(state.check_for_secrets([&b"/data/latest.csv"[..]]).is_err());
        state.record_arguments(r#"{"path": "data/latest.csv"}"#);
        assert!(state.check_for_secrets([&b"/data/latest.csv"[..]]).is_ok());
        assert_eq!(state.shown.text("latest".to_owned()), "latest");
        assert_eq!(state.redactor.text("latest".to_owned()), "la********");
        let mut state = self::state("test");
        state.record_arguments(r#"{"path": "data/test/latest.csv"}"#);
        assert!(state.check_for_secrets([&b"/data/test/latest.csv"[..]]).is_err(), "a complete word is a guess");
        for arguments in [r#"{"note": "a\ntest"}"#, r#"{"note": "a\u0020test"}"#, r#"{"note": "a%20test"}"#] {
            let mut state = self::state("test");
            state.record_arguments(arguments);
            assert!(state.check_for_secrets([&b"latest"[..]]).is_err(), "{arguments}: it follows an escape");
        }
        let mut state = self::state("test");
        state.record_arguments(r#"{"latest": 1}"#);
        assert!(state.check_for_secrets([&b"latest"[..]]).is_ok(), "a name is a word of the caller");
    }

    #[test]
    fn a_derived_secret_confirms_no_guess_in_the_arguments() {
        // The caller sees the arguments in the result.
        let visible = |guess: &str, derived: fn(&str) -> String| {
            let mut state = state("hunter7");
            let arguments = serde_json::json!({"header": derived(guess)}).to_string();
            state.record_arguments(&arguments);
            state.add_secret(&SecretValue::new(derived("hunter7")));
            state.shown.text(arguments).replace(&derived(guess), "GUESS")
        };
        let basic = |password: &str| STANDARD.encode(format!("admin:{password}"));
        assert_eq!(visible("hunter7", basic), visible("hunter8", basic));
        // The block's own secret is not in the arguments.
        let digest = |key: &str| STANDARD.encode(Digest::of(key.as_bytes()).as_bytes());
        assert_eq!(visible("hunter7", digest), visible("hunter8", digest));
        // A derived secret that the arguments do not contain is masked.
        let mut state = state("hunter7");
        state.record_arguments(r#"{"header": "other"}"#);
        state.add_secret(&SecretValue::new(basic("hunter7")));
        assert_eq!(state.shown.text(basic("hunter7")), "********");
    }

    #[test]
    fn the_reason_names_the_source_of_each_secret() {
        let mut state = state("hunter7");
        state.add_secret(&SecretValue::new("swordfish".to_owned()));
        state.record_arguments(r#"{"word": "hunter7"}"#);
        let mut reason = |word: &[u8]| match state.check_for_secrets([word]) {
            Err(Fault::Trap(error)) => error.to_string(),
            _ => String::new(),
        };
        assert_eq!(reason(b"x=hunter7"), Guessing::Argument.to_string());
        assert_eq!(reason(b"x=swordfish"), Guessing::Sent.to_string());
        assert_eq!(reason(b"hunter7 swordfish"), Guessing::Sent.to_string());
    }

    #[test]
    fn only_an_echoed_argument_secret_stops_a_call_at_once() {
        let arguments = r#"{"path": "data/latest.csv"}"#;
        let mut state = state("test");
        state.add_secret(&SecretValue::new("swordfish".to_owned()));
        state.record_arguments(arguments);
        state.mask_remote_problem(Problem::new("failed", "it said swordfish"));
        assert!(state.watched().is_ok());
        let reason = |state: &CallContext| state.watched().expect_err("it is stopped").to_string();
        let mut remote = self::state("test");
        remote.record_arguments(arguments);
        remote.mask_remote_problem(Problem::new("failed", "no data/latest.csv"));
        assert_eq!(reason(&remote), Guessing::Echoed.to_string());
        let mut remote = self::state("test");
        remote.record_arguments(arguments);
        assert_eq!(remote.mask_remote_text("/latest".to_owned()), ("/la********".to_owned(), 1));
        assert_eq!(reason(&remote), Guessing::Echoed.to_string());
        let problem = Problem::from_database("invalid", "no latest");
        assert!(state.convert_problem(problem.into()).is_err());
        assert_eq!(reason(&state), Guessing::Echoed.to_string());
        // A secret that is added later, such as an access token.
        let mut later = self::state("test");
        later.record_arguments(r#"{"path": "data/latest.csv", "note": "swordfish"}"#);
        later.add_secret(&SecretValue::new("swordfish".to_owned()));
        later.mask_remote_problem(Problem::new("failed", "it said swordfish"));
        assert_eq!(reason(&later), Guessing::Echoed.to_string());
    }
}
