//! `blockyard list`: lists blocks.

use blockyard::{BlockFilter, Error, TypeSlug};
use serde_json::json;

use crate::arguments::List;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::tabular::plain_table;
use crate::time::time;

pub(super) async fn run(arguments: List, context: &Context) -> Outcome {
    let slug = arguments.type_slug.map(TypeSlug::new).transpose().map_err(Error::from)?;
    let yard = context.open().await?;
    if let Some(slug) = &slug {
        yard.block_type(slug).await?;
    }
    let filter = BlockFilter {
        types: slug.map(|slug| vec![slug.to_string()]),
        word: arguments.word,
        after: arguments.after,
        limit: arguments.limit,
        deleted: arguments.deleted,
    };
    if arguments.count {
        let count = yard.count(filter, arguments.interface.as_deref()).await?;
        context.terminal.document(&json!({ "count": count }), || count.to_string())?;
        yard.close().await;
        return Ok(DONE);
    }
    let blocks = yard.list(filter, arguments.interface.as_deref()).await?;
    // A full page may be followed by another page, which may be empty.
    let full = arguments.limit.is_some_and(|limit| blocks.len() as u64 == u64::from(limit));
    let next = blocks.last().filter(|_| full).map(|block| block.address.clone());
    context.terminal.document(&json!({ "blocks": blocks, "next": next }), || {
        if blocks.is_empty() && arguments.deleted {
            return "no matching deleted blocks".to_owned();
        }
        if blocks.is_empty() {
            return "no matching blocks; create one with `blockyard create TYPE/NAME`".to_owned();
        }
        // Shown only if at least one block uses an older bundle.
        let older = blocks.iter().any(|block| block.bundle.as_ref().is_some_and(|bundle| !bundle.is_current()));
        let header = ["block", "revision", "saved"].into_iter().chain(older.then_some("older bundle"));
        let mut table = plain_table(header.map(str::to_owned));
        for block in &blocks {
            let bundle = block.bundle.as_ref().filter(|bundle| !bundle.is_current());
            let bundle = older.then(|| bundle.map(ToString::to_string).unwrap_or_default());
            let cells = [block.address.clone(), block.revision.to_string(), time(block.saved_at)];
            table.add_row(cells.into_iter().chain(bundle));
        }
        table.fitted().to_string()
    })?;
    if let Some(next) = &next {
        context.terminal.note(&format!("next page: --after {next}"));
    }
    yard.close().await;
    Ok(DONE)
}
