//! `blockyard export`: writes blocks as TOML.

use std::io::Write as _;

use blockyard::{BlockFile, Error, ErrorKind};

use crate::arguments::Export;
use crate::context::Context;
use crate::input::read;
use crate::outcome::{DONE, Outcome};
use crate::output::Destination;

pub(super) async fn run(arguments: &Export, context: &Context) -> Outcome {
    let yard = context.open().await?;
    let mut file = match arguments.out.as_deref() {
        Some(path) if path.is_file() => BlockFile::parse(&read(path)?).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("existing file `{}` is not a block file", path.display()))
                .because(error.to_string())
                .hint("specify another file with `--out`")
        })?,
        _ => BlockFile::new(),
    };
    let count = yard.export(&arguments.addresses, &mut file).await?;
    let mut destination = Destination::new(arguments.out.as_deref())?;
    let to_file = matches!(destination, Destination::File { .. });
    if context.terminal.json && !to_file {
        context.terminal.json(&file.to_json())?;
    } else {
        destination.write_all(file.to_string().as_bytes())?;
    }
    destination.finish()?;
    if to_file {
        context.terminal.note(&format!("{count} block{} written", if count == 1 { "" } else { "s" }));
    }
    yard.close().await;
    Ok(DONE)
}
