//! `partita expire`.

use clap::{ArgGroup, Args};
use jiff::SignedDuration;
use partita::{Keep, Table};
use serde_json::json;

use crate::arguments::Common;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

/// Let go of old versions. Their files go with the next `partita gc`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("keep").required(true)))]
pub(crate) struct ExpireArguments {
    /// The table
    url: String,
    /// Keep so many of the newest versions
    #[arg(long, group = "keep", value_name = "COUNT")]
    keep_last: Option<usize>,
    /// Keep what was the newest version within this time, such as 30d or 12h
    #[arg(long, group = "keep", value_name = "AGE", value_parser = units::age)]
    keep_within: Option<SignedDuration>,
}

/// Runs the command.
pub(crate) async fn run(arguments: ExpireArguments, common: &Common) -> Result<(), Failure> {
    let keep = match (arguments.keep_last, arguments.keep_within) {
        (Some(count), _) => Keep::Last(count),
        (None, Some(age)) => Keep::Within(age),
        (None, None) => return Err(Failure::Usage("say what to keep".into())),
    };
    let table = Table::open(&arguments.url, &common.writing(false)).await?;
    let expired = table.expire(keep).await?;
    if common.json {
        return print(&format!("{}\n", json!({"url": table.url(), "expired": expired})));
    }
    print(&format!("{} expired\n", units::plural(expired, "version")))
}
