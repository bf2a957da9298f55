//! `blockyard key status` and `blockyard key rotate`.

use blockyard::{Error, ErrorKind, RotateTo, Yard};

use super::{DONE, Outcome};
use crate::arguments::{KeyCommand, Rotate};
use crate::context::{Context, in_words, key_in_words};

pub(super) async fn run(command: &KeyCommand, context: &Context) -> Outcome {
    match command {
        KeyCommand::Status => status(context).await,
        KeyCommand::Rotate(arguments) => rotate(arguments, context).await,
    }
}

async fn status(context: &Context) -> Outcome {
    let (url, config) = context.yard().await?;
    let status = Yard::key_status(&url, &config).await?;
    context.terminal.document(&status, || {
        let mut text =
            format!("yard     {}\nkey      {} in {}\n", status.yard, status.key_id, key_in_words(&status.location));
        text.push_str(&match &status.reason {
            None => "         it is there, and opens the yard\n".to_owned(),
            Some(reason) => format!("         it cannot be had: {reason}\n"),
        });
        if let Some(rotation) = &status.rotation {
            text.push_str(&format!(
                "rotation to {} in {}: {} blocks moved, {} left; `blockyard key rotate` finishes it\n",
                rotation.key_id,
                key_in_words(&rotation.location),
                rotation.moved,
                rotation.left
            ));
        }
        text
    })?;
    Ok(DONE)
}

async fn rotate(arguments: &Rotate, context: &Context) -> Outcome {
    let to = match arguments.to.as_deref() {
        None => RotateTo::Same,
        Some("keyring") => RotateTo::Keyring,
        Some("file") => RotateTo::File,
        Some(place) => match place.strip_prefix("env:").filter(|name| !name.is_empty()) {
            Some(name) => RotateTo::Environment(name.to_owned()),
            None => {
                return Err(Error::new(ErrorKind::Usage, format!("`{place}` is no place for a key"))
                    .hint("there are `keyring`, `file` and `env:NAME`")
                    .into());
            }
        },
    };
    let yard = context.open().await?;
    let progress = context.progress();
    let done =
        yard.rotate_key(&to, &mut |moved, total| progress.count(|| format!("{moved} of {total} blocks"))).await?;
    drop(progress);
    context.terminal.document(&done, || {
        format!(
            "the yard's key is {} in {}\n{} blocks were moved{}\nthe old key {} opens nothing here any more; backups from before need it, and it is still in {}",
            done.key_id,
            key_in_words(&done.location),
            done.moved,
            if done.resumed { ", on from where a rotation was left" } else { "" },
            done.old_key_id,
            in_words(&done.old_location),
        )
    })?;
    yard.close().await;
    Ok(DONE)
}
