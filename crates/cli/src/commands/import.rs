//! `partita import`.

use clap::Args;
use partita::{Cancel, Table};

use super::append::{self, AppendArguments, Rows};
use crate::arguments::Common;
use crate::failure::Failure;
use crate::partitioning::PartitionBy;

/// The part of `--help` about files that the Python package imports, with examples.
const HELP: &str = "\
Array files (NetCDF 3 and 4, HDF5, Zarr), and folders and patterns of them, are imported into a
collection. This requires the Python package and xarray:
  --axis NAME             the variable along which a new collection grows; default: time
  --partition-by WHAT     month, or another part of the date of the axis; month(measured), the same
                          of another variable; or integer variables: cycle,pass
  --zarr 2|3              the format of a new collection; groups of the files need 3
  --chunk DIM=N           the chunk size of a dimension of a new collection
  --merge HOW             replace, concat, time_series or upsert: how rows are merged with stored
                          rows and between files. Without it, overlapping files and partitions that
                          have rows already are refused
  --batch N               files per commit; default: all files in one commit
  --fill NAME=VALUE       the value of a variable that is missing in a file
  --combine-attrs HOW     override, drop, identical, no_conflicts or drop_conflicts: how
                          attributes that differ between the files of a new collection are combined
  --no-groups             do not import the groups of the files
  --on-error raise|skip   with skip, omit and report files that do not fit; it is an error if none
                          fits
  --skip-existing         omit files that were imported before, according to the history
  --workers N             processes that read files
  --source-option K=V     option of the store of files that are given as URLs; --option unless given
  --json                  print the result as JSON

Examples:
  partita import lake/trips trips.csv --partition-by city --index rider
  partita import lake/trips in/year=2026/ more.parquet
  # arrays: a collection out of NetCDF files (with the Python package)
  partita import lake/ssh day1.nc day2.nc --partition-by month
  partita import lake/ssh 's3://bucket/in/*.nc' --partition-by month";

/// Create a table from files, or add them to an existing one, in one commit; or import array files
/// into a collection.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    rows: Rows,
    /// The partition keys, if the table is created: columns, parts of a time as in month(at), hash
    /// buckets as in bucket(16, rider)
    #[arg(long, value_name = "KEYS")]
    partition_by: Option<PartitionBy>,
    /// The columns with a secondary index, if the table is created
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
