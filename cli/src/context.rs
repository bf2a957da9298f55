//! What a command knows of its surroundings: the environment and the folders of this machine are
//! read here, and nowhere below.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use blockyard::{
    CollectorError, Error, ErrorKind, KeySource, LogLevel, LogLine, NewKey, Project, ProjectYard, Telemetry, Trust,
    Yard, YardConfig,
};
use etcetera::{BaseStrategy as _, choose_base_strategy};
use tokio::runtime::Runtime;

use crate::arguments::{Global, KeyPlace};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::verbosity::Verbosity;

/// The surroundings of a command.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) terminal: Terminal,
    yard: Option<String>,
    no_progress: bool,
    verbosity: Verbosity,
    telemetry: Option<Arc<Telemetry>>,
    /// What is to be closed at the end, however that comes.
    opened: Arc<Mutex<Vec<Yard>>>,
    /// The nearest project file. It is read once: what the user is shown is what is used.
    project: Arc<OnceLock<Option<Project>>>,
}

impl Context {
    /// What the command line and the environment say. Traces are sent while the runtime runs.
    pub(crate) fn new(global: &Global, terminal: Terminal, runtime: &Runtime) -> Result<Self, Error> {
        let telemetry =
            global.otlp.as_deref().map(|collector| telemetry(collector, runtime)).transpose()?.map(Arc::new);
        Ok(Self {
            verbosity: Verbosity::start(global.verbose, telemetry.as_deref()),
            telemetry,
            terminal,
            yard: global.yard.clone(),
            no_progress: global.no_progress,
            opened: Arc::default(),
            project: Arc::default(),
        })
    }

    /// Sends the traces that are left.
    pub(crate) fn finish(&self) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.finish();
        }
    }

    /// The same, as `--yard` after an operation says.
    pub(crate) fn adjusted(&self, yard: Option<String>) -> Self {
        let mut adjusted = self.clone();
        adjusted.yard = yard.or(adjusted.yard);
        adjusted
    }

    /// The same, as `-v` and `-q` after an operation say.
    pub(crate) fn louder(mut self, verbose: u8, quiet: bool) -> Self {
        self.terminal.verbose = self.terminal.verbose.saturating_add(verbose);
        self.terminal.quiet |= quiet;
        self.verbosity.set(self.terminal.verbose);
        self
    }

    /// Opens the yard.
    pub(crate) async fn open(&self) -> Result<Yard, Error> {
        let (url, config) = self.yard().await?;
        Ok(self.remember(Yard::open_with(&url, config).await?))
    }

    fn remember(&self, yard: Yard) -> Yard {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(yard.clone());
        yard
    }

    /// Closes what was opened: the lines of the audit trail that wait are written.
    pub(crate) async fn close(&self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for yard in opened {
            yard.close().await;
        }
    }

    /// Opens the yard, and makes it where there is none: for `install` and `create`.
    pub(crate) async fn open_or_init(&self) -> Result<Yard, Error> {
        let (url, config) = self.yard().await?;
        let opened = match Yard::open_with(&url, config.clone()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.init(None).await {
                Ok(yard) => {
                    self.announce(&yard);
                    Ok(yard)
                }
                // Another process made it in the meantime.
                Err(error) if error.kind() == ErrorKind::Conflict => Yard::open_with(&url, config).await,
                Err(error) => Err(error),
            },
            other => other,
        };
        Ok(self.remember(opened?))
    }

    /// Makes the yard.
    pub(crate) async fn init(&self, place: Option<KeyPlace>) -> Result<Yard, Error> {
        let new_key = match (place, KeySource::from_environment()) {
            (Some(KeyPlace::Keyring), _) => NewKey::Keyring,
            (Some(KeyPlace::File), KeySource::File(path)) => NewKey::File(Some(path)),
            (Some(KeyPlace::File), _) => NewKey::File(None),
            (Some(KeyPlace::Env) | None, KeySource::Base64(key)) => NewKey::Given(key),
            (Some(KeyPlace::Env), _) => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "`--key env` takes the key from BLOCKYARD_KEY, which is not set",
                )
                .hint("make a key with `openssl rand -base64 32`, and keep it safe: without it the secrets are lost"));
            }
            (None, KeySource::File(path)) => NewKey::File(Some(path)),
            (None, KeySource::Default) => NewKey::Automatic,
        };
        let (url, config) = self.yard().await?;
        Yard::init(&url, new_key, config).await
    }

    pub(crate) fn announce(&self, yard: &Yard) {
        let info = yard.info();
        self.terminal.note(&format!("made the yard {}", info.yard));
        self.terminal.note(&format!("its key is kept in {}", key_in_words(&info.key)));
    }

    /// The yard's address, and how to open it: `--yard`, else `BLOCKYARD_YARD` (clap reads it), else the yard of
    /// the nearest project file, if the user trusts it, else a file in the platform's data folder. A word without
    /// a colon is a name from the user's configuration.
    pub(crate) async fn yard(&self) -> Result<(String, YardConfig), Error> {
        let settings = self.settings()?;
        let base = base().ok();
        let data = base.as_ref().map(|base| base.data_dir().join("blockyard"));
        let mut config = YardConfig {
            key: KeySource::from_environment(),
            keys: data.as_ref().map(|data| data.join("keys")),
            cache: base.map(|base| base.cache_dir().join("blockyard").join("compiled")),
            actor: actor(),
            trust: self.trust().ok(),
            sources: settings.configuration().sources.clone(),
            project: None,
        };
        let url = match &self.yard {
            Some(address) if address.contains(':') => address.clone(),
            Some(name) => settings.yard(name)?,
            None => match self.project()?.filter(|project| project.file().yard.is_some()) {
                Some(project) => {
                    self.need_trust(&project).await?;
                    let url = match (&project.file().yard, project.yard_file()?) {
                        (Some(ProjectYard::Named(name)), _) => settings.yard(name.as_str())?,
                        (_, file) => format!("sqlite:{}", file.unwrap_or_default().display()),
                    };
                    config.project = Some(project);
                    url
                }
                None => format!("sqlite:{}", crate::context::base()?.data_dir().join("blockyard/yard.db").display()),
            },
        };
        Ok((url, config))
    }

    /// Whether the command line or the environment names the yard.
    pub(crate) fn names_the_yard(&self) -> bool {
        self.yard.is_some()
    }

    /// The user's configuration.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        Settings::read(base().ok().map(|base| base.config_dir()).as_deref())
    }

    /// The user's decisions about project files and yards.
    pub(crate) fn trust(&self) -> Result<Trust, Error> {
        Ok(Trust::in_folder(base()?.data_dir().join("blockyard").join("trust")))
    }

    /// The nearest project file, from the current folder upwards. It decides nothing until it is trusted.
    pub(crate) fn project(&self) -> Result<Option<Project>, Error> {
        if let Some(found) = self.project.get() {
            return Ok(found.clone());
        }
        let found = match std::env::current_dir() {
            Ok(here) => Project::nearest(&here)?,
            Err(_) => None,
        };
        Ok(self.project.get_or_init(|| found).clone())
    }

    /// A progress bar, where somebody looks.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(!self.no_progress && !self.terminal.quiet && !self.terminal.json)
    }

    /// Prints what a bundle logged: warnings always, the rest with `-v`.
    pub(crate) fn log(&self, lines: &[LogLine]) {
        let shown = match self.terminal.verbose {
            0 => LogLevel::Warn,
            1 => LogLevel::Info,
            _ => LogLevel::Trace,
        };
        for line in lines.iter().filter(|line| line.level >= shown) {
            let level = format!("{:?}", line.level).to_lowercase();
            self.terminal.note(&format!("{level}: {}", line.message));
        }
    }
}

