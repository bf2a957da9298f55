//! Opening, saving and listing of blocks: P1, P2 and P7.

use blockyard::model::{Pointer, SecretValue};
use blockyard::{Address, BlockFilter, Patch, SecretInput, Yard};
use serde_json::{Value, json};

use crate::{Outcome, open, times};

const OPENS: usize = 2_000;
const SAVES: usize = 300;
const LISTS: usize = 300;
/// Number of blocks per page of a list.
const PAGE: u32 = 50;

/// Creates a block with a secret (`plain`), and one that depends on two others, each with a secret
/// (`built`).
pub(crate) async fn make(url: &str) -> Outcome {
    let yard = open(url).await?;
    create(&yard, "zoo-keeper/ada", &[("name", "Ada")], &[("badge", "badge-of-ada")]).await?;
    let learns = [("name", "Bob"), ("teacher", "zoo-keeper/ada")];
    create(&yard, "zoo-keeper/bob", &learns, &[("badge", "badge-of-bob")]).await?;
    let place = r#"{"house": "east"}"#;
    create(&yard, "zoo-cage/plain", &[("animal", "newt"), ("place", place)], &[("place.code", "1234")]).await?;
    let built = [("animal", "eft"), ("keeper", "zoo-keeper/bob"), ("place", place)];
    create(&yard, "zoo-cage/built", &built, &[("place.code", "5678")]).await?;
    yard.close().await;
    Ok(())
}

/// Creates a block; each text is parsed by the type of its field.
pub(crate) async fn create(yard: &Yard, address: &str, texts: &[(&str, &str)], secrets: &[(&str, &str)]) -> Outcome {
    let address: Address = address.parse()?;
    let schema = yard.schema_of_type(&address.type_slug).await?;
    let value = |(field, text): &(&str, &str)| {
        let pointer = Pointer::from_dotted(field);
        let value = schema.parse_value(&pointer, text).expect("the texts of a benchmark are valid");
        (pointer, value)
    };
    let secret = |(field, text): &(&str, &str)| {
        (Pointer::from_dotted(field), SecretInput::Value(SecretValue::new((*text).to_owned())))
    };
    let set = texts.iter().map(value).collect();
    let patch = Patch { set, secrets: secrets.iter().map(secret).collect(), ..Patch::default() };
    yard.create(&address, patch).await?;
    Ok(())
}

pub(crate) async fn measure(url: &str) -> Outcome<Value> {
    let yard = open(url).await?;
    let plain = times(OPENS, async |_| yard.block("zoo-cage/plain").await.map(drop)).await?;
    let built = times(OPENS, async |_| yard.block("zoo-cage/built").await.map(drop)).await?;
    let address: Address = "zoo-cage/plain".parse()?;
    let save = times(SAVES, async |number| {
        let patch = Patch::setting([("animal", format!("newt {number} {}", std::process::id()))]);
        yard.set(&address, patch, None).await.map(drop)
    })
    .await?;
    let page = BlockFilter { types: Some(vec!["zoo-cage".to_owned()]), limit: Some(PAGE), ..BlockFilter::default() };
    let list = times(LISTS, async |_| yard.list(page.clone(), None).await.map(drop)).await?;
    let document = json!({ "open_plain": plain, "open_built": built, "save": save, "list": list });
    yard.close().await;
    Ok(document)
}
