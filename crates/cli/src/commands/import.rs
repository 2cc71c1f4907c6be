//! `partita import`.

use clap::Args;
use partita::{Cancel, Table};

use super::append::{self, AppendArguments, Rows};
use crate::arguments::Common;
use crate::failure::Failure;
use crate::partitioning::PartitionBy;

const EXAMPLES: &str = "\
Examples:
  partita import lake/trips trips.csv --partition-by city --index rider
  partita import lake/trips in/year=2026/ more.parquet
  # arrays: a collection out of NetCDF files (with the Python package)
  partita import lake/ssh day1.nc day2.nc --partition-by month";

/// Make a table out of files, or add them to one that is there, in one commit.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    rows: Rows,
    /// What names the partitions, if the table is made: columns, parts of a time as in month(at),
    /// hash buckets as in bucket(16, rider)
    #[arg(long, value_name = "KEYS")]
    partition_by: Option<PartitionBy>,
    /// The columns with a secondary index, if the table is made
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    index: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: ImportArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let ImportArguments { rows, partition_by, index } = arguments;
    let exists = Table::exists(&rows.url, &common.reading()).await?;
    if exists && !(partition_by.is_none() && index.is_empty()) {
        return Err(Failure::Usage(
            "the table exists; --partition-by and --index are for a new one".into(),
        ));
    }
    let append = AppendArguments { rows, create: !exists, partition_by, index };
    append::run(append, common, cancel).await
}
