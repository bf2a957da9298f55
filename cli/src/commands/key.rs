//! `blockyard key status` and `blockyard key rotate`.

use std::process::ExitCode;

use blockyard::{Error, ErrorKind, RotateTo, Yard};

use crate::arguments::{KeyCommand, Rotate};
use crate::context::{Context, describe_key, describe_key_location};
use crate::hints;
use crate::outcome::{DONE, Outcome};

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
            format!("yard     {}\nkey      {} in {}\n", status.yard, status.key_id, describe_key(&status.location));
        text.push_str(&match &status.reason {
            None => "         available; opens the yard\n".to_owned(),
            Some(reason) => format!("         not available: {reason}\n"),
        });
        if let Some(rotation) = &status.rotation {
            text.push_str(&format!(
                "rotation to {} in {}: {} blocks rewrapped, {} remaining; finish it with `blockyard key rotate`\n",
                rotation.key_id,
                describe_key(&rotation.location),
                rotation.moved,
                rotation.left
            ));
        }
        text
    })?;
    Ok(if status.available { DONE } else { ExitCode::from(hints::exit_code(ErrorKind::Denied)) })
}

async fn rotate(arguments: &Rotate, context: &Context) -> Outcome {
    let to = match arguments.to.as_deref() {
        None => RotateTo::Same,
        Some("keyring") => RotateTo::Keyring,
        Some("file") => RotateTo::File,
        Some(location) => match location.strip_prefix("env:").filter(|name| !name.is_empty()) {
            Some(name) => RotateTo::Environment(name.to_owned()),
            None => {
                return Err(Error::new(ErrorKind::Usage, format!("`{location}` is not a key location"))
                    .hint("use `keyring`, `file` or `env:NAME`")
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
        let unset = match done.old_location.strip_prefix("env:") {
            Some(name) => format!("\nnow unset {name}, or set it to the new key: its key takes precedence"),
            None => String::new(),
        };
        format!(
            "the yard's key is {} in {}\n{} blocks rewrapped{}\nthe old key {} is no longer used by this yard, but older backups require it; it is still in {}{unset}",
            done.key_id,
            describe_key(&done.location),
            done.moved,
            if done.resumed { ", resuming an earlier rotation" } else { "" },
            done.old_key_id,
            describe_key_location(&done.old_location),
        )
    })?;
    yard.close().await;
    Ok(DONE)
}
