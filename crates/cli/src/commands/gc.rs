//! `partita gc`.

use clap::Args;
use jiff::SignedDuration;
use partita::{Cancel, GarbageOptions, Table};
use serde_json::json;

use crate::arguments::Common;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

/// Remove files that no version names.
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// The table
    url: String,
    /// Leave alone what is younger than this, such as 24h or 7d, by the store's clock
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = units::age)]
    grace: SignedDuration,
    /// Only list what would be removed
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: GcArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let table = Table::open(&arguments.url, &common.writing(false)).await?;
    let options = GarbageOptions { grace: arguments.grace, dry_run: arguments.dry_run, cancel };
    let garbage = table.collect_garbage(&options).await?;
    if common.json {
        let done = json!({
            "url": table.url(),
            "dry_run": options.dry_run,
            "keys": garbage.keys,
            "bytes": garbage.bytes,
        });
        return print(&format!("{done}\n"));
    }
    if options.dry_run {
        let listed: String = garbage.keys.iter().map(|key| format!("{key}\n")).collect();
        print(&listed)?;
    }
    print(&format!(
        "{} {}, {}\n",
        if options.dry_run { "would remove" } else { "removed" },
        units::plural(garbage.keys.len() as u64, "object"),
        units::bytes(garbage.bytes),
    ))
}
