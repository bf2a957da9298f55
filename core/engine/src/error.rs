//! Errors for people and programs: what happened, why, and what to do.

use std::error::Error as StdError;
use std::fmt;

use blockyard_host::HostError;
use blockyard_model::{Violation, visible};
use blockyard_registry::RegistryError;
use blockyard_registry::component::ComponentError;
use blockyard_store::StoreError;
use blockyard_toolchain::{BuildError, ToolchainError};
use blockyard_vault::{EnvelopeError, LocationError};
use serde_json::{Value, json};

/// Why something was not done. Nothing in it is a secret.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hints: Vec<String>,
    details: Option<Value>,
    /// The line ends in the message are Blockyard's own; values in it are escaped.
    in_lines: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of error it is: what programs branch on, and the exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The outside system said no, or a check failed.
    Outside,
    /// What was asked for makes no sense.
    Usage,
    /// There is no such thing.
    NotFound,
    /// The data does not fit its schema, or a file its format.
    Invalid,
    /// A grant, a key, a signature or a digest is missing or wrong.
    Denied,
    /// Something moved, is taken, or is in use.
    Conflict,
    /// A bundle broke its limits or crashed.
    Bundle,
    /// A mistake in Blockyard itself.
    Internal,
}

impl ErrorKind {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Usage => "usage",
            Self::NotFound => "not-found",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Bundle => "bundle",
            Self::Internal => "internal",
        }
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Outside => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Invalid => 4,
            Self::Denied => 5,
            Self::Conflict => 6,
            Self::Bundle => 7,
            Self::Internal => 70,
        }
    }
}

impl Error {
    /// An error with its message: lower case, no full stop, names in backquotes.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), details: None, in_lines: false, source: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to do about it, where there is something.
    #[must_use]
    pub fn maybe_hint(self, hint: Option<String>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says that the message has several lines on purpose: every value in it is escaped with
    /// [`visible::line`]. Line ends in other messages are shown as what a bundle or server said.
    #[must_use]
    pub fn in_lines(mut self) -> Self {
        self.in_lines = true;
        self
    }

    /// Whether the lines of the message are Blockyard's own.
    #[must_use]
    pub fn is_in_lines(&self) -> bool {
        self.in_lines
    }

    /// The error that this one causes, with its hints.
    pub(crate) fn caused(self, wrap: &impl Fn(String) -> Self) -> Self {
        let mut reasons = vec![self.to_string()];
        reasons.extend(self.causes());
        self.hints.into_iter().fold(wrap(reasons.join(": ")), Self::hint)
    }

    /// Adds more for programs.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// All that is wrong with a document: one line each.
    #[must_use]
    pub fn violations(what: &str, violations: &[Violation]) -> Self {
        let mut message = format!("{what} is not valid");
        for violation in violations {
            // A bundle's validation may say anything.
            let (place, told) = (visible::line(violation.pointer.as_str()), visible::line(&violation.message));
            message.push_str(&format!("\n  {place}: {told}"));
            if let Some(hint) = &violation.hint {
                message.push_str(&format!("; {}", visible::line(hint)));
            }
        }
        let details = violations
            .iter()
            .map(|violation| json!({"pointer": violation.pointer.as_str(), "message": violation.message, "hint": violation.hint}))
            .collect();
        Self::new(ErrorKind::Invalid, message).in_lines().details(details)
    }

    /// All that is wrong with several documents.
    pub(crate) fn all_violations(documents: &[(String, Vec<Violation>)]) -> Self {
        let each: Vec<Self> = documents.iter().map(|(what, violations)| Self::violations(what, violations)).collect();
        let message = each.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let details = each.into_iter().filter_map(|error| error.details).flat_map(|details| match details {
            Value::Array(violations) => violations,
            other => vec![other],
        });
        let details = details.collect();
        Self::new(ErrorKind::Invalid, message).in_lines().details(details)
    }

    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do about it.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Why, from the nearest cause to the first.
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

    /// The error as the command line prints it with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "error": {
            "kind": self.kind.as_str(),
            "message": self.message,
            "causes": self.causes(),
            "hints": self.hints,
            "details": self.details,
        }})
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

