//! `partita sync`.

use clap::Args;
use partita::array::{Collection, View, ViewOptions};
use partita::{Cancel, Predicate};
use serde_json::json;

use super::collection;
use crate::arguments::Common;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita sync lake/anomaly
  partita sync lake/anomaly --where 'year >= 2020'
  partita sync lake/anomaly --base s3://bucket/ssh";

/// Update a view to the current rows of its base collection, in one commit.
///
/// Partitions are added and removed as in the base, and rows that still exist keep their values.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SyncArguments {
    /// The view
    url: String,
    /// The partitions that the view covers from now on, such as "year >= 2020"; "true" for all
    #[arg(long = "where", short = 'w', value_name = "EXPR")]
    filter: Option<String>,
    /// The base collection, if it is not where the view says
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// An idempotency key: a commit with a key that was used before is not made again
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: SyncArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let store = common.writing(arguments.single_writer);
    let view = match &arguments.base {
        None => View::open(&arguments.url, &store).await?,
        Some(base) => {
            let base = Collection::open(base, &common.reading()).await?;
            View::open_over(&arguments.url, &base, &store).await?
        }
    };
    let options = ViewOptions {
        predicate: arguments.filter.as_deref().map(Predicate::parse).transpose()?,
        key: arguments.key,
        work: collection::work(common.json, cancel),
    };
    let written = view.sync(&options).await?;
    if common.json {
        let paths: Vec<&String> = written.iter().map(|partition| &partition.path).collect();
        let done = json!({"url": view.url(), "partitions_written": paths});
        return print(&format!("{done}\n"));
    }
    print(&format!("wrote {}\n", units::plural(written.len() as u64, "partition")))
}
