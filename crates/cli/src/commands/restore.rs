//! `partita restore`.

use clap::Args;
use partita::{At, Cancel, Table, WriteOptions};
use serde_json::json;

use crate::arguments::{Common, version};
use crate::failure::Failure;
use crate::sink::print;

const EXAMPLES: &str = "\
Examples:
  partita restore lake/trips 3
  partita restore lake/trips 2026-01-31T12:00:00Z";

/// Make an older version of a table the newest, in one commit.
///
/// The versions in between stay in the history.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArguments {
    /// The table
    url: String,
    /// The number of the version, or a time such as 2026-01-31T12:00:00Z
    #[arg(value_parser = version)]
    version: At,
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
    let table = Table::open(&arguments.url, &common.writing(arguments.single_writer)).await?;
    let options = WriteOptions { cancel, ..Default::default() };
    let commit = table.restore(arguments.version, &options).await?;
    if common.json {
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
