//! Environment of a command: the only module of the CLI that derives configuration from environment
//! variables and from the folders of this machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use blockyard::{
    Code, Error, ErrorKind, KeySource, LogLevel, LogLine, NewKey, Project, ProjectYard, Trust, Yard, YardConfig,
};
use etcetera::{BaseStrategy as _, choose_base_strategy};
use tokio::runtime::Runtime;

use crate::arguments::{Global, KeyLocation};
use crate::origin::{GlobalOrigins, Origin};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::telemetry::{self, Telemetry};
use crate::terminal::Terminal;
use crate::verbosity;

/// Terminal, selected yard and telemetry of one command.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) terminal: Terminal,
    /// Origins of the global options.
    pub(crate) origins: GlobalOrigins,
    /// URL of the collector of traces.
    pub(crate) collector: Option<String>,
    yard: Option<String>,
    pub(crate) no_progress: bool,
    telemetry: Option<Arc<Telemetry>>,
    /// Yards to close when the command ends, successfully or not.
    opened: Arc<Mutex<Vec<Yard>>>,
    /// The nearest project file. It is read only once, so that the content shown to the user is the
    /// content that takes effect.
    project: Arc<OnceLock<Option<Project>>>,
}

impl Context {
    /// Creates a context from the command line and the environment. Traces are sent only while the
    /// runtime runs.
    pub(crate) fn new(global: &Global, terminal: Terminal, runtime: &Runtime) -> Result<Self, Error> {
        let telemetry =
            global.otlp.as_deref().map(|collector| telemetry::start(collector, runtime)).transpose()?.map(Arc::new);
        verbosity::start(global.verbose, telemetry.as_deref());
        Ok(Self {
            telemetry,
            terminal,
            origins: global.origins,
            collector: global.otlp.clone(),
            yard: global.yard.clone(),
            no_progress: global.no_progress,
            opened: Arc::default(),
            project: Arc::default(),
        })
    }

