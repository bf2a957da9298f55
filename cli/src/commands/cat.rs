//! `blockyard cat`: writes the content of an object to standard output.

use super::objects::Stored;
use crate::arguments::Cat;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::output::{self, Destination};

pub(super) async fn run(arguments: &Cat, context: &Context) -> Outcome {
    let object = Stored::parse(&arguments.path)?;
    let yard = context.open().await?;
    let (_, stream) = object.open(&yard).await?.get(&object.path).await?;
    let mut destination = Destination::new(None)?;
    output::copy(stream, &mut destination).await?;
    destination.finish()?;
    yard.close().await;
    Ok(DONE)
}