/// Takes the text of an error over, and its causes.
fn taken(kind: ErrorKind, error: impl StdError + Send + Sync + 'static) -> Error {
    let message = error.to_string();
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some libraries repeat their cause in their own words.
        if !causes.iter().any(|told: &String| told.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    let error = Error::new(kind, message);
    if causes.is_empty() { error } else { error.because(causes.join(": ")) }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let details = match &error {
            StoreError::Moved { address, newest } => {
                Some(json!({ "address": address.to_string(), "newest": newest.number() }))
            }
            StoreError::InUse { users, .. } => Some(json!({ "used_by": users
                .iter()
                .map(|(address, pointer)| json!({ "address": address.to_string(), "field": pointer.dotted() }))
                .collect::<Vec<_>>() })),
            _ => None,
        };
        let (kind, hint) = match &error {
            StoreError::NoYard(_) => {
                (ErrorKind::NotFound, Some("make one with `blockyard init`, or name another with `--yard`".to_owned()))
            }
            StoreError::YardExists(_) => {
                (ErrorKind::Conflict, Some("use it as it is, or name another place with `--yard`".to_owned()))
            }
            StoreError::NotAYard(_) => {
                (ErrorKind::Invalid, Some("name the yard's own file with `--yard sqlite:PATH`".to_owned()))
            }
            StoreError::Full(..) => (ErrorKind::Outside, Some("make room, and try again".to_owned())),
            StoreError::Busy(..) => (ErrorKind::Outside, Some("try again".to_owned())),
            StoreError::Unreachable(..) => {
                (ErrorKind::Outside, Some("nothing was changed; try again when the server answers".to_owned()))
            }
            StoreError::Unsure(..) => (
                ErrorKind::Outside,
                Some(
                    "look with `blockyard history` or `blockyard audit` whether it was saved, before you try again"
                        .to_owned(),
                ),
            ),
            StoreError::Untrusted(..) => {
                (ErrorKind::Denied, Some("check `sslmode` and `sslrootcert` in the yard's address".to_owned()))
            }
            StoreError::Refused(..) => (
                ErrorKind::Denied,
                Some("check user, password (PGPASSWORD or `~/.pgpass`), database and rights".to_owned()),
            ),
            StoreError::Corrupt(..) => (
                ErrorKind::Invalid,
                Some("restore it from a backup; of a file, `sqlite3 FILE .recover` may save what is left".to_owned()),
            ),
            StoreError::Newer { .. } => (
                ErrorKind::Invalid,
                Some("install that version of Blockyard, or a later one; nothing was changed".to_owned()),
            ),
            StoreError::ReadOnly(..) => {
                (ErrorKind::Outside, Some("check the permissions of the file and of its folder".to_owned()))
            }
            StoreError::Taken(address) => {
                (ErrorKind::Conflict, Some(format!("change it with `blockyard set {address}`, or choose another name")))
            }
            StoreError::TakenByDeleted(address) => (
                ErrorKind::Conflict,
                Some(format!("have it back with `blockyard restore {address}`, or choose another name")),
            ),
            StoreError::Moved { address, .. } => {
                (ErrorKind::Conflict, Some(format!("look at it with `blockyard show {address}`, and try again")))
            }
            StoreError::NoBlock(_) => (ErrorKind::NotFound, None),
            StoreError::DeletedOrNot { .. } => (ErrorKind::Conflict, None),
            StoreError::TargetGone(_) => (ErrorKind::Conflict, Some("try again".to_owned())),
            StoreError::Circle(_) => {
                (ErrorKind::Conflict, Some("another save came first; look, and try again".to_owned()))
            }
            StoreError::InUse { .. } => {
                (ErrorKind::Conflict, Some("have these build on something else first, or delete them".to_owned()))
            }
            StoreError::NotScrubbed(_) => (ErrorKind::Outside, Some("purge it once more".to_owned())),
            StoreError::KeyMoved => (ErrorKind::Conflict, Some("try again".to_owned())),
            StoreError::SlugTaken { owner, .. } => {
                (ErrorKind::Conflict, Some(format!("the two bundles cannot be in one yard; `{owner}` is in it")))
            }
            StoreError::BundleMoved(_) => {
                (ErrorKind::Conflict, Some("install it again, and look at the new differences".to_owned()))
            }
            StoreError::Database(_) => (ErrorKind::Outside, None),
        };
        let error = taken(kind, error).maybe_hint(hint);
        match details {
            Some(details) => error.details(details),
            None => error,
        }
    }
}

impl From<blockyard_store::LocationError> for Error {
    fn from(error: blockyard_store::LocationError) -> Self {
        taken(ErrorKind::Usage, error).hint("the form is `sqlite:PATH` or `postgres://USER@HOST/DATABASE?schema=NAME`")
    }
}

impl From<LocationError> for Error {
    fn from(error: LocationError) -> Self {
        let hint = match &error {
            LocationError::Loose { path, .. } => format!("run `chmod 600 {}`", path.display()),
            LocationError::Keyring(_) => {
                "unlock the keyring; or give the key with BLOCKYARD_KEY or BLOCKYARD_KEY_FILE".to_owned()
            }
            LocationError::NotAKey { .. } => {
                "a key is the base64 of 32 bytes, as `openssl rand -base64 32` prints it".to_owned()
            }
            _ => "give the yard's key with BLOCKYARD_KEY (base64) or BLOCKYARD_KEY_FILE".to_owned(),
        };
        taken(ErrorKind::Denied, error).hint(hint)
    }
}

