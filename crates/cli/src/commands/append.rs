//! `partita append`.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use clap::Args;
use partita::{
    BatchSource, Cancel, Compression, CreateOptions, DatasetKind, SchemaMode, Table, WriteOptions,
    check_vacant,
};
use serde_json::json;

use crate::arguments::Common;
use crate::bar::progress;
use crate::failure::Failure;
use crate::input::{self, InputOptions};
use crate::output::Format;
use crate::partitioning::PartitionBy;
use crate::sink::print;
use crate::types;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  # a new table, partitioned by city and month, with an index
  partita append lake/trips trips.csv --create --partition-by 'city,month(at)' --index rider
  partita append lake/trips more.parquet days/2026-02-*.csv
  # a command that is repeated after a failure adds its rows once
  partita append lake/trips feb.parquet --key 2026-02
  # files with columns that the table lacks
  partita append lake/trips trips-with-tips.csv --merge-schema
  # rows from another program
  partita append lake/trips - --format jsonl < trips.jsonl";

/// Add the rows of CSV, JSON lines or Parquet files, in one commit.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AppendArguments {
    #[command(flatten)]
    pub(super) rows: Rows,
    /// Create the table; an error if it exists
    #[arg(long)]
    pub(super) create: bool,
    /// The partition keys of the new table: columns, parts of a time as in month(at), hash buckets
    /// as in bucket(16, rider)
    #[arg(long, value_name = "KEYS", requires = "create")]
    pub(super) partition_by: Option<PartitionBy>,
    /// The columns of the new table with a secondary index
    #[arg(long, value_name = "A,B", value_delimiter = ',', requires = "create")]
    pub(super) index: Vec<String>,
}

/// Input files, and how their rows are stored.
#[derive(Debug, Args)]
pub(crate) struct Rows {
    /// The table
    pub(super) url: String,
    /// CSV (with a header line), JSON lines or Parquet, or folders of these, whose names may
    /// contain values (year=2026); - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The format of the files; by default taken from their extensions
    #[arg(long, short, value_enum)]
    format: Option<Format>,
    /// The types of columns that the files do not define, or define differently, as in `partita
    /// create`
    #[arg(long, value_name = "NAME=TYPE,…", value_parser = types::columns)]
    schema: Option<Schema>,
    /// Read all columns of CSV files as text
    #[arg(long)]
    strings: bool,
    /// The text for a missing value in CSV files, including text columns
    #[arg(long, value_name = "TEXT")]
    null: Vec<String>,
    /// Columns that a file lacks are null there
    #[arg(long)]
    union: bool,
    /// Add columns that the table has not, make its types wider where a value needs it, and leave
    /// columns null that the files lack
    #[arg(long)]
    merge_schema: bool,
    /// The codec of the stored files: none, snappy, zstd, zstd(LEVEL), lz4, gzip
    #[arg(long, value_name = "CODEC")]
    compression: Option<String>,
    /// Sort the rows of each stored file by these columns
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    sort_by: Vec<String>,
    /// The columns that get bloom filters in the stored files; the default of later writes to a new
    /// table
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    bloom_filters: Option<Vec<String>>,
    /// An idempotency key: a commit with a key that was used before is not made again
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    pub(super) single_writer: bool,
}

impl Rows {
    /// The write options of the rows.
    pub(super) fn write_options(
        &self,
        common: &Common,
        cancel: Cancel,
    ) -> Result<WriteOptions, Failure> {
        let compression = self.compression.as_deref().map(str::parse::<Compression>).transpose()?;
        let defaults = WriteOptions::default();
        Ok(WriteOptions {
            compression: compression.unwrap_or(defaults.compression),
            sort_by: self.sort_by.clone(),
            bloom_filters: self.bloom_filters.clone(),
            idempotency_key: self.key.clone(),
            schema_mode: match self.merge_schema {
                true => SchemaMode::Merge,
                false => SchemaMode::Fixed,
            },
            progress: progress(common.json),
            cancel,
            ..defaults
        })
    }

    /// The rows, converted to the types of `table`.
    pub(super) fn of(&self, table: &Table) -> Result<BatchSource, Failure> {
        input::open(&self.files, &self.input(), Some(given_columns(table)))
    }

    fn input(&self) -> InputOptions {
        InputOptions {
            format: self.format,
            types: self.schema.as_ref().map(|own| own.fields().clone()).unwrap_or_default(),
            strings: self.strings,
            null: self.null.clone(),
            union: self.union,
            merge: self.merge_schema,
        }
    }
}

/// The result of the command.
struct Done {
    url: String,
    version: Option<u64>,
    rows: u64,
    files: u64,
    bytes: u64,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: AppendArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let write = arguments.rows.write_options(common, cancel)?;
    let done = if arguments.create {
        create(&arguments, common, write).await?
    } else {
        append(&arguments, common, write).await?
    };
    if common.json {
        let done = json!({
            "url": done.url,
            "version": done.version,
            "rows_added": done.rows,
            "files_added": done.files,
            "bytes_added": done.bytes,
        });
        return print(&format!("{done}\n"));
    }
    print(&format!(
        "{} {} in {} ({}){}\n",
        if arguments.create { "created a table of" } else { "added" },
        units::plural(done.rows, "row"),
        units::plural(done.files, "file"),
        units::bytes(done.bytes),
        done.version.map(|version| format!(", version {version}")).unwrap_or_default(),
    ))
}

async fn append(
    arguments: &AppendArguments,
    common: &Common,
    write: WriteOptions,
) -> Result<Done, Failure> {
    let store = common.writing(arguments.rows.single_writer);
    let table = Table::open(&arguments.rows.url, &store).await?;
    let commit = table.append(arguments.rows.of(&table)?, &write).await?;
    Ok(Done {
        url: table.url(),
        version: Some(commit.version),
        rows: commit.rows_added,
        files: commit.files_added,
        bytes: commit.bytes_added,
    })
}

/// The columns that data for the table must have: all but derived ones.
fn given_columns(table: &Table) -> SchemaRef {
    let (date, bucket) = (table.date_partition(), table.bucket_partition());
    let derived = |name: &str| {
        date.as_ref().is_some_and(|date| date.names().any(|part| part == name))
            || bucket.as_ref().is_some_and(|bucket| bucket.name() == name)
    };
    let schema = table.schema();
    let given = schema.fields().iter().filter(|field| !derived(field.name()));
    Arc::new(Schema::new(given.cloned().collect::<Vec<_>>()))
}

async fn create(
    arguments: &AppendArguments,
    common: &Common,
    write: WriteOptions,
) -> Result<Done, Failure> {
    let store = common.writing(arguments.rows.single_writer);
    let data = input::open(&arguments.rows.files, &arguments.rows.input(), None)?;
    let keys = arguments.partition_by.clone().unwrap_or_default();
    let options = CreateOptions { index: arguments.index.clone(), write, ..keys.options() };
    check_vacant(&arguments.rows.url, &store, DatasetKind::Table).await?;
    let table = Table::create_from(&arguments.rows.url, data, &options, &store).await?;
    let partitions = table.partitions().await?;
    Ok(Done {
        url: table.url(),
        version: table.version(),
        rows: partitions.iter().filter_map(|p| p.rows).sum(),
        files: table.num_files() as u64,
        bytes: partitions.iter().filter_map(|p| p.bytes).sum(),
    })
}
