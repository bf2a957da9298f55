//! Errors of the engine: kind, message, causes and hints.

mod code;

use std::error::Error as StdError;
use std::fmt;

use blockyard_host::HostError;
use blockyard_model::{Address, BundleName, Capability, Pointer, Violation, visible};
use blockyard_registry::component::ComponentError;
use blockyard_registry::{RegistryError, Unresolved};
use blockyard_store::{BundleUser, StoreError};
use blockyard_vault::{EnvelopeError, LocationError};
use serde_json::{Value, json};

pub(crate) use self::code::need as need_as_json;
pub use self::code::{BundleUsage, Code, Need, OpenChange, Usage};

/// An error of the engine. It never contains a secret.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    code: Option<Box<Code>>,
    message: String,
    hints: Vec<String>,
    details: Option<Value>,
    /// `true` if the line breaks in the message are intended, and all values in it are escaped.
    multi_line: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Kind of an error. Programs branch on it, and it determines the exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The remote service reported an error, or a check failed.
    Remote,
    /// The request is not valid, for example a malformed argument.
    Usage,
    /// The requested item does not exist.
    NotFound,
    /// The data violates its schema, or a file has an invalid format.
    Invalid,
    /// A grant, a key, a signature or a digest is missing or wrong.
    Denied,
    /// The target was changed concurrently, already exists, or is in use.
    Conflict,
    /// A bundle exceeded its limits or crashed.
    Bundle,
    /// A bug in Blockyard.
    Internal,
}

impl ErrorKind {
    /// Returns the name of the kind in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Usage => "usage",
            Self::NotFound => "not-found",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Bundle => "bundle",
            Self::Internal => "internal",
        }
    }
}

