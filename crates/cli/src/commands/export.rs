//! `partita export`.

use std::path::PathBuf;

use clap::Args;
use partita::Cancel;

use super::read::{self, ReadArguments};
use crate::arguments::{AtVersion, Common};
use crate::failure::Failure;
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  partita export lake/trips trips.csv
  partita export lake/trips oslo.parquet --where \"city == 'Oslo'\" --columns id,fare
  partita export lake/trips - --format jsonl";

/// Write rows to a CSV, JSON lines or Parquet file.
///
/// The file appears once it is complete.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArguments {
    /// The dataset
    url: String,
    /// The file: .csv, .jsonl or .parquet; - is standard output
    #[arg(value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    at: AtVersion,
    /// Only these columns, in this order
    #[arg(long, short, value_name = "A,B", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// Only rows that match this condition, such as "city == 'Oslo' and fare > 10"
    #[arg(long = "where", short = 'w', value_name = "EXPR")]
    filter: Option<String>,
    /// The format of the file; by default taken from its extension, or CSV on standard output
    #[arg(long, short, value_enum)]
    format: Option<Format>,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: ExportArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let stdout = arguments.output.as_os_str() == "-";
    let read = ReadArguments {
        url: arguments.url,
        at: arguments.at,
        columns: arguments.columns,
        filter: arguments.filter,
        limit: None,
        explain: false,
        format: arguments.format.or(stdout.then_some(Format::Csv)),
        output: (!stdout).then_some(arguments.output),
    };
    read::run(read, common, cancel).await
}
