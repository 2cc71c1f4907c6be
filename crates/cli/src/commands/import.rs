//! `partita import`.

use clap::Args;
use partita::{Cancel, Table};

use super::append::{self, AppendArguments, Rows};
use crate::arguments::Common;
use crate::failure::Failure;
use crate::partitioning::PartitionBy;

/// The part of `--help` about files that the Python package imports, with examples.
const HELP: &str = "\
Files of arrays (NetCDF 3 and 4, HDF5, Zarr), folders and patterns of them, go into a collection. This
takes the Python package and xarray:
  --axis NAME             the variable along which a new collection grows; time
  --partition-by WHAT     month, or another part of a date; or integer variables: cycle,pass
  --zarr 2|3              the format of a new collection; groups of the files need 3
  --chunk DIM=N           how a dimension of a new collection is cut
  --merge HOW             replace, concat, time_series or upsert: how rows are merged with those that
                          are there, and files with each other. Without it, files that overlap and
                          partitions that have rows are refused
  --batch N               files in one commit; all in one without it
  --fill NAME=VALUE       what is put where a variable is missing in a file
  --combine-attrs HOW     override, drop, identical, no_conflicts or drop_conflicts: attributes of a
                          new collection that differ between files
  --no-groups             leave out the groups of the files
  --on-error raise|skip   with skip, go on without files that do not fit, and report them
  --skip-existing         leave out files that were imported before, as the history tells
  --workers N             processes that read files
  --json                  print what was done as JSON

Examples:
  partita import lake/trips trips.csv --partition-by city --index rider
  partita import lake/trips in/year=2026/ more.parquet
  # arrays: a collection out of NetCDF files (with the Python package)
  partita import lake/ssh day1.nc day2.nc --partition-by month";

/// Make a table out of files, or add them to one that is there, in one commit; or import files of
/// arrays into a collection.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
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
