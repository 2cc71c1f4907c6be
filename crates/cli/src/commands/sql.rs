//! `partita sql`, which the Python package runs; here are its arguments and its help.

use clap::Args;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  partita sql lake/trips 'select city, avg(fare) from t group by city'
  partita sql lake/ssh \"select max(ssh) from t where time >= '2026-01-15'\" --explain";

/// Query a table or a collection in SQL, in which it is called t.
///
/// DuckDB runs the query and reads the columns and rows that it needs. Of a collection there is a
/// row for each item of the variables with the most dimensions. The result is shown as `partita
/// read` shows rows. This command comes with the Python package: pip install 'partita[sql]'.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[allow(dead_code, reason = "the Python package parses and runs this command itself")]
pub(crate) struct SqlArguments {
    /// The table or the collection
    url: String,
    /// One statement that gives rows, in the SQL of DuckDB
    query: String,
    /// Read an older version: its number, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "VERSION")]
    at: Option<String>,
    /// Write to this file: CSV, JSON lines or Parquet
    #[arg(long, short, value_name = "FILE")]
    output: Option<String>,
    /// The format of the result
    #[arg(long, short, value_parser = ["table", "csv", "jsonl", "parquet"])]
    format: Option<String>,
    /// Show at most this many rows
    #[arg(long, short = 'n', value_name = "ROWS")]
    limit: Option<u64>,
    /// Of a collection: the variables that rows are made of
    #[arg(long, value_name = "VARIABLE", value_delimiter = ',')]
    variables: Vec<String>,
    /// Run the query, and show what it read in the place of its result
    #[arg(long)]
    explain: bool,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Refuses the command, which is for the Python package.
pub(crate) fn run() -> Result<(), Failure> {
    Err(Failure::Usage(
        "this program does not contain DuckDB; `partita sql` comes with the Python package: pip \
         install 'partita[sql]'"
            .to_owned(),
    ))
}
