//! `partita create`.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use clap::{ArgGroup, Args};
use partita::{CreateOptions, Table, WriteOptions};
use serde_json::json;

use crate::arguments::Common;
use crate::failure::Failure;
use crate::input::{self, InputOptions};
use crate::output::Format;
use crate::partitioning::PartitionBy;
use crate::sink::print;
use crate::types;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita create lake/trips --columns id:int64,city:string,at:timestamp,fare:float64 --partition-by 'city,month(at)'
  # with the columns of a file, whose rows stay where they are
  partita create lake/trips --like trips.parquet --partition-by 'bucket(16, rider)' --index id
  # then
  partita append lake/trips trips.parquet";

/// Create an empty table with given columns.
///
/// `partita import` creates one directly from files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("schema").required(true)))]
pub(crate) struct CreateArguments {
    /// The location of the table; the last component is its name
    url: String,
    /// The columns: bool, int8 to int64, uint8 to uint64, float32, float64, string, binary, date,
    /// timestamp[us], timestamp[us, tz=UTC], time[us], duration[us], decimal(10, 2), list<int64>
    #[arg(long, group = "schema", value_name = "NAME:TYPE,…", value_parser = types::columns)]
    columns: Option<Schema>,
    /// A CSV, JSON lines or Parquet file with the columns
    #[arg(long, group = "schema", value_name = "FILE")]
    like: Option<PathBuf>,
    /// The format of that file; by default taken from its extension
    #[arg(long, short, value_enum, requires = "like")]
    format: Option<Format>,
    /// The partition keys: columns, parts of a time as in month(at), hash buckets as in bucket(16,
    /// rider)
    #[arg(long, value_name = "KEYS")]
    partition_by: Option<PartitionBy>,
    /// The columns with a secondary index
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    index: Vec<String>,
    /// The columns that get bloom filters
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    bloom_filters: Option<Vec<String>>,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: CreateArguments, common: &Common) -> Result<(), Failure> {
    let schema = schema(&arguments)?;
    let write = WriteOptions { bloom_filters: arguments.bloom_filters, ..WriteOptions::default() };
    let options = CreateOptions {
        index: arguments.index,
        write,
        ..arguments.partition_by.unwrap_or_default().options()
    };
    let store = common.writing(arguments.single_writer);
    let table = Table::create(&arguments.url, schema, &options, &store).await?;
    let columns = table.schema().fields().len();
    if common.json {
        let done = json!({"url": table.url(), "version": table.version(), "columns": columns});
        return print(&format!("{done}\n"));
    }
    let columns = units::plural(columns as u64, "column");
    print(&format!("created an empty table of {columns} at {}\n", table.url()))
}

fn schema(arguments: &CreateArguments) -> Result<SchemaRef, Failure> {
    match (&arguments.columns, &arguments.like) {
        (Some(columns), _) => Ok(Arc::new(columns.clone())),
        (None, Some(file)) => {
            let options = InputOptions { format: arguments.format, ..InputOptions::default() };
            Ok(input::open(std::slice::from_ref(file), &options, None)?.schema())
        }
        (None, None) => Err(Failure::Usage("say --columns or --like".to_owned())),
    }
}
