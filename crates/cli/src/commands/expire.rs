//! `partita expire`.

use clap::{ArgGroup, Args};
use jiff::SignedDuration;
use partita::Keep;
use serde_json::json;

use crate::arguments::{Common, Either};
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

/// Let go of old versions, of a table or of a collection in an Icechunk repository. Their files go
/// with the next `partita gc`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("keep").required(true)))]
pub(crate) struct ExpireArguments {
    /// The dataset
    url: String,
    /// Keep so many of the newest versions of a table
    #[arg(long, group = "keep", value_name = "COUNT")]
    keep_last: Option<usize>,
    /// Keep what was the newest version within this time, such as 30d or 12h
    #[arg(long, group = "keep", value_name = "AGE", value_parser = units::age)]
    keep_within: Option<SignedDuration>,
}

/// Runs the command.
pub(crate) async fn run(arguments: ExpireArguments, common: &Common) -> Result<(), Failure> {
    let (url, expired) = match Either::open(&arguments.url, &common.writing(false)).await? {
        Either::Table(table) => {
            let keep = match (arguments.keep_last, arguments.keep_within) {
                (Some(count), _) => Keep::Last(count),
                (None, Some(age)) => Keep::Within(age),
                (None, None) => return Err(Failure::Usage("say what to keep".into())),
            };
            (table.url(), table.expire(keep).await?)
        }
        Either::Collection(collection) => {
            let Some(age) = arguments.keep_within else {
                let why = "commits of a collection expire by their age: --keep-within";
                return Err(Failure::Usage(why.into()));
            };
            (collection.url().to_owned(), collection.expire(age).await?.len() as u64)
        }
    };
    if common.json {
        return print(&format!("{}\n", json!({"url": url, "expired": expired})));
    }
    print(&format!("{} expired\n", units::plural(expired, "version")))
}
