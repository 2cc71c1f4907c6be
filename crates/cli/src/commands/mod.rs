//! The commands, one file each; their shared parts are in [`collection`] (implementation for
//! collections) and [`confirm`] (confirmation before a deletion).

pub(crate) mod append;
pub(crate) mod collection;
pub(crate) mod columns;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod doctor;
pub(crate) mod drop;
pub(crate) mod expire;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod index;
pub(crate) mod info;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod optimize;
pub(crate) mod partitions;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod schema;
pub(crate) mod sql;
pub(crate) mod sync;
pub(crate) mod upsert;
pub(crate) mod verify;

use partita::Cancel;
use partita::store::removed;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;
use crate::interrupt::interruptible;

/// Runs the command given by the arguments.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let cancel = Cancel::default();
    let stop = cancel.clone();
    let Arguments { common, command } = arguments;
    interruptible(&cancel, async move {
        let outcome = match command {
            Command::Ls(arguments) => ls::run(arguments, &common).await,
            Command::Info(arguments) => info::run(arguments, &common).await,
            Command::Schema(arguments) => schema::run(arguments, &common).await,
            Command::Partitions(arguments) => partitions::run(arguments, &common).await,
            Command::Report(arguments) => report::run(arguments, &common).await,
            Command::Read(arguments) => read::run(arguments, &common, stop).await,
            Command::Create(arguments) => create::run(arguments, &common).await,
            Command::Append(arguments) => append::run(arguments, &common, stop).await,
            Command::Import(arguments) => import::run(arguments, &common, stop).await,
            Command::Export(arguments) => export::run(arguments, &common, stop).await,
            Command::Upsert(arguments) => upsert::run(arguments, &common, stop).await,
            Command::Delete(arguments) => delete::run(arguments, &common, stop).await,
            Command::Drop(arguments) => drop::run(arguments, &common).await,
            Command::Optimize(arguments) => optimize::run(arguments, &common, stop).await,
            Command::Columns(arguments) => columns::run(arguments, &common, stop).await,
            Command::Index(arguments) => index::run(arguments, &common, stop).await,
            Command::History(arguments) => history::run(arguments, &common).await,
            Command::Restore(arguments) => restore::run(arguments, &common, stop).await,
            Command::Expire(arguments) => expire::run(arguments, &common).await,
            Command::Gc(arguments) => gc::run(arguments, &common, stop).await,
            Command::Copy(arguments) => copy::run(arguments, &common, stop).await,
            Command::Migrate(arguments) => migrate::run(arguments, &common, stop).await,
            Command::Sync(arguments) => sync::run(arguments, &common, stop).await,
            Command::Verify(arguments) => verify::run(arguments, &common, stop).await,
            Command::Doctor(arguments) => doctor::run(arguments, &common).await,
            Command::Sql(_) => sql::run(),
            Command::Completions(arguments) => completions::run(&arguments, common.json),
            Command::Man(arguments) => man::run(&arguments, common.json),
        };
        removed().await;
        outcome
    })
    .await
}