    /// Sends the remaining traces.
    pub(crate) fn finish(&self) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.finish();
        }
    }

    /// Opens the yard.
    pub(crate) async fn open(&self) -> Result<Yard, Error> {
        let (url, config) = self.yard().await?;
        Ok(self.cache_yard(Yard::open_with(&url, config).await?))
    }

    /// Opens the yard. Returns `None` if it does not exist.
    pub(crate) async fn open_existing(&self) -> Result<Option<Yard>, Error> {
        match self.open().await {
            Ok(yard) => Ok(Some(yard)),
            Err(error) if matches!(error.as_code(), Some(Code::NoYard)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn cache_yard(&self, yard: Yard) -> Yard {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(yard.clone());
        yard
    }

    /// Closes the opened yards, which writes their pending audit trail entries.
    pub(crate) async fn close(&self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for yard in opened {
            yard.close().await;
        }
    }

    /// Opens the yard, or an empty one in memory if it does not exist: for commands that create it
    /// as late as possible, and for those that do not need it.
    pub(crate) async fn open_or_in_memory(&self) -> Result<Yard, Error> {
        if let Some(yard) = self.open_existing().await? {
            return Ok(yard);
        }
        let (url, config) = self.yard().await?;
        Ok(self.cache_yard(Yard::in_memory(&url, config).await?))
    }

    /// Creates the yard, which did not exist when the command opened it.
    pub(crate) async fn create_yard(&self) -> Result<Yard, Error> {
        let created = match self.init(None).await {
            Ok(yard) => {
                self.announce(&yard);
                yard
            }
            // Another process has created it in the meantime.
            Err(error) if error.kind() == ErrorKind::Conflict => return self.open().await,
            Err(error) => return Err(error),
        };
        Ok(self.cache_yard(created))
    }

    /// Creates the yard.
    pub(crate) async fn init(&self, key_location: Option<KeyLocation>) -> Result<Yard, Error> {
        let new_key = match (key_location, KeySource::from_environment()) {
            // Blockyard would use the key of the variable, which does not open the yard.
            (Some(KeyLocation::Keyring | KeyLocation::File), KeySource::Base64(_)) => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    "the variable BLOCKYARD_KEY is set, and takes precedence over every other key",
                )
                .hint("unset it, or use its key with `--key env`"));
            }
            (Some(KeyLocation::Keyring), _) => NewKey::Keyring,
            (Some(KeyLocation::File), KeySource::File(path)) => NewKey::File(Some(path)),
            (Some(KeyLocation::File), _) => NewKey::File(None),
            (Some(KeyLocation::Env) | None, KeySource::Base64(key)) => NewKey::Given(key),
            (Some(KeyLocation::Env), _) => {
                return Err(Error::new(ErrorKind::Usage, "`--key env` requires BLOCKYARD_KEY, which is not set").hint(
                    "generate a key with `openssl rand -base64 32` and back it up: without it the secrets are lost",
                ));
            }
            (None, KeySource::File(path)) => NewKey::File(Some(path)),
            (None, KeySource::Default) => NewKey::Automatic,
        };
        let (url, config) = self.yard().await?;
        Yard::init(&url, new_key, config).await
    }

    pub(crate) fn announce(&self, yard: &Yard) {
        let info = yard.info();
        self.terminal.note(&format!("created yard {}", info.yard));
        self.terminal.note(&format!("key stored in {}", describe_key(&info.key)));
    }

    /// Returns the URL of the yard and the configuration to open it with. The URL is that of
    /// `--yard`, else `BLOCKYARD_YARD` (read by clap), else the yard of the nearest project file if
    /// the user trusts it, else a file in the platform's data folder. A value without a colon is
    /// the name of a yard in the user's configuration.
    pub(crate) async fn yard(&self) -> Result<(String, YardConfig), Error> {
        let settings = self.settings()?;
        let mut config = self.yard_config(KeySource::from_environment(), &settings);
        let url = match &self.yard {
            Some(address) if address.contains(':') => address.clone(),
            Some(name) => settings.yard(name)?,
            None => match self.project()?.filter(|project| project.file().yard.is_some()) {
                Some(project) => {
                    self.require_trust(&project).await?;
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

    /// Returns the option for the selected yard, for commands that are shown to the user. Empty if the
    /// yard is selected by a variable or by default, or if its URL may contain a password.
    pub(crate) fn yard_option(&self) -> Vec<String> {
        let by_variable = |yard: &String| std::env::var("BLOCKYARD_YARD").is_ok_and(|value| value == *yard);
        match &self.yard {
            Some(yard) if !by_variable(yard) && (!yard.contains(':') || yard.starts_with("sqlite:")) => {
                vec!["--yard".to_owned(), yard.clone()]
            }
            _ => Vec::new(),
        }
    }

    fn yard_config(&self, key: KeySource, settings: &Settings) -> YardConfig {
        let base = base().ok();
        let data = base.as_ref().map(|base| base.data_dir().join("blockyard"));
        YardConfig {
            key,
            keys: data.as_ref().map(|data| data.join("keys")),
            cache: base.map(|base| base.cache_dir().join("blockyard").join("compiled")),
            actor: actor(),
            trust: self.trust().ok(),
            sources: settings.configuration().sources.clone(),
            project: None,
            isolated: false,
        }
    }

    /// Opens the yard in a folder, which has its own key file, and creates it if it does not exist. The selected yard
    /// and its key are not used.
    pub(crate) async fn scratch_yard(&self, folder: &Path) -> Result<Yard, Error> {
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::new(ErrorKind::Remote, format!("`{}` cannot be created", folder.display())).because(error)
        })?;
        let (url, key) = (format!("sqlite:{}", folder.join("yard.db").display()), folder.join("yard.key"));
        let config = self.yard_config(KeySource::File(key.clone()), &self.settings()?);
        let yard = match Yard::open_with(&url, config.clone()).await {
            Err(error) if matches!(error.as_code(), Some(Code::NoYard)) => {
                Yard::init(&url, NewKey::File(Some(key)), config).await?
            }
            opened => opened?,
        };
        Ok(self.cache_yard(yard))
    }

    /// Returns whether the command line or the environment specifies the yard.
    pub(crate) fn names_the_yard(&self) -> bool {
        self.yard.is_some()
    }

    /// Returns the folder for data, and the origin of its location. `None` if the user has no home
    /// folder.
    pub(crate) fn data_folder(&self) -> Option<(PathBuf, Origin)> {
        base().ok().map(|base| (base.data_dir().join("blockyard"), folder_origin("XDG_DATA_HOME")))
    }

    /// Returns the origin of the location of the folder for caches.
    pub(crate) fn cache_origin(&self) -> Origin {
        folder_origin("XDG_CACHE_HOME")
    }

    /// Returns the folder for caches. `None` if the user has no home folder.
    pub(crate) fn cache_folder(&self) -> Option<PathBuf> {
        base().ok().map(|base| base.cache_dir().join("blockyard"))
    }

    /// Reads the user's configuration.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        Settings::read(base().ok().map(|base| base.config_dir()).as_deref())
    }

    /// Returns the store of the user's trust decisions about project files and yards.
    pub(crate) fn trust(&self) -> Result<Trust, Error> {
        Ok(Trust::in_folder(base()?.data_dir().join("blockyard").join("trust")))
    }

    /// Returns the folder for records of the programs that change a lock file.
    pub(crate) fn lock_records(&self) -> Option<PathBuf> {
        base().ok().map(|base| base.data_dir().join("blockyard").join("locks"))
    }

    /// Returns the folder for unpacked versions of the SDK.
    pub(crate) fn sdk_folder(&self) -> Result<PathBuf, Error> {
        Ok(base()?.data_dir().join("blockyard").join("sdk"))
    }

    /// Returns the nearest project file, searching from the current folder upwards. The file has no
    /// effect until it is trusted.
    pub(crate) fn project(&self) -> Result<Option<Project>, Error> {
        if let Some(found) = self.project.get() {
            return Ok(found.clone());
        }
        let found = match std::env::current_dir() {
            Ok(current_folder) => Project::nearest(&current_folder)?,
            Err(_) => None,
        };
        Ok(self.project.get_or_init(|| found).clone())
    }

    /// Returns a progress display. It is inactive with `--no-progress`, `--quiet` and `--json`.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(!self.no_progress && !self.terminal.quiet && !self.terminal.json)
    }

    /// Prints the log lines of a bundle: warnings and errors always, `info` with `-v`, all levels
    /// with `-vv`.
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

/// Describes the location of a key, with advice to back up a key file.
pub(crate) fn describe_key(location: &str) -> String {
    let description = describe_key_location(location);
    match location.split_once(':') {
        Some(("file", _)) => format!("{description}; back it up: without it the secrets are lost"),
        Some(("env", _)) => format!("{description}, which every command requires"),
        _ => description,
    }
}

/// Describes the location of a key.
pub(crate) fn describe_key_location(location: &str) -> String {
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
        Error::new(ErrorKind::Usage, "cannot determine the home folder for the default yard")
            .because(error)
            .hint("specify a yard with `--yard sqlite:PATH`")
    })
}

/// Returns the origin of the location of a folder. Relative paths in the variable are ignored, as the
/// specification of the variables demands.
fn folder_origin(variable: &'static str) -> Origin {
    let is_set = cfg!(unix) && std::env::var_os(variable).is_some_and(|path| Path::new(&path).is_absolute());
    if is_set { Origin::Variable(variable) } else { Origin::Default }
}

/// Returns the acting user and host as the operating system reports them. Environment variables are
/// not used, because they can be set to any value.
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
