//! `blockyard type`: describes a block type.

use blockyard::model::{Schema, visible};
use blockyard::{Error, ErrorKind, TypeSlug, TypeView};

use crate::arguments::Type;
use crate::context::Context;
use crate::definition::{create_options, operations, outline};
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Type, context: &Context) -> Outcome {
    let slug = TypeSlug::new(arguments.slug.as_str()).map_err(Error::from)?;
    let yard = context.open().await?;
    let view = yard.block_type(&slug).await?;
    if arguments.schema {
        context.terminal.json(&view.schema)?;
    } else {
        let schema = Schema::compile(view.schema.clone()).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("the stored schema of `{slug}` is corrupt")).because(error)
        })?;
        context.terminal.document(&view, || describe(&view, &schema))?;
    }
    yard.close().await;
    Ok(DONE)
}

fn describe(view: &TypeView, schema: &Schema) -> String {
    let mut text = format!(
        "{} ({}), version {}, of bundle {} {}{}\n{}\n",
        view.slug,
        visible::line(&view.title),
        view.version,
        view.bundle,
        view.bundle_version,
        if view.uninstalled { ", which is uninstalled" } else { "" },
        visible::paragraph(&view.description)
    );
    if !view.interfaces.is_empty() {
        text.push_str(&format!("implements {}\n", view.interfaces.join(", ")));
    }
    text.push_str(&format!("\nfields\n{}", outline::fields(&view.schema, "  ")));
    text.push_str(&format!("\noperations\n{}", operations(&view.operations, "  ")));
    if view.uninstalled {
        return text;
    }
    let flags = create_options(schema);
    text.push_str(&format!("\nexample\n  blockyard create {}/NAME {}\n", view.slug, visible::line(&flags.join(" "))));
    text
}
