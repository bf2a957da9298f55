//! The commands, one file each.

mod audit;
mod build;
mod bundles;
mod call;
mod cat;
mod check;
mod completions;
mod config;
mod copy;
mod cp;
mod create;
mod delete;
mod dev;
mod diff;
mod doctor;
mod edit;
mod exec;
mod execute;
mod export;
mod gc;
mod grants;
mod history;
mod info;
mod init;
mod inspect;
mod install;
mod key;
mod list;
mod ls;
mod new;
mod objects;
mod outdated;
mod plan;
mod publish;
mod query;
mod registries;
mod reveal;
mod rm;
mod rollback;
mod search;
mod set;
mod show;
mod status;
mod test;
mod transfer;
mod trust;
mod r#type;
mod types;
mod uninstall;
mod upgrade;
mod verify;

use crate::arguments::Command;
use crate::context::Context;
use crate::outcome::Outcome;

/// Runs a command.
pub(crate) async fn run(command: Command, context: &Context) -> Outcome {
    match command {
        Command::Init(arguments) => init::run(&arguments, context).await,
        Command::Search(arguments) => search::run(&arguments, context).await,
        Command::Info(arguments) => info::run(&arguments, context).await,
        Command::Registries(arguments) => registries::run(&arguments, context).await,
        Command::Install(arguments) => install::run(arguments, context).await,
        Command::Bundles => bundles::run(context).await,
        Command::Outdated(arguments) => outdated::run(&arguments, context).await,
        Command::Uninstall(arguments) => uninstall::run(&arguments, context).await,
        Command::Verify => verify::run(context).await,
        Command::Gc => gc::run(context).await,
        Command::Upgrade(arguments) => upgrade::run(arguments, context).await,
        Command::Grants(arguments) => grants::show(&arguments, context).await,
        Command::Grant(arguments) => grants::grant(&arguments, context).await,
        Command::Revoke(arguments) => grants::revoke(&arguments, context).await,
        Command::Types(arguments) => types::run(&arguments, context).await,
        Command::Type(arguments) => r#type::run(&arguments, context).await,
        Command::Create(arguments) => create::run(arguments, context).await,
        Command::Set(arguments) => set::run(arguments, context).await,
        Command::Edit(arguments) => edit::run(&arguments, context).await,
        Command::Copy(arguments) => copy::run(arguments, context).await,
        Command::List(arguments) => list::run(arguments, context).await,
        Command::Show(arguments) => show::run(&arguments, context).await,
        Command::History(arguments) => history::run(&arguments, context).await,
        Command::Diff(arguments) => diff::run(&arguments, context).await,
        Command::Rollback(arguments) => rollback::run(&arguments, context).await,
        Command::Delete(arguments) => delete::delete(&arguments, context).await,
        Command::Restore(arguments) => delete::restore(&arguments, context).await,
        Command::Purge(arguments) => delete::purge(&arguments, context).await,
        Command::Reveal(arguments) => reveal::run(&arguments, context).await,
        Command::Exec(arguments) => exec::run(arguments, context).await,
        Command::Check(arguments) => check::run(&arguments, context).await,
        Command::Call(arguments) => call::run(arguments, context).await,
        Command::Query(arguments) => query::run(arguments, context).await,
        Command::Execute(arguments) => execute::run(&arguments, context).await,
        Command::Transfer(arguments) => transfer::run(arguments, context).await,
        Command::Cp(arguments) => cp::run(&arguments, context).await,
        Command::Ls(arguments) => ls::run(&arguments, context).await,
        Command::Cat(arguments) => cat::run(&arguments, context).await,
        Command::Rm(arguments) => rm::run(&arguments, context).await,
        Command::Export(arguments) => export::run(&arguments, context).await,
        Command::Plan(arguments) => plan::plan(&arguments, context).await,
        Command::Apply(arguments) => plan::apply(&arguments, context).await,
        Command::Key(arguments) => key::run(&arguments.command, context).await,
        Command::Config => config::run(context).await,
        Command::Status => status::run(context).await,
        Command::Doctor(arguments) => doctor::run(&arguments, context).await,
        Command::Audit(arguments) => audit::run(&arguments, context).await,
        Command::Trust(arguments) => trust::run(&arguments, context).await,
        Command::New(arguments) => new::run(arguments, context),
        Command::Build(arguments) => build::run(&arguments, context).await,
        Command::Dev(arguments) => dev::run(&arguments, context).await,
        Command::Test(arguments) => test::run(&arguments, context).await,
        Command::Inspect(arguments) => inspect::run(&arguments, context).await,
        Command::Publish(arguments) => publish::run(&arguments, context).await,
        Command::Completions(arguments) => completions::run(&arguments, context),
    }
}
