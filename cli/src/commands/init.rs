//! `blockyard init`: creates a yard and its key.

use crate::arguments::Init;
use crate::context::{Context, describe_key};
use crate::outcome::{DONE, Outcome};

pub(super) async fn run(arguments: &Init, context: &Context) -> Outcome {
    let yard = context.init(arguments.key).await?;
    let info = yard.info();
    context.terminal.document(&info, || format!("yard  {}\nkey   {}", info.yard, describe_key(&info.key)))?;
    yard.close().await;
    Ok(DONE)
}
