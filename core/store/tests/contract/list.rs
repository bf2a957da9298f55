//! Lists of blocks: order, filters, pages.

use blockyard_model::Digest;
use blockyard_store::{BlockFilter, BlockSummary};

use crate::fixture::{NOW, TestStore, ZOO, at, revision};

on_both!(
    blocks_are_listed_in_the_order_of_their_bytes,
    filters_select_blocks,
    pages_are_complete_and_disjoint,
    a_summary_describes_the_newest_revision,
    known_blocks_are_those_that_exist,
    a_block_without_its_newest_revision_is_found,
);

async fn list(yard: &TestStore, filter: &BlockFilter) -> String {
    let listed = yard.store.blocks(filter).await.unwrap();
    if filter.limit.is_none() && filter.after.is_none() {
        assert_eq!(yard.store.count_blocks(filter).await.unwrap(), listed.len() as u64);
    }
    shown(&listed)
}

fn shown(listed: &[BlockSummary]) -> String {
    listed.iter().map(|block| block.address.to_string()).collect::<Vec<_>>().join(" ")
}

async fn create_all(yard: &TestStore, addresses: &[&str]) {
    for address in addresses {
        yard.create(address, "{}", &[]).await.unwrap();
    }
}

async fn blocks_are_listed_in_the_order_of_their_bytes(yard: &TestStore) {
    // A locale would order `a-b` and `a2` differently.
    create_all(yard, &["zoo-keeper/a", "zoo/b", "zoo/a2", "zoo/a-b", "zoo/a10", "zoo/a"]).await;
    assert_eq!(list(yard, &BlockFilter::default()).await, "zoo/a zoo/a-b zoo/a10 zoo/a2 zoo/b zoo-keeper/a");
}

async fn filters_select_blocks(yard: &TestStore) {
    create_all(yard, &["zoo/leo", "zoo/leona", "zoo-keeper/leo", "zoo-keeper/mia"]).await;
    yard.delete("zoo/leona").await.unwrap();
    let all = BlockFilter::default;
    let types = |slugs: &[&str]| Some(slugs.iter().map(|&slug| slug.to_owned()).collect());
    let word = |word: &str| Some(word.to_owned());
    assert_eq!(list(yard, &BlockFilter { types: types(&["zoo"]), ..all() }).await, "zoo/leo");
    assert_eq!(
        list(yard, &BlockFilter { types: types(&["zoo", "zoo-keeper"]), ..all() }).await,
        "zoo/leo zoo-keeper/leo zoo-keeper/mia"
    );
    assert_eq!(list(yard, &BlockFilter { types: types(&[]), ..all() }).await, "");
    assert_eq!(list(yard, &BlockFilter { word: word("keeper/m"), ..all() }).await, "zoo-keeper/mia");
    // Neither `%` nor `_` is a wildcard, and case matters.
    for none in ["%", "_", "LEO"] {
        assert_eq!(list(yard, &BlockFilter { word: word(none), ..all() }).await, "", "{none}");
    }
    assert_eq!(list(yard, &BlockFilter { deleted: true, ..all() }).await, "zoo/leona");
    assert_eq!(list(yard, &BlockFilter { deleted: true, word: word("mia"), ..all() }).await, "");
}

async fn pages_are_complete_and_disjoint(yard: &TestStore) {
    create_all(yard, &["zoo/a", "zoo/b", "zoo/c", "zoo-keeper/a", "zoo-keeper/b"]).await;
    let mut filter = BlockFilter { limit: Some(2), ..BlockFilter::default() };
    let mut pages = Vec::new();
    loop {
        let page = yard.store.blocks(&filter).await.unwrap();
        // The count covers all pages.
        assert_eq!(yard.store.count_blocks(&filter).await.unwrap(), 5);
        let Some(last) = page.last() else { break };
        filter.after = Some(last.address.clone());
        pages.push(shown(&page));
    }
    assert_eq!(pages, ["zoo/a zoo/b", "zoo/c zoo-keeper/a", "zoo-keeper/b"]);
}

async fn a_summary_describes_the_newest_revision(yard: &TestStore) {
    create_all(yard, &["zoo/leo", "zoo/mia"]).await;
    let leo = yard.read("zoo/leo").await;
    yard.save(&leo, "{}", &[]).await.unwrap();
    yard.delete("zoo/mia").await.unwrap();
    let [leo] = &yard.store.blocks(&BlockFilter::default()).await.unwrap()[..] else { panic!("one block") };
    assert_eq!((leo.newest, leo.saved_at, leo.deleted_at), (revision(2), NOW, None));
    assert_eq!(leo.bundle, Some(Digest::of(ZOO)));
    let deleted = BlockFilter { deleted: true, ..BlockFilter::default() };
    let [mia] = &yard.store.blocks(&deleted).await.unwrap()[..] else { panic!("one block") };
    assert_eq!((mia.newest, mia.deleted_at), (revision(1), Some(NOW)));
}

async fn known_blocks_are_those_that_exist(yard: &TestStore) {
    create_all(yard, &["zoo/leo", "zoo-keeper/leo"]).await;
    yard.delete("zoo-keeper/leo").await.unwrap();
    assert!(yard.store.known_blocks(&[]).await.unwrap().is_empty());
    let (leo, keeper, missing) = (at("zoo/leo"), at("zoo-keeper/leo"), at("zoo/missing"));
    let mut known = yard.store.known_blocks(&[&missing, &keeper, &leo, &leo]).await.unwrap();
    known.sort_by(|a, b| a.address.cmp(&b.address));
    assert_eq!(shown(&known), "zoo/leo zoo-keeper/leo");
    let [leo, keeper] = &known[..] else { panic!("two blocks") };
    assert_eq!((leo.newest, leo.deleted_at, leo.bundle), (revision(1), None, None));
    assert_eq!(keeper.deleted_at, Some(NOW));
}

async fn a_block_without_its_newest_revision_is_found(yard: &TestStore) {
    create_all(yard, &["zoo/leo", "zoo/mia"]).await;
    assert!(yard.store.blocks_without_newest().await.unwrap().is_empty());
    assert_eq!(yard.bypass("UPDATE blocks SET newest = 9 WHERE name = 'mia'").await, Ok(1));
    assert_eq!(yard.store.blocks_without_newest().await.unwrap(), [at("zoo/mia")]);
    // A list omits such a block, and reading it returns nothing.
    assert_eq!(shown(&yard.store.blocks(&BlockFilter::default()).await.unwrap()), "zoo/leo");
    assert!(yard.store.block(&at("zoo/mia"), None).await.unwrap().is_none());
}