impl Error {
    /// Creates an error. The message is lower case, has no full stop, and quotes names in
    /// backquotes.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
            hints: Vec::new(),
            details: None,
            multi_line: false,
            source: None,
        }
    }

    /// Adds a stable code, on which programs and user interfaces act.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = Some(Box::new(code));
        self
    }

    /// Returns the stable code. `None` if programs cannot act on the error.
    #[must_use]
    pub fn as_code(&self) -> Option<&Code> {
        self.code.as_deref()
    }

    /// Adds a hint, which tells the user what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a hint if there is one.
    #[must_use]
    pub fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Marks the message as multi-line. Every value in it must be escaped with [`visible::line`].
    /// In other messages, line breaks are displayed as untrusted text of a bundle or server.
    #[must_use]
    pub fn multi_line(mut self) -> Self {
        self.multi_line = true;
        self
    }

    /// Returns `true` if the message is multi-line on purpose.
    #[must_use]
    pub fn is_multi_line(&self) -> bool {
        self.multi_line
    }

    /// Makes this error the cause of the error that `wrap` creates, and moves its hints there.
    pub(crate) fn caused(self, wrap: &impl Fn(String) -> Self) -> Self {
        let mut reasons = vec![self.to_string()];
        reasons.extend(self.causes());
        let Self { hints, code, .. } = self;
        let wrapped = hints.into_iter().fold(wrap(reasons.join(": ")), Self::hint);
        Self { code: code.or(wrapped.code), ..wrapped }
    }

    /// Adds structured details for programs.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Creates an error that lists the violations of a document, one per line.
    #[must_use]
    pub fn violations(what: &str, violations: &[Violation]) -> Self {
        let mut message = format!("{what} is not valid");
        for violation in violations {
            // Violations that a bundle reports are untrusted text.
            let (pointer, text) = (visible::line(violation.pointer.as_str()), visible::line(&violation.message));
            message.push_str(&format!("\n  {pointer}: {text}"));
            if let Some(hint) = &violation.hint {
                message.push_str(&format!("; {}", visible::line(hint)));
            }
        }
        let details = violations
            .iter()
            .map(|violation| json!({"pointer": violation.pointer.as_str(), "message": violation.message, "hint": violation.hint}))
            .collect();
        Self::new(ErrorKind::Invalid, message).multi_line().details(details)
    }

    /// Creates an error that lists the violations of several documents.
    pub(crate) fn all_violations(documents: &[(String, Vec<Violation>)]) -> Self {
        let each: Vec<Self> = documents.iter().map(|(what, violations)| Self::violations(what, violations)).collect();
        let message = each.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let details = each.into_iter().filter_map(|error| error.details).flat_map(|details| match details {
            Value::Array(violations) => violations,
            other => vec![other],
        });
        let details = details.collect();
        Self::new(ErrorKind::Invalid, message).multi_line().details(details)
    }

    /// Creates an error that lists the blocks that prevent an upgrade, with their violations.
    /// `crashed` is `true` if the bundle crashed or exceeded a limit.
    pub(crate) fn not_upgraded(
        bundle: &str,
        version: &str,
        blocks: &[(Address, Vec<Violation>)],
        crashed: bool,
    ) -> Self {
        let count = blocks.len();
        let cannot = if count == 1 { "1 block cannot".to_owned() } else { format!("{count} blocks cannot") };
        let mut message = format!("bundle `{bundle}` was not upgraded to {version}: {cannot} be converted");
        let mut details = Vec::with_capacity(count);
        for (address, violations) in blocks {
            let listed = Self::violations(&format!("block `{address}`"), violations);
            message.push_str(&format!("\n{listed}"));
            details.push(json!({ "address": address.to_string(), "problems": listed.details }));
        }
        let blocks = blocks.iter().map(|(address, _)| address.to_string()).collect();
        let code = Code::UpgradeBlocked { bundle: bundle.to_owned(), version: version.to_owned(), blocks };
        let kind = if crashed { ErrorKind::Bundle } else { ErrorKind::Invalid };
        Self::new(kind, message).multi_line().details(details.into()).code(code)
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the hints.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Returns the chain of causes, from the immediate cause to the root cause.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut source = self.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if causes.last() != Some(&text) && !text.is_empty() {
                causes.push(text);
            }
            source = cause.source();
        }
        causes
    }

    /// Returns structured details for programs: the details that were added, or else the fields of
    /// the code.
    #[must_use]
    pub fn values(&self) -> Option<Value> {
        self.details.clone().or_else(|| self.code.as_ref()?.fields())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Converts an error, including its chain of causes.
fn with_causes(kind: ErrorKind, error: impl StdError + Send + Sync + 'static) -> Error {
    let message = error.to_string();
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !causes.iter().any(|cause: &String| cause.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    let error = Error::new(kind, message);
    if causes.is_empty() { error } else { error.because(causes.join(": ")) }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let (kind, code) = match &error {
            StoreError::NoYard(_) => (ErrorKind::NotFound, Some(Code::NoYard)),
            StoreError::YardExists(_) => (ErrorKind::Conflict, Some(Code::YardExists)),
            StoreError::NotAYard(_) => (ErrorKind::Invalid, Some(Code::NotAYard)),
            StoreError::CommitUnknown(..) => (ErrorKind::Remote, Some(Code::CommitUnknown)),
            StoreError::Taken(address) => (ErrorKind::Conflict, Some(Code::NameTaken { address: address.clone() })),
            StoreError::TakenByDeleted(address) => {
                (ErrorKind::Conflict, Some(Code::NameTakenByDeleted { address: address.clone() }))
            }
            StoreError::Moved { address, newest } => {
                let code = Code::RevisionMoved { address: address.clone(), newest: newest.number() };
                (ErrorKind::Conflict, Some(code))
            }
            StoreError::InUse { users, .. } => {
                let usage = |(address, pointer): &(Address, Pointer)| Usage {
                    address: address.clone(),
                    field: pointer.dotted(),
                };
                (ErrorKind::Conflict, Some(Code::InUse { used_by: users.iter().map(usage).collect() }))
            }
            StoreError::BundleInUse { bundle, users } => {
                let usage =
                    |user: &BundleUser| BundleUsage { address: user.address.clone(), version: user.version.clone() };
                let used_by = users.iter().map(usage).collect();
                (ErrorKind::Conflict, Some(Code::BundleInUse { bundle: bundle.clone(), used_by }))
            }
            StoreError::Untrusted(..) | StoreError::Refused(..) => (ErrorKind::Denied, None),
            StoreError::Corrupt(..) | StoreError::Newer { .. } => (ErrorKind::Invalid, None),
            StoreError::NoBlock(_) => (ErrorKind::NotFound, None),
            StoreError::DeletedOrNot { .. }
            | StoreError::TargetMissing(_)
            | StoreError::Cycle(_)
            | StoreError::KeyMoved
            | StoreError::SlugTaken { .. }
            | StoreError::BundleMoved(_)
            | StoreError::BundleUninstalled(_)
            | StoreError::VersionsMoved(_)
            | StoreError::SignerMoved(_) => (ErrorKind::Conflict, None),
            StoreError::Full(..)
            | StoreError::Busy(..)
            | StoreError::Unreachable(..)
            | StoreError::ReadOnly(..)
            | StoreError::NotScrubbed(_)
            | StoreError::Database(_) => (ErrorKind::Remote, None),
        };
        let advice = match &error {
            StoreError::Full(..) => Some("free some disk space and try again".to_owned()),
            StoreError::Busy(..)
            | StoreError::TargetMissing(_)
            | StoreError::KeyMoved
            | StoreError::BundleUninstalled(_)
            | StoreError::VersionsMoved(_) => Some("try again".to_owned()),
            StoreError::Unreachable(..) => Some("nothing was changed; try again when the server responds".to_owned()),
            StoreError::Untrusted(..) => Some("check `sslmode` and `sslrootcert` in the yard's URL".to_owned()),
            StoreError::Refused(..) => {
                Some("check the user, password (PGPASSWORD or `~/.pgpass`), database and privileges".to_owned())
            }
            StoreError::Corrupt(..) => {
                Some("restore it from a backup; `sqlite3 FILE .recover` may recover data from a file".to_owned())
            }
            StoreError::Newer { .. } => {
                Some("install that version of Blockyard or a newer version; nothing was changed".to_owned())
            }
            StoreError::ReadOnly(..) => Some("check the permissions of the file and of its folder".to_owned()),
            StoreError::Cycle(_) => Some("another save came first; review it and try again".to_owned()),
            StoreError::InUse { .. } => {
                Some("change these blocks so that they build on another block, or delete them first".to_owned())
            }
            StoreError::NotScrubbed(_) => Some("purge it again".to_owned()),
            StoreError::SlugTaken { owner, .. } => {
                Some(format!("the bundles cannot be installed in the same yard; `{owner}` is installed"))
            }
            StoreError::BundleMoved(_) | StoreError::SignerMoved(_) => {
                Some("install it again and review the new differences".to_owned())
            }
            _ => None,
        };
        let error = with_causes(kind, error).maybe_hint(advice);
        match code {
            Some(code) => error.code(code),
            None => error,
        }
    }
}

impl From<blockyard_store::LocationError> for Error {
    fn from(error: blockyard_store::LocationError) -> Self {
        with_causes(ErrorKind::Usage, error)
            .hint("use the form `sqlite:PATH` or `postgres://USER@HOST/DATABASE?schema=NAME`")
    }
}

/// Hint for a malformed key.
pub(crate) const KEY_FORM: &str = "a key is 32 bytes in base64, as `openssl rand -base64 32` prints them";

impl From<LocationError> for Error {
    fn from(error: LocationError) -> Self {
        let (advice, code) = match &error {
            LocationError::Loose { path, .. } => (Some(format!("run `chmod 600 {}`", path.display())), None),
            LocationError::Keyring(_) => (Some("unlock the keyring".to_owned()), Some(Code::KeyUnavailable)),
            LocationError::NotAKey { .. } => (Some(KEY_FORM.to_owned()), None),
            _ => (None, Some(Code::KeyUnavailable)),
        };
        let error = with_causes(ErrorKind::Denied, error).maybe_hint(advice);
        match code {
            Some(code) => error.code(code),
            None => error,
        }
    }
}

impl From<EnvelopeError> for Error {
    fn from(error: EnvelopeError) -> Self {
        with_causes(ErrorKind::Denied, error)
            .hint("the yard was modified by a program other than Blockyard; restore it from a backup")
    }
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Read { .. } => with_causes(ErrorKind::NotFound, error).code(Code::RegistryUnreadable),
            RegistryError::Format { .. } => with_causes(ErrorKind::Invalid, error),
        }
    }
}

