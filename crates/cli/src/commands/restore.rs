//! `partita restore`.

use clap::Args;
use partita::array::Collection;
use partita::{At, Cancel, Table, WriteOptions};
use serde_json::json;

use crate::arguments::{Common, Either, version};
use crate::failure::Failure;
use crate::sink::print;

const EXAMPLES: &str = "\
Examples:
  partita restore lake/trips 3
  partita restore lake/trips 2026-01-31T12:00:00Z
  # a collection, as commit 12 left it
  partita restore lake/ssh 12";

/// Make an older version of a dataset the newest, in one commit.
///
/// The versions in between stay in the history. In an Icechunk repository a branch is made of the
/// older state instead, in Python.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArguments {
    /// The dataset
    url: String,
    /// The number of the version, or a time such as 2026-01-31T12:00:00Z
    #[arg(value_parser = version)]
    version: At,
    /// An idempotency key: a commit with a key that was used before is not made again
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: RestoreArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let RestoreArguments { url, version, key, single_writer } = arguments;
    match Either::open(&url, &common.writing(single_writer)).await? {
        Either::Table(table) => {
            let options = WriteOptions { cancel, idempotency_key: key, ..Default::default() };
            of_table(&table, version, &options, common.json).await
        }
        Either::Collection(collection) => {
            of_collection(&collection, version, key.as_deref(), common.json).await
        }
    }
}

async fn of_table(
    table: &Table,
    version: At,
    options: &WriteOptions,
    json: bool,
) -> Result<(), Failure> {
    let commit = table.restore(version, options).await?;
    if json {
        let done = json!({
            "url": table.url(),
            "version": commit.version,
            "files_added": commit.files_added,
            "files_removed": commit.files_removed,
        });
        return print(&format!("{done}\n"));
    }
    print(&format!("restored, version {}\n", commit.version))
}

async fn of_collection(
    collection: &Collection,
    version: At,
    key: Option<&str>,
    json: bool,
) -> Result<(), Failure> {
    let number = collection.restore(version, key).await?;
    if json {
        return print(&format!("{}\n", json!({"url": collection.url(), "commit": number})));
    }
    print(&match number {
        0 => "nothing is different\n".to_owned(),
        number => format!("restored, commit {number}\n"),
    })
}