impl From<EnvelopeError> for Error {
    fn from(error: EnvelopeError) -> Self {
        taken(ErrorKind::Denied, error)
            .hint("the yard's file was changed by something else than Blockyard; restore it from a backup")
    }
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Read { .. } => {
                taken(ErrorKind::NotFound, error).hint("name a registry's file or folder with `--registry`")
            }
            RegistryError::Format { .. } | RegistryError::Broken { .. } => taken(ErrorKind::Invalid, error),
            RegistryError::NoBundle { ref hint, .. } => {
                let hint = hint.clone();
                taken(ErrorKind::NotFound, error).maybe_hint(hint)
            }
            RegistryError::NoRelease { .. } => taken(ErrorKind::NotFound, error),
        }
    }
}

impl From<ComponentError> for Error {
    fn from(error: ComponentError) -> Self {
        let hint = match &error {
            ComponentError::NoManifest | ComponentError::ManyManifests(_) => {
                Some("bundles are made with `blockyard build`, which puts the manifest in")
            }
            ComponentError::ForeignImports(_) => {
                Some("a crate among the dependencies wants files, sockets or a C library, which a bundle does not have")
            }
            ComponentError::Encode(_) => Some("build it with the SDK version that belongs to this Blockyard"),
            _ => None,
        };
        taken(ErrorKind::Invalid, error).maybe_hint(hint.map(str::to_owned))
    }
}

impl From<BuildError> for Error {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Compile { ref output, .. } => {
                let output = output.clone();
                Self::new(ErrorKind::Invalid, error.to_string()).because(output.trim().to_owned())
            }
            BuildError::NotACrate(_) => taken(ErrorKind::NotFound, error),
            BuildError::NoCargo(_) => taken(ErrorKind::Outside, error).hint("install Rust from https://rustup.rs"),
            BuildError::NoModule(_) => taken(ErrorKind::Invalid, error),
        }
    }
}

impl From<ToolchainError> for Error {
    fn from(error: ToolchainError) -> Self {
        let hint = error.hint();
        let tried = error.tried.join("; ");
        taken(ErrorKind::Outside, error).because(tried).hint(hint)
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Engine(_) => taken(ErrorKind::Outside, error),
            HostError::NotAComponent(ref reason) => {
                let reason = reason.clone();
                Self::new(ErrorKind::Invalid, format!("not a bundle: {reason}"))
            }
            HostError::TooLarge { .. } | HostError::Manifest(_) | HostError::NotABundle(_) => {
                taken(ErrorKind::Invalid, error)
            }
            HostError::UnknownImport(_) => taken(ErrorKind::Invalid, error)
                .hint("a bundle imports `blockyard:bundle` interfaces only; a newer Blockyard may have this one"),
            HostError::Undeclared(_) => {
                taken(ErrorKind::Invalid, error).hint("its author adds the capability to `bundle!` and builds it again")
            }
            HostError::NotGranted { ref bundle, ref missing } => {
                let grants: Vec<String> = missing.iter().map(|capability| format!("'{capability}'")).collect();
                let hint = format!("grant it with `blockyard grant {bundle} {}`", grants.join(" "));
                taken(ErrorKind::Denied, error).hint(hint)
            }
            HostError::Problem(problem) => problem.into(),
            HostError::Panic { .. } => taken(ErrorKind::Internal, error)
                .hint("only this call is lost; report the message, with what was called"),
            HostError::Crash { .. }
            | HostError::Limit { .. }
            | HostError::Deadline(_)
            | HostError::Effect { .. }
            | HostError::Guessing { .. }
            | HostError::BadAnswer { .. } => {
                taken(ErrorKind::Bundle, error).hint("only this call is lost; tell the bundle's author")
            }
        }
    }
}

impl From<blockyard_host::Problem> for Error {
    /// A problem of the outside world, by its code.
    fn from(problem: blockyard_host::Problem) -> Self {
        let kind = match problem.code.as_str() {
            // The host itself held the bundle back.
            "not-granted" | "effect" => ErrorKind::Denied,
            // The bundle ended while its output was read.
            "stopped" => ErrorKind::Bundle,
            _ => ErrorKind::Outside,
        };
        let details = problem.details.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        Self::new(kind, problem.message)
            .maybe_hint(problem.hint)
            .details(json!({"code": problem.code, "retryable": problem.retryable, "details": details}))
    }
}

impl From<blockyard_model::AddressError> for Error {
    fn from(error: blockyard_model::AddressError) -> Self {
        taken(ErrorKind::Usage, error)
    }
}

impl From<blockyard_model::NameError> for Error {
    fn from(error: blockyard_model::NameError) -> Self {
        taken(ErrorKind::Usage, error)
    }
}

impl From<blockyard_model::CapabilityError> for Error {
    fn from(error: blockyard_model::CapabilityError) -> Self {
        taken(ErrorKind::Usage, error)
    }
}