impl From<Unresolved> for Error {
    fn from(error: Unresolved) -> Self {
        match error {
            Unresolved::NoBundle { ref hint, .. } => {
                let hint = hint.clone();
                with_causes(ErrorKind::NotFound, error).maybe_hint(hint)
            }
            Unresolved::Broken { .. } => with_causes(ErrorKind::Invalid, error),
            Unresolved::Unavailable { ref registry, ref source } => {
                let message = format!("registry `{}` is not available", visible::line(registry));
                let kind = Self::from(source.as_ref().clone()).kind;
                Self::from(source.as_ref().clone()).caused(&|reason| Self::new(kind, message.clone()).because(reason))
            }
            Unresolved::NoRelease { ref considered, .. } => {
                let lines: String = match considered.as_slice() {
                    [] => "; it has no releases".to_owned(),
                    considered => considered
                        .iter()
                        .map(|rejected| format!("\n  {}", visible::line(&rejected.to_string())))
                        .collect(),
                };
                Error::new(ErrorKind::NotFound, format!("{error}{lines}")).multi_line()
            }
        }
    }
}

/// Hint for a component that imports interfaces of others.
pub(crate) const FOREIGN_INTERFACE: &str =
    "bundles can import `blockyard:bundle` interfaces only; a newer Blockyard may provide this one";

