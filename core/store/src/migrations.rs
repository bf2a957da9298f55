//! The formats of a yard: one SQL file for each, applied in order.
//!
//! The files are listed instead of being read by `sqlx::migrate!`, because the macros of sqlx
//! compile a second copy of all database drivers, SQLite's C code included, for the compiler.

use std::sync::LazyLock;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Formats of a yard in SQLite.
pub(crate) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(&[
        (1, "yard", include_str!("../migrations/sqlite/0001_yard.sql")),
        (2, "references", include_str!("../migrations/sqlite/0002_references.sql")),
        (3, "signers", include_str!("../migrations/sqlite/0003_signers.sql")),
        (5, "inventory", include_str!("../migrations/sqlite/0005_inventory.sql")),
        (6, "provenance", include_str!("../migrations/sqlite/0006_provenance.sql")),
        (7, "sets", include_str!("../migrations/sqlite/0007_sets.sql")),
    ])
});

/// Formats of a yard in PostgreSQL, which begin with format 2.
pub(crate) static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(&[
        (2, "yard", include_str!("../migrations/postgres/0002_yard.sql")),
        (3, "signers", include_str!("../migrations/postgres/0003_signers.sql")),
        (5, "inventory", include_str!("../migrations/postgres/0005_inventory.sql")),
        (6, "provenance", include_str!("../migrations/postgres/0006_provenance.sql")),
        (7, "sets", include_str!("../migrations/postgres/0007_sets.sql")),
    ])
});

fn migrator(formats: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(format, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(format, name.into(), MigrationType::Simple, SqlStr::from_static(sql), false)
    };
    Migrator::with_migrations(formats.iter().map(migration).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn each_file_is_listed() {
        for (folder, listed) in [("sqlite", &*SQLITE), ("postgres", &*POSTGRES)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
            let files = Migrator::new(folder).await.expect("a folder of migrations");
            let facts = |migrator: &Migrator| -> Vec<_> {
                let each = migrator.iter();
                each.map(|file| (file.version, file.description.to_string(), file.checksum.to_vec(), file.no_tx))
                    .collect()
            };
            assert!(!facts(listed).is_empty());
            assert_eq!(facts(listed), facts(&files));
        }
    }
}
