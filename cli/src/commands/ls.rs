//! `blockyard ls`: lists the objects of an object storage.

use blockyard::ObjectPage;
use blockyard::model::visible;

use super::objects::{Stored, size};
use crate::arguments::Ls;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Ls, context: &Context) -> Outcome {
    let object = Stored::parse(&arguments.path)?;
    let yard = context.open().await?;
    let storage = object.open(&yard).await?;
    let delimiter = (!arguments.recursive).then_some("/");
    let mut all = ObjectPage::default();
    let mut pages = storage.pages(&object.path, delimiter);
    while let Some(page) = pages.next().await? {
        if context.terminal.json {
            all.objects.extend(page.objects);
            all.prefixes.extend(page.prefixes);
        } else {
            // Printed page by page, because a storage may contain millions of objects.
            context.terminal.text(&lines(&page))?;
        }
    }
    if context.terminal.json {
        context.terminal.json(&all)?;
    }
    yard.close().await;
    Ok(DONE)
}

fn lines(page: &ObjectPage) -> String {
    let folders = page.prefixes.iter().map(|prefix| format!("{:>12}  {:<20}  {}\n", "", "", visible::line(prefix)));
    let objects = page.objects.iter().map(|object| {
        let updated = object.updated.as_deref().unwrap_or_default();
        // Truncates to seconds.
        let updated = visible::line(updated);
        let updated = updated.get(..19).map_or_else(|| updated.clone(), |time| format!("{time}Z"));
        format!("{:>12}  {updated:<20}  {}\n", size(object.size), visible::line(&object.path))
    });
    folders.chain(objects).collect()
}
