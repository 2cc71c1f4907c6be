//! `partita gc`.

use clap::Args;
use jiff::SignedDuration;
use partita::{Cancel, GarbageOptions};
use serde_json::json;

use super::collection;
use crate::arguments::{Common, Either};
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  # what would be removed
  partita gc lake/trips --dry-run
  partita gc lake/trips
  # also what writers at work may still need: only when nobody writes
  partita gc lake/trips --grace 0s";

/// Remove files that no version uses.
///
/// These are the files of expired versions, and files left by failed writers.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GcArguments {
    /// The dataset
    url: String,
    /// Keep files younger than this, such as 24h or 7d, by the store's clock
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = units::age)]
    grace: SignedDuration,
    /// Only list the files that would be removed
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: GcArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let (grace, dry_run) = (arguments.grace, arguments.dry_run);
    let (url, keys, bytes, missing) = match Either::open(&arguments.url, &common.writing(false))
        .await?
    {
        Either::Table(table) => {
            let options = GarbageOptions { grace, dry_run, cancel };
            let garbage = table.collect_garbage(&options).await?;
            (table.url(), garbage.keys, garbage.bytes, garbage.missing)
        }
        Either::Collection(collection) => {
            let (keys, bytes) = collection::garbage(&collection, grace, dry_run, cancel).await?;
            (collection.url().to_owned(), keys, bytes, Vec::new())
        }
    };
    if common.json {
        let done = json!({
            "url": url,
            "dry_run": dry_run,
            "keys": keys,
            "bytes": bytes,
            "missing": missing,
        });
        return print(&format!("{done}\n"));
    }
    if dry_run {
        let listed: String = keys.iter().map(|key| format!("{key}\n")).collect();
        print(&listed)?;
    }
    for key in &missing {
        print(&format!("missing, removed by another program: {key}\n"))?;
    }
    print(&format!(
        "{} {}, {}\n",
        if dry_run { "would remove" } else { "removed" },
        units::plural(keys.len() as u64, "object"),
        units::bytes(bytes),
    ))
}
