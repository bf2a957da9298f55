//! Creating, opening and closing a yard.

use blockyard_store::{Store, StoreError, YardLocation};

use crate::fixture::{KEY, NOW, TestStore, key, record};

on_both!(
    a_yard_is_opened_as_it_was_created,
    a_yard_is_created_once,
    of_concurrent_creators_one_succeeds,
    a_location_without_a_yard_is_reported,
    a_yard_of_a_later_version_is_rejected,
    a_yard_without_its_record_is_rejected,
    an_intact_database_has_no_problems,
    upgrading_a_current_yard_changes_nothing,
    a_rotation_is_visible_after_reopening,
);

/// Returns a location without a yard next to the yard: another file, or another schema.
fn elsewhere(yard: &TestStore, name: &str) -> YardLocation {
    let url = match yard.location() {
        YardLocation::Sqlite(path) => format!("sqlite:{}", path.with_file_name(format!("{name}.db")).display()),
        YardLocation::Postgres(_) => format!("{}?schema={name}", yard.url()),
    };
    url.parse().unwrap()
}

async fn a_yard_is_opened_as_it_was_created(yard: &TestStore) {
    let store = yard.open_again().await;
    assert_eq!(*store.yard(), record());
    assert_eq!(store.read_yard().await.unwrap(), record());
    assert_eq!(store.location().to_string(), yard.location().to_string());
    store.close().await;
    // Closing one connection to the yard does not affect another.
    assert_eq!(yard.store.read_yard().await.unwrap(), record());
}

async fn a_yard_is_created_once(yard: &TestStore) {
    let again = Store::create(yard.location(), record(), NOW).await.err().unwrap();
    assert!(matches!(again, StoreError::YardExists(_)), "{again}");
    assert_eq!(again.to_string(), format!("a yard already exists at `{}`", yard.location()));
    assert_eq!(yard.trail().await, ["install zoo"]);
}

async fn of_concurrent_creators_one_succeeds(yard: &TestStore) {
    let create = async |id: &str| {
        let record = blockyard_store::YardRecord { id: id.to_owned(), ..record() };
        Store::create(elsewhere(yard, "new_yard"), record, NOW).await
    };
    let (a, b, c) = tokio::join!(create("yard-a"), create("yard-b"), create("yard-c"));
    let (created, rejected): (Vec<_>, Vec<_>) = [a, b, c].into_iter().partition(Result::is_ok);
    assert_eq!(created.len(), 1);
    for error in rejected.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::YardExists(_)), "{error}");
    }
    let created = created.into_iter().flatten().next().unwrap();
    let opened = Store::open(elsewhere(yard, "new_yard")).await.unwrap();
    assert_eq!(opened.yard().id, created.yard().id);
    opened.close().await;
    created.close().await;
}

async fn a_location_without_a_yard_is_reported(yard: &TestStore) {
    let nowhere = elsewhere(yard, "nowhere");
    assert!(Store::exists(&yard.location()).await.unwrap());
    assert!(!Store::exists(&nowhere).await.unwrap());
    let error = Store::open(nowhere.clone()).await.err().unwrap();
    assert!(matches!(error, StoreError::NoYard(_)), "{error}");
    assert_eq!(error.to_string(), format!("no yard found at `{nowhere}`"));
    // Opening created nothing.
    assert!(!Store::exists(&nowhere).await.unwrap());
}

async fn a_yard_of_a_later_version_is_rejected(yard: &TestStore) {
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 SELECT 99, 'later', success, checksum, 0 FROM _sqlx_migrations LIMIT 1";
    assert_eq!(yard.bypass(later).await, Ok(1));
    yard.bypass("UPDATE yard SET needs = '9.0.0'").await.unwrap();
    let error = Store::open(yard.location()).await.err().unwrap();
    assert_eq!(error.to_string(), format!("the yard `{}` has format 99, which needs Blockyard 9.0.0", yard.location()));
}

async fn a_yard_without_its_record_is_rejected(yard: &TestStore) {
    assert_eq!(yard.bypass("DELETE FROM yard").await, Ok(1));
    let error = Store::open(yard.location()).await.err().unwrap();
    // In PostgreSQL, the record is what completes the creation of a yard.
    match yard.location() {
        YardLocation::Sqlite(_) => assert!(matches!(error, StoreError::NotAYard(_)), "{error}"),
        YardLocation::Postgres(_) => assert!(matches!(error, StoreError::NoYard(_)), "{error}"),
    }
}

async fn an_intact_database_has_no_problems(yard: &TestStore) {
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    assert!(yard.store.integrity().await.unwrap().is_empty());
}

async fn upgrading_a_current_yard_changes_nothing(yard: &TestStore) {
    yard.store.upgrade().await.unwrap();
    assert_eq!(yard.store.read_yard().await.unwrap(), record());
}

async fn a_rotation_is_visible_after_reopening(yard: &TestStore) {
    let next = key("key-2");
    yard.store.begin_rotation(KEY, &next, crate::fixture::line("begin-rotation", "yard")).await.unwrap();
    let store = yard.open_again().await;
    assert_eq!((&store.yard().key, &store.yard().next_key), (&key(KEY), &Some(next)));
}