fn telemetry(collector: &str, runtime: &Runtime) -> Result<Telemetry, Error> {
    // The text is not repeated: it may have a password in it.
    let collector = collector.parse().map_err(|error: CollectorError| {
        Error::new(ErrorKind::Usage, "the value of `--otlp` is not the address of a collector").because(error)
    })?;
    Telemetry::start(&collector, runtime.handle().clone())
        .map_err(|error| Error::new(ErrorKind::Remote, "the export of traces cannot start").because(error))
}

/// Where a key is kept, in words, and what follows from it.
pub(crate) fn key_in_words(location: &str) -> String {
    let place = in_words(location);
    match location.split_once(':') {
        Some(("file", _)) => format!("{place}; back it up: without it the secrets are lost"),
        Some(("env", _)) => format!("{place}, which every command needs"),
        _ => place,
    }
}

/// Where a key is kept, in words.
pub(crate) fn in_words(location: &str) -> String {
    match location.split_once(':') {
        Some(("keyring", account)) => {
            format!("the operating system's keyring (service `blockyard`, account `{account}`)")
        }
        Some(("file", path)) => format!("the file {path}"),
        Some(("env", name)) => name.to_owned(),
        _ => location.to_owned(),
    }
}

fn base() -> Result<impl etcetera::BaseStrategy, Error> {
    choose_base_strategy().map_err(|error| {
        Error::new(ErrorKind::Usage, "there is no home folder to keep a yard in")
            .because(error)
            .hint("name a yard with `--yard sqlite:PATH`")
    })
}

/// Who acts: user and host, as the operating system has them; variables can say anything.
fn actor() -> String {
    #[cfg(unix)]
    let unnamed = || format!("uid {}", rustix::process::getuid().as_raw());
    #[cfg(not(unix))]
    let unnamed = || "unknown".to_owned();
    let user = whoami::username().unwrap_or_else(|_| unnamed());
    match whoami::hostname() {
        Ok(host) => format!("{user}@{host}"),
        Err(_) => user,
    }
}
