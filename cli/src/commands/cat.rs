//! `blockyard cat`: writes the content of an object to standard output.

use super::objects::Stored;
use crate::arguments::Cat;
use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::output::{self, Destination};

pub(super) async fn run(arguments: &Cat, context: &Context) -> Outcome {
    let place = Stored::parse(&arguments.place)?;
    let yard = context.open().await?;
    let (_, stream) = place.open(&yard).await?.get(&place.path).await?;
    let mut destination = Destination::new(None)?;
    output::copy(stream, &mut destination).await?;
    destination.finish()?;
    yard.close().await;
    Ok(DONE)
}
