//! Database systems.

use blockyard_sdk::prelude::*;
use blockyard_sdk::sql::lexer::Syntax;

/// Database systems; `mysql` is MySQL or MariaDB.
#[data]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    Mysql,
}

impl Dialect {
    /// Returns the lexical rules of the dialect.
    pub(crate) fn syntax(self) -> Syntax {
        match self {
            Self::Sqlite => Syntax::Sqlite,
            Self::Postgres => Syntax::Postgres,
            Self::Mysql => Syntax::Mysql,
        }
    }
}
