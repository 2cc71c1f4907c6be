//! `partita upsert`.

use clap::Args;
use partita::{Cancel, Table};
use serde_json::json;

use super::append::Rows;
use crate::arguments::Common;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita upsert lake/trips corrections.csv --on id
  partita upsert lake/trips corrections.parquet --on city,id --key corrections-7";

/// Add rows, replacing those with the same key, in one commit.
///
/// Rows whose key is not stored yet are added. Keys must not be null, and must be unique in the
/// files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpsertArguments {
    #[command(flatten)]
    rows: Rows,
    /// The columns of the key
    #[arg(long, value_name = "A,B", value_delimiter = ',', required = true)]
    on: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: UpsertArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let UpsertArguments { rows, on } = arguments;
    let table = Table::open(&rows.url, &common.writing(rows.single_writer)).await?;
    let write = rows.write_options(common, cancel)?;
    let commit = table.upsert(rows.of(&table)?, &on, &write).await?;
    if common.json {
        let done = json!({
            "url": table.url(),
            "version": commit.version,
            "rows_added": commit.rows_added,
            "rows_removed": commit.rows_removed,
        });
        return print(&format!("{done}\n"));
    }
    // Unchanged rows of rewritten files are counted as both removed and added.
    print(&format!(
        "wrote {} in {}, version {}\n",
        units::plural(commit.rows_added, "row"),
        units::plural(commit.files_added, "file"),
        commit.version,
    ))
}
