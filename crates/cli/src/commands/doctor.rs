//! `partita doctor`.

use clap::Args;
use partita::Store;
use partita::store::repository_url;
use serde_json::json;

use crate::arguments::Common;
use crate::failure::Failure;
use crate::sink::print;
use crate::style;

const EXAMPLES: &str = "\
Examples:
  partita doctor s3://bucket/lake
  partita doctor lake --json";

/// Find out whether a store can commit atomically.
///
/// It is written to and cleaned up again.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArguments {
    /// The store
    url: String,
}

/// Runs the command.
pub(crate) async fn run(arguments: DoctorArguments, common: &Common) -> Result<(), Failure> {
    let place = repository_url(&arguments.url).unwrap_or(&arguments.url);
    let store = Store::open(place, &common.writing(false))?;
    let capability = store.probe().await?;
    if common.json {
        return print(&format!(
            "{}\n",
            json!({"url": store.url(), "commit": capability.to_string()})
        ));
    }
    print(&style::facts([("url", store.url().to_owned()), ("commit", capability.to_string())]))
}
