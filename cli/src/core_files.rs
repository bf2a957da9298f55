//! Core files, which would preserve the secrets in the memory of this process.

#[cfg(unix)]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Limit with which the process was started.
#[cfg(unix)]
static INHERITED: std::sync::OnceLock<Rlimit> = std::sync::OnceLock::new();

/// Disables core files of this process.
pub(crate) fn disable() {
    #[cfg(unix)]
    {
        let inherited = INHERITED.get_or_init(|| getrlimit(Resource::Core));
        let none = Rlimit { current: Some(0), maximum: inherited.maximum };
        // No alternative exists if the system rejects the limit.
        let _ = setrlimit(Resource::Core, none);
    }
}

/// Restores the limit of the user, for a program that replaces this process.
#[cfg(unix)]
pub(crate) fn restore_limit() {
    if let Some(inherited) = INHERITED.get() {
        let _ = setrlimit(Resource::Core, *inherited);
    }
}
