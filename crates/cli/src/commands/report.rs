//! `partita report`.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use partita::masked;
use serde_json::json;

use crate::arguments::{AtVersion, Common, Either};
use crate::failure::Failure;
use crate::report::{report_of_collection, report_of_table};
use crate::sink::{Sink, print};

const EXAMPLES: &str = "\
Examples:
  partita report lake/trips -o report.html
  partita report s3://bucket/ssh --output ssh.html
  partita report lake/trips > report.html";

/// Describe a dataset on a web page: size, types, growth, uneven partitions, gaps.
///
/// The page is one file that loads nothing from elsewhere. It appears once it is complete.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReportArguments {
    /// The dataset
    url: String,
    #[command(flatten)]
    at: AtVersion,
    /// The file to write; standard output by default
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs the command.
pub(crate) async fn run(arguments: ReportArguments, common: &Common) -> Result<(), Failure> {
    let dataset = arguments.at.open_either(&arguments.url, common).await?;
    let page = match &dataset {
        Either::Table(table) => report_of_table(table).await?,
        Either::Collection(collection) => report_of_collection(collection).await?,
    };
    let Some(path) = arguments.output else {
        return print(&if common.json { format!("{}\n", json!({"html": page})) } else { page });
    };
    let mut sink = Sink::file(&path)?;
    sink.write_all(page.as_bytes())
        .map_err(|error| Failure::io(format!("cannot write {}", path.display()), error))?;
    sink.finish()?;
    let path = path.display().to_string();
    if common.json {
        let done = json!({"url": masked(&arguments.url), "output": path});
        return print(&format!("{done}\n"));
    }
    print(&format!("wrote {path}\n"))
}
