//! `partita copy`.

use clap::Args;
use partita::{Cancel, CopyOptions, Predicate};
use serde_json::json;

use super::collection;
use crate::arguments::{AtVersion, Common, Either};
use crate::bar::progress;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita copy lake/trips s3://bucket/lake/trips
  partita copy lake/trips lake/oslo --where \"city == 'Oslo'\"
  partita copy lake/ssh lake/ssh3 --zarr 3";

/// Copy a dataset to another place.
///
/// Store options apply to both source and target.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CopyArguments {
    /// The dataset
    url: String,
    /// The location of the copy; the last component is its name
    target: String,
    #[command(flatten)]
    at: AtVersion,
    /// Copy only these rows, which are rewritten
    #[arg(long = "where", short = 'w', value_name = "EXPR")]
    filter: Option<String>,
    /// Convert a collection to this Zarr format, 2 or 3
    #[arg(long, value_name = "FORMAT", value_parser = clap::value_parser!(u8).range(2..=3))]
    zarr: Option<u8>,
    /// Replace a table that exists already
    #[arg(long)]
    overwrite: bool,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: CopyArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let filter = arguments.filter.as_deref().map(Predicate::parse).transpose()?;
    let store = common.writing(arguments.single_writer);
    let table = match arguments.at.open_either(&arguments.url, common).await? {
        Either::Table(table) => table,
        Either::Collection(collection) => {
            let options = partita::array::CopyOptions {
                predicate: filter,
                layout: arguments.zarr.map(collection::layout_of),
                work: collection::work(common.json, cancel),
                ..partita::array::CopyOptions::default()
            };
            return collection::copy(&collection, &arguments.target, &store, &options, common.json)
                .await;
        }
    };
    let options = CopyOptions {
        scope: filter,
        overwrite: arguments.overwrite,
        progress: progress(common.json),
        cancel,
    };
    let copy = table.copy(&arguments.target, &store, &options).await?;
    let (rows, files) = (copy.scan().count().await?, copy.num_files() as u64);
    if common.json {
        let done = json!({"url": copy.url(), "rows": rows, "files": files});
        return print(&format!("{done}\n"));
    }
    let (rows, files) = (units::plural(rows, "row"), units::plural(files, "file"));
    print(&format!("copied {rows} in {files} to {}\n", copy.url()))
}
