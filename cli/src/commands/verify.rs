//! `blockyard verify`: verifies the bundles of a yard.

use blockyard::{SignatureState, VerifiedBundle};

use crate::context::Context;
use crate::outcome::{DONE, Outcome};
use crate::signer::short_signer;
use crate::tabular::plain_table;

pub(super) async fn run(context: &Context) -> Outcome {
    let yard = context.open().await?;
    let progress = context.progress();
    let found = yard.verify(&mut |what| progress.count(|| format!("verifying {what}"))).await?;
    drop(progress);
    context.terminal.document(&found, || {
        if found.bundles.is_empty() {
            return "no bundles installed".to_owned();
        }
        let mut table =
            plain_table(["bundle", "version", "result", "signature", "signed by", "sha256"].map(str::to_owned));
        for bundle in &found.bundles {
            table.add_row([
                bundle.name.clone(),
                bundle.version.clone(),
                result(bundle),
                signature(bundle.signature).to_owned(),
                short_signer(bundle.signer.as_deref()),
                bundle.sha256[..12].to_owned(),
            ]);
        }
        table.fitted().to_string()
    })?;
    yard.close().await;
    match found.error() {
        None => Ok(DONE),
        Some(error) => Ok(context.terminal.fail(&error)),
    }
}

fn result(bundle: &VerifiedBundle) -> String {
    let state = if bundle.problems.is_empty() { "passed" } else { "failed" };
    if bundle.installed { state.to_owned() } else { format!("{state} (uninstalled)") }
}

fn signature(state: SignatureState) -> &'static str {
    match state {
        SignatureState::Valid => "valid",
        SignatureState::Unsigned => "none",
        SignatureState::NotStored => "not stored",
        SignatureState::Invalid => "not valid",
    }
}