impl From<ComponentError> for Error {
    fn from(error: ComponentError) -> Self {
        let hint = match &error {
            ComponentError::NoManifest | ComponentError::ManyManifests(_) => {
                return with_causes(ErrorKind::Invalid, error).code(Code::NotABundle);
            }
            ComponentError::ForeignImports(imports) => {
                let code = Code::ForeignImports { imports: imports.clone() };
                return with_causes(ErrorKind::Invalid, error)
                    .hint("a dependency of the crate requires files, sockets, JavaScript or a C library, which bundles cannot use")
                    .code(code);
            }
            ComponentError::NoInterface => Some("add `bundle!` of the SDK to `src/lib.rs` of the crate"),
            ComponentError::Encode(_) => Some("build it with the SDK version that matches this version of Blockyard"),
            _ => None,
        };
        with_causes(ErrorKind::Invalid, error).maybe_hint(hint.map(str::to_owned))
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Bytes(error) => match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::new(ErrorKind::Remote, error.to_string()),
            },
            HostError::Engine(_) => with_causes(ErrorKind::Remote, error),
            HostError::NotAComponent(ref reason) => {
                let reason = reason.clone();
                Self::new(ErrorKind::Invalid, format!("not a bundle: {reason}")).code(Code::NotABundle)
            }
            HostError::TooLarge { .. } | HostError::Manifest(_) | HostError::NotABundle(_) => {
                with_causes(ErrorKind::Invalid, error)
            }
            HostError::UnknownImport(ref import) => {
                let code = Code::ForeignImports { imports: vec![import.clone()] };
                with_causes(ErrorKind::Invalid, error).hint(FOREIGN_INTERFACE).code(code)
            }
            HostError::Undeclared(_) => with_causes(ErrorKind::Invalid, error)
                .hint("add the capability to `bundle!` in its source, and rebuild the bundle"),
            HostError::NotGranted { ref bundle, ref missing } => {
                let code = Code::NotGranted { bundle: bundle.clone(), capabilities: missing.clone() };
                with_causes(ErrorKind::Denied, error).code(code)
            }
            HostError::Problem(problem) => problem.into(),
            HostError::Deadline(_) => with_causes(ErrorKind::Bundle, error).code(Code::DeadlineExceeded),
            HostError::Panic { .. } => with_causes(ErrorKind::Internal, error)
                .hint("only this call is lost; report the message, with what was called"),
            HostError::Guessing { .. } => with_causes(ErrorKind::Bundle, error)
                .hint("if this was not a guess, change the secret to one that is not an ordinary word"),
            HostError::Crash { .. }
            | HostError::Limit { .. }
            | HostError::Effect { .. }
            | HostError::BadAnswer { .. } => {
                with_causes(ErrorKind::Bundle, error).hint("only this call is lost; tell the bundle's author")
            }
        }
    }
}

impl From<blockyard_host::Problem> for Error {
    /// Converts a problem that a bundle or the host reports. Its code determines the kind.
    fn from(problem: blockyard_host::Problem) -> Self {
        let kind = match problem.code.as_str() {
            // The host denied the bundle's request.
            "not-granted" | "effect" => ErrorKind::Denied,
            // The bundle stopped while its output was being read.
            "stopped" => ErrorKind::Bundle,
            _ => ErrorKind::Remote,
        };
        let details = problem.details.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let error = Self::new(kind, problem.message).maybe_hint(problem.hint);
        let error = match details.as_ref().filter(|_| problem.code == "not-granted").and_then(missing_grant) {
            Some(code) => error.code(code),
            None => error,
        };
        error.details(json!({"code": problem.code, "retryable": problem.retryable, "details": details}))
    }
}

/// Returns the code for a missing grant that a problem's details describe. A bundle may have
/// written the details, so each value is parsed.
fn missing_grant(details: &Value) -> Option<Code> {
    let bundle = BundleName::new(details["bundle"].as_str()?).ok()?.to_string();
    let capability: Capability = details["capability"].as_str()?.parse().ok()?;
    Some(if details["address"].is_string() {
        Code::NetworkNotGranted { bundle, capability }
    } else {
        Code::NotGranted { bundle, capabilities: vec![capability] }
    })
}

impl From<blockyard_model::AddressError> for Error {
    fn from(error: blockyard_model::AddressError) -> Self {
        with_causes(ErrorKind::Usage, error)
    }
}

impl From<blockyard_model::NameError> for Error {
    fn from(error: blockyard_model::NameError) -> Self {
        with_causes(ErrorKind::Usage, error)
    }
}

impl From<blockyard_model::CapabilityError> for Error {
    fn from(error: blockyard_model::CapabilityError) -> Self {
        with_causes(ErrorKind::Usage, error)
    }
}
