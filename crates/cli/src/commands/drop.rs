//! `partita drop`.

use clap::Args;
use futures::{StreamExt, TryStreamExt};
use partita::{Error, Table};
use serde_json::json;

use super::confirm::Confirm;
use crate::arguments::{Common, Either};
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  # what would be removed
  partita drop lake/trips --dry-run
  partita drop lake/trips
  partita drop s3://bucket/lake/trips --yes";

/// Remove a table with its history and all of its files.
///
/// The removal cannot be undone.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DropArguments {
    /// The table
    url: String,
    #[command(flatten)]
    confirm: Confirm,
}

/// Runs the command.
pub(crate) async fn run(arguments: DropArguments, common: &Common) -> Result<(), Failure> {
    let confirm = arguments.confirm;
    confirm.check()?;
    let store = if confirm.dry_run { common.reading() } else { common.writing(false) };
    let table = match Either::open(&arguments.url, &store).await? {
        Either::Table(table) => table,
        Either::Collection(_) => {
            return Err(Error::invalid(
                "only tables are dropped; `partita delete URL --where EXPR` removes partitions of \
                 a collection",
            )
            .with("url", &arguments.url)
            .into());
        }
    };
    let url = table.url();
    if confirm.looks_first() {
        let (objects, bytes) = size(&table).await?;
        let what = format!("{}, {}", units::plural(objects, "object"), units::bytes(bytes));
        if confirm.dry_run {
            let found = json!({"url": url, "dry_run": true, "objects": objects, "bytes": bytes});
            return print(&match common.json {
                true => format!("{found}\n"),
                false => format!("would remove {what}\n"),
            });
        }
        if !confirm.agreed(format!("remove {url} with its history ({what})")).await? {
            return Ok(());
        }
    }
    let objects = table.drop_table().await?;
    if common.json {
        return print(&format!("{}\n", json!({"url": url, "objects": objects})));
    }
    print(&format!("removed {url}, {}\n", units::plural(objects, "object")))
}

/// The number of objects of a table, in all versions, and their size in bytes.
async fn size(table: &Table) -> Result<(u64, u64), Error> {
    let (store, name) = (table.store(), table.name());
    // The header lies beside the directory of the table.
    let header = store.list(&format!("{name}.by-dataset-metadata."));
    store
        .list(&format!("{name}/"))
        .chain(header)
        .try_fold((0, 0), |(objects, bytes), object| async move {
            Ok((objects + 1, bytes + object.size))
        })
        .await
}
