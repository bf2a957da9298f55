//! Several programs that change one yard at the same time.

use std::collections::BTreeSet;

use blockyard_store::{AuditFilter, StoreError};
use tokio::task::JoinSet;

use crate::fixture::{KEY, TestStore, ZOO, at, create_in, key, line, revision, save_in, zoo};

on_both!(
    of_two_saves_from_one_revision_one_succeeds,
    savers_that_retry_lose_no_change,
    a_name_has_one_creator,
    lines_of_concurrent_writers_form_one_chain,
    two_references_never_form_a_cycle,
    a_block_is_not_deleted_while_it_is_referenced,
    of_two_rotations_one_begins,
    of_two_installations_one_is_reviewed,
);

/// Number of programs in each case.
const WRITERS: u64 = 4;

async fn of_two_saves_from_one_revision_one_succeeds(yard: &TestStore) {
    yard.create("zoo/leo", "{}", &[]).await.unwrap();
    let first = yard.read("zoo/leo").await;
    let mut tasks = JoinSet::new();
    for number in 0..WRITERS {
        let (store, from) = (yard.open_again().await, first.clone());
        tasks.spawn(async move { save_in(&store, &from, &format!(r#"{{"n":{number}}}"#), &[]).await });
    }
    let (saved, rejected): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(saved.len(), 1);
    for error in rejected.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::Moved { newest, .. } if newest == revision(2)), "{error}");
    }
    assert_eq!(yard.trail().await, ["install zoo", "create zoo/leo", "set zoo/leo"]);
}

async fn savers_that_retry_lose_no_change(yard: &TestStore) {
    const SAVES: u64 = 5;
    yard.create("zoo/counter", r#"{"n":0}"#, &[]).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let store = yard.open_again().await;
        tasks.spawn(async move {
            for _ in 0..SAVES {
                loop {
                    let from = store.block(&at("zoo/counter"), None).await.unwrap().unwrap();
                    let count = from.config["n"].to_string().parse::<u64>().unwrap();
                    match save_in(&store, &from, &format!(r#"{{"n":{}}}"#, count + 1), &[]).await {
                        Ok(_) => break,
                        Err(StoreError::Moved { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    let newest = yard.read("zoo/counter").await;
    assert_eq!(newest.config["n"].to_string(), (WRITERS * SAVES).to_string());
    assert_eq!(newest.revision, revision(1 + WRITERS * SAVES));
}

async fn a_name_has_one_creator(yard: &TestStore) {
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let store = yard.open_again().await;
        tasks.spawn(async move { create_in(&store, "zoo/leo", "{}", &[]).await });
    }
    let (created, rejected): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(created.len(), 1);
    for error in rejected.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::Taken(_)), "{error}");
    }
    assert_eq!(yard.trail().await, ["install zoo", "create zoo/leo"]);
}

async fn lines_of_concurrent_writers_form_one_chain(yard: &TestStore) {
    const LINES: u64 = 10;
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let store = yard.open_again().await;
        tasks.spawn(async move {
            for number in 0..LINES {
                store.append_audit(&line("call", &format!("zoo/w{writer}-{number:02}"))).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let chain = yard.store.check_audit().await.unwrap();
    assert_eq!((chain.lines, chain.broken), (1 + WRITERS * LINES, None));
    // The lines of one writer are in the order in which it wrote them.
    let subjects: Vec<String> =
        yard.store.audit(&AuditFilter::default()).await.unwrap().into_iter().rev().map(|line| line.subject).collect();
    for writer in 0..WRITERS {
        let prefix = format!("zoo/w{writer}-");
        let own: Vec<&String> = subjects.iter().filter(|subject| subject.starts_with(&prefix)).collect();
        assert!(own.is_sorted() && own.len() as u64 == LINES, "{own:?}");
    }
}

async fn two_references_never_form_a_cycle(yard: &TestStore) {
    for round in 0..5 {
        let (a, b) = (format!("zoo/a{round}"), format!("zoo/b{round}"));
        yard.create(&a, "{}", &[]).await.unwrap();
        yard.create(&b, "{}", &[]).await.unwrap();
        let mut tasks = JoinSet::new();
        for (own, other) in [(a.clone(), b.clone()), (b, a)] {
            let store = yard.open_again().await;
            let from = yard.read(&own).await;
            tasks.spawn(async move { save_in(&store, &from, "{}", &[("/x", &other)]).await });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        assert!(results.iter().any(|result| matches!(result, Err(StoreError::Cycle(_)))), "{results:?}");
    }
}

async fn a_block_is_not_deleted_while_it_is_referenced(yard: &TestStore) {
    for round in 0..5 {
        let (target, user) = (format!("zoo/t{round}"), format!("zoo/u{round}"));
        yard.create(&target, "{}", &[]).await.unwrap();
        let (creator, deleter) = (yard.open_again().await, yard.open_again().await);
        let (address, wanted) = (at(&target), target.clone());
        let (created, deleted) = tokio::join!(
            tokio::spawn(async move { create_in(&creator, &user, "{}", &[("/x", &wanted)]).await }),
            tokio::spawn(async move { deleter.delete_block(&address, None, line("delete", "x")).await }),
        );
        match (created.unwrap(), deleted.unwrap()) {
            (Ok(()), Err(StoreError::InUse { .. })) | (Err(StoreError::TargetMissing(_)), Ok(())) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn of_two_rotations_one_begins(yard: &TestStore) {
    let mut tasks = JoinSet::new();
    for number in 0..WRITERS {
        let store = yard.open_again().await;
        let next = key(&format!("next-{number}"));
        tasks.spawn(async move { store.begin_rotation(KEY, &next, line("begin-rotation", "yard")).await });
    }
    let (begun, rejected): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(begun.len(), 1);
    for error in rejected.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::KeyMoved), "{error}");
    }
    assert!(yard.store.read_yard().await.unwrap().next_key.is_some());
}

async fn of_two_installations_one_is_reviewed(yard: &TestStore) {
    let mut tasks = JoinSet::new();
    for number in 2..2 + WRITERS {
        let again = TestStore::of(yard.open_again().await, yard);
        tasks.spawn(async move {
            let bytes = format!("zoo {number}");
            again.install(&zoo(&format!("{number}.0.0")), bytes.as_bytes(), &[], &[ZOO]).await
        });
    }
    let (installed, rejected): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(installed.len(), 1);
    for error in rejected.into_iter().filter_map(Result::err) {
        assert!(matches!(error, StoreError::BundleMoved(_)), "{error}");
    }
    let versions: BTreeSet<String> =
        yard.store.bundle_versions().await.unwrap().into_iter().map(|(_, _, version)| version).collect();
    assert_eq!(versions.len(), 2, "{versions:?}");
}
