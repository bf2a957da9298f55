//! A change that is interrupted before its commit leaves nothing behind: the future is dropped at
//! each of its await points, as when a program is canceled.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use blockyard_model::Pointer;
use blockyard_store::{NewRevision, WrappedKey};

use crate::fixture::{KEY, TestStore, at, draft, line, references_of};

on_both!(an_interrupted_creation_is_complete_or_absent, an_interrupted_save_is_complete_or_absent);

/// Number of interrupted changes per test. A change has fewer await points, and which of them are
/// pending depends on the speed of the database.
const ROUNDS: usize = 60;

/// Maximum time until a commit that was already sent takes effect.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a future until it is pending for the given number of times, then drops it. Returns its
/// output if it is ready before that.
async fn interrupted<T>(future: impl Future<Output = T>, steps: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut pending = 0;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if pending == steps => Poll::Ready(None),
        Poll::Pending => {
            pending += 1;
            Poll::Pending
        }
    })
    .await
}

/// Returns the number of revisions of a block. Waits until it equals the number of its lines in the
/// audit trail, which must be intact: a commit that was interrupted may take effect between two
/// reads.
async fn revisions(yard: &TestStore, address: &str) -> usize {
    // Writers of a yard wait for each other, so an interrupted commit has ended after this one.
    let random = "random".parse().unwrap();
    yard.store.grant("zoo", &random, line("grant", "zoo")).await.unwrap();
    yard.store.revoke("zoo", &random, line("revoke", "zoo")).await.unwrap();
    let begun = Instant::now();
    loop {
        let lines = yard.store.audit_of_saves(&at(address)).await.unwrap().len();
        let revisions = yard.store.history(&at(address)).await.unwrap().len();
        if lines == revisions {
            assert_eq!(yard.store.check_audit().await.unwrap().broken, None);
            return revisions;
        }
        assert!(begun.elapsed() < TIMEOUT, "{address} has {revisions} revisions and {lines} lines");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn an_interrupted_creation_is_complete_or_absent(yard: &TestStore) {
    yard.create("zoo/target", "{}", &[]).await.unwrap();
    let references = references_of(&[("/x", "zoo/target")]);
    let secrets = [(Pointer::new("/badge"), b"sealed".to_vec())];
    let (mut absent, mut complete) = (0, 0);
    for steps in 0..ROUNDS {
        // A name is taken permanently, so each attempt has another one.
        let name = format!("zoo/leo-{steps}");
        let address = at(&name);
        let new = NewRevision { secrets: &secrets, ..draft(&address, r#"{"n":1}"#, &references) };
        let key = WrappedKey { data_key: b"data key", key_id: KEY };
        let done = interrupted(yard.store.create_block(&new, &key, None, line("create", &name)), steps).await;

        let created = revisions(yard, &name).await;
        if created == 0 {
            assert!(done.is_none(), "{name} was created, and is absent");
            absent += 1;
            continue;
        }
        let block = yard.read(&name).await;
        assert_eq!((block.config_text.as_str(), block.secrets.len(), created), (r#"{"n":1}"#, 1, 1));
        assert_eq!(yard.store.targets_of(&address).await.unwrap(), [at("zoo/target")]);
        if let Some(done) = done {
            done.unwrap();
            complete += 1;
        }
    }
    assert!(absent > 0 && complete > 0, "{absent} absent, {complete} complete");
}

async fn an_interrupted_save_is_complete_or_absent(yard: &TestStore) {
    yard.create("zoo/leo", r#"{"n":1}"#, &[]).await.unwrap();
    let (mut absent, mut complete) = (0, 0);
    for steps in 0..ROUNDS {
        let before = yard.read("zoo/leo").await;
        let done = interrupted(yard.save(&before, r#"{"n":2}"#, &[]), steps).await;

        let saved = revisions(yard, "zoo/leo").await as u64;
        let after = yard.read("zoo/leo").await;
        assert_eq!(after.revision.number(), saved, "after {steps} steps");
        match done {
            Some(done) => {
                assert_eq!(done.unwrap(), after.revision);
                complete += 1;
            }
            None if after.revision == before.revision => absent += 1,
            None => assert_eq!(after.revision, before.revision.next()),
        }
    }
    assert!(absent > 0 && complete > 0, "{absent} absent, {complete} complete");
}
