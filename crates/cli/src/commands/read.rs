//! `partita read`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use futures::StreamExt;
use partita::{Cancel, Error, Predicate, Scan, Table};

use crate::arguments::{AtVersion, Common};
use crate::bar::progress;
use crate::failure::Failure;
use crate::output::{Encoder, Format};
use crate::sink::{Sink, print};

/// The default number of rows shown on a terminal.
const ROWS_SHOWN: usize = 50;

const EXAMPLES: &str = "\
Examples:
  partita read lake/trips --where \"city == 'Oslo' and fare > 10\" --columns id,fare
  # into a file, as it was at an older version
  partita read lake/trips --at 3 --output trips.parquet
  # what would be read, and what it costs
  partita read lake/trips --where 'rider == 7' --explain
  # for other programs
  partita read lake/trips --format csv --limit 1000 | head
  # a collection, into NetCDF (with the Python package)
  partita read lake/ssh --where \"time >= '2022-02-10'\" --output february.nc";

/// Read rows as a table, CSV, JSON lines or Parquet.
///
/// With --output, a collection can be read too, into NetCDF or Zarr.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReadArguments {
    /// The dataset
    pub(super) url: String,
    #[command(flatten)]
    pub(super) at: AtVersion,
    /// Only these columns, in this order
    #[arg(long, short, value_name = "A,B", value_delimiter = ',')]
    pub(super) columns: Option<Vec<String>>,
    /// Only rows that match this condition, such as "city == 'Oslo' and fare > 10"
    #[arg(long = "where", short = 'w', value_name = "EXPR")]
    pub(super) filter: Option<String>,
    /// At most this many rows; by default a table shows 50
    #[arg(long, short = 'n', value_name = "N")]
    pub(super) limit: Option<usize>,
    /// The output format; by default taken from the extension of the output, or a table
    #[arg(long, short, value_enum)]
    pub(super) format: Option<Format>,
    /// Report what the read would prune and its cost, instead of reading
    #[arg(long)]
    pub(super) explain: bool,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

impl ReadArguments {
    fn format(&self, common: &Common) -> Result<Format, Failure> {
        if let Some(format) = self.format {
            if format == Format::Parquet && self.output.is_none() && std::io::stdout().is_terminal()
            {
                return Err(Failure::Usage(
                    "parquet is not for terminals; pass --output FILE or redirect".into(),
                ));
            }
            return Ok(format);
        }
        match &self.output {
            Some(path) => Format::of(path).ok_or_else(|| {
                Failure::Usage(format!(
                    "cannot determine the format of {}; pass --format",
                    path.display()
                ))
            }),
            None if common.json => Ok(Format::Jsonl),
            None => Ok(Format::Table),
        }
    }

    fn scan(&self, table: &Table) -> Result<Scan, Failure> {
        let mut scan = table.scan();
        if let Some(columns) = &self.columns {
            scan = scan.columns(columns.clone());
        }
        if let Some(filter) = &self.filter {
            scan = scan.filter(Predicate::parse(filter)?);
        }
        Ok(scan)
    }
}

async fn explain(scan: &Scan, common: &Common) -> Result<(), Failure> {
    let account = scan.explain().await?;
    let shown = if common.json {
        serde_json::to_string(&account)
            .map_err(|error| Error::invalid("the report is not JSON").caused_by(error))?
    } else {
        account.to_string()
    };
    print(&format!("{shown}\n"))
}

/// Runs the command.
pub(crate) async fn run(
    arguments: ReadArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let format = arguments.format(common)?;
    // One row more than is shown is read, to find out whether there are more.
    let shown = (format == Format::Table && arguments.limit.is_none()).then_some(ROWS_SHOWN);
    let limit = arguments.limit.or(shown.map(|rows| rows + 1));
    let table = arguments.at.open(&arguments.url, common).await?;
    let mut scan = arguments.scan(&table)?.cancel(cancel);
    if let Some(limit) = limit {
        scan = scan.limit(limit);
    }
    if arguments.explain {
        return explain(&scan, common).await;
    }
    if arguments.output.is_some() {
        scan = scan.progress(progress(common.json));
    }
    let schema = scan.schema()?;
    let mut batches = scan.stream().await?;
    let sink = match &arguments.output {
        Some(path) => Sink::file(path)?,
        None => Sink::stdout(),
    };
    let mut encoder = Encoder::new(format, &schema, sink)?;
    let mut left = shown.unwrap_or(usize::MAX);
    let mut more = false;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let rows = batch.num_rows().min(left);
        more |= rows < batch.num_rows();
        left -= rows;
        encoder.write(&batch.slice(0, rows))?;
    }
    encoder.finish()?;
    if more {
        eprintln!("… and more rows; --limit N shows N of them, --format csv or jsonl all");
    }
    Ok(())
}
