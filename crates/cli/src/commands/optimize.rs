//! `partita optimize`.

use clap::Args;
use partita::{Cancel, OptimizeOptions, Predicate, Table, WriteOptions};
use serde_json::json;

use crate::arguments::Common;
use crate::bar::progress;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita optimize lake/trips
  partita optimize lake/trips --where 'year == 2026' --sort-by rider --target-mib 256";

/// Merge small files of a table into larger ones, in one commit.
///
/// This makes reads faster and does not change any row.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct OptimizeArguments {
    /// The table
    url: String,
    /// Merge files up to this size
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    target_mib: u64,
    /// Sort the rows of each new file by these columns
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    sort_by: Vec<String>,
    /// Only these partitions: a condition on partition columns
    #[arg(long = "where", short = 'w', value_name = "EXPR")]
    filter: Option<String>,
    /// An idempotency key: a commit with a key that was used before is not made again
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: OptimizeArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let scope = arguments.filter.as_deref().map(Predicate::parse).transpose()?;
    let table = Table::open(&arguments.url, &common.writing(arguments.single_writer)).await?;
    let before = table.num_files();
    let optimize = OptimizeOptions {
        target_file_bytes: arguments.target_mib << 20,
        sort_by: arguments.sort_by,
        scope,
    };
    let options = WriteOptions {
        cancel,
        progress: progress(common.json),
        idempotency_key: arguments.key,
        ..Default::default()
    };
    let commit = table.optimize(&optimize, &options).await?;
    if common.json {
        let done = json!({
            "url": table.url(),
            "version": commit.version,
            "files_before": before,
            "files_after": table.num_files(),
        });
        return print(&format!("{done}\n"));
    }
    print(&format!(
        "{} became {}, version {}\n",
        units::plural(before as u64, "file"),
        table.num_files(),
        commit.version,
    ))
}
