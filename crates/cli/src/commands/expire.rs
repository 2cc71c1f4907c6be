//! `partita expire`.

use clap::{ArgGroup, Args};
use jiff::SignedDuration;
use partita::Keep;
use partita::array::Expiry;
use serde_json::json;

use crate::arguments::{Common, Either};
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  # keep the last ten versions of a table
  partita expire lake/trips --keep-last 10 --dry-run
  partita expire lake/trips --keep-last 10
  # keep what was the newest within a month, then remove the files of the others
  partita expire lake/trips --keep-within 30d
  partita gc lake/trips";

/// Remove old versions of a dataset from its history.
///
/// The next `partita gc` removes the files of the expired versions. In an Icechunk repository,
/// versions expire by their age alone, and there is no dry run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("keep").required(true)))]
pub(crate) struct ExpireArguments {
    /// The dataset
    url: String,
    /// Keep this many of the newest versions
    #[arg(long, group = "keep", value_name = "COUNT")]
    keep_last: Option<usize>,
    /// Keep versions that were the newest within this time, such as 30d or 12h
    #[arg(long, group = "keep", value_name = "AGE", value_parser = units::age)]
    keep_within: Option<SignedDuration>,
    /// Only report how many versions would expire
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: ExpireArguments, common: &Common) -> Result<(), Failure> {
    let dry_run = arguments.dry_run;
    // The store is opened for writing even if nothing is removed: its time is determined by a
    // write.
    let dataset = Either::open(&arguments.url, &common.writing(false)).await?;
    let (url, expired) = match dataset {
        Either::Table(table) => {
            let keep = match (arguments.keep_last, arguments.keep_within) {
                (Some(count), _) => Keep::Last(count),
                (None, Some(age)) => Keep::Within(age),
                (None, None) => return Err(nothing_kept()),
            };
            let expired = match dry_run {
                true => table.expirable(keep).await?.len() as u64,
                false => table.expire(keep).await?,
            };
            (table.url(), expired)
        }
        Either::Collection(collection) => {
            let expiry = match (arguments.keep_last, arguments.keep_within) {
                (Some(count), _) => Expiry::AllBut(count as u64),
                (None, Some(age)) => Expiry::OlderThan(age),
                (None, None) => return Err(nothing_kept()),
            };
            let expired = match expiry {
                _ if dry_run => collection.expirable(expiry).await?,
                Expiry::AllBut(count) => collection.expire_all_but(count).await?,
                Expiry::OlderThan(age) => collection.expire(age).await?,
            };
            (collection.url().to_owned(), expired.len() as u64)
        }
    };
    if common.json {
        let done = json!({"url": url, "dry_run": dry_run, "expired": expired});
        return print(&format!("{done}\n"));
    }
    let versions = units::plural(expired, "version");
    print(&if dry_run {
        format!("would forget {versions}\n")
    } else {
        format!("{versions} expired\n")
    })
}

fn nothing_kept() -> Failure {
    Failure::Usage("the versions to keep are not given".to_owned())
}
