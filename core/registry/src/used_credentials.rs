//! Sources of the credentials that registries on servers receive.

use std::fmt;
use std::path::PathBuf;

/// The credentials that a registry on a server, or its token service, received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UsedCredentials {
    /// No credentials.
    #[default]
    Anonymous,
    /// The token of an environment variable.
    Variable(String),
    /// A password in the configuration of docker.
    Password {
        /// The user.
        user: String,
        /// Path of the file.
        path: PathBuf,
    },
    /// An identity token in the configuration of docker.
    IdentityToken {
        /// Path of the file.
        path: PathBuf,
    },
    /// A password of a credential helper.
    Helper {
        /// Name of the program.
        program: String,
    },
    /// An identity token of a credential helper.
    HelperIdentityToken {
        /// Name of the program.
        program: String,
    },
}

impl UsedCredentials {
    /// Returns the kind of the credentials.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Variable(_) => "variable",
            Self::Password { .. } => "password",
            Self::IdentityToken { .. } => "identity-token",
            Self::Helper { .. } | Self::HelperIdentityToken { .. } => "helper",
        }
    }
}

impl fmt::Display for UsedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("none (anonymous)"),
            Self::Variable(variable) => write!(f, "the variable {variable}"),
            Self::Password { user, path } => write!(f, "the password of `{user}` in `{}`", path.display()),
            Self::IdentityToken { path } => write!(f, "an identity token in `{}`", path.display()),
            Self::Helper { program } => write!(f, "the credential helper `{program}`"),
            Self::HelperIdentityToken { program } => {
                write!(f, "an identity token of the credential helper `{program}`")
            }
        }
    }
}
