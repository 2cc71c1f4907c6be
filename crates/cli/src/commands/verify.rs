//! `partita verify`.

use clap::Args;
use partita::{Cancel, VerifyOptions};
use serde_json::{Value, json};

use super::collection;
use crate::arguments::{Common, Either};
use crate::bar::progress;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita verify lake/trips
  partita verify lake/trips --data
  partita verify lake/trips --repair";

/// Check a dataset against the objects in the store, and repair it.
///
/// The exit code is 1 if a problem was found and not repaired.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArguments {
    /// The dataset
    url: String,
    /// Decode all data as well, and compare it with the digests that were committed
    #[arg(long)]
    data: bool,
    /// Repair what can be repaired: rebuild indices, rewrite the schema file or the list of
    /// partitions
    #[arg(long)]
    repair: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: VerifyArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let store = if arguments.repair { common.writing(false) } else { common.reading() };
    let table = match Either::open(&arguments.url, &store).await? {
        Either::Table(table) => table,
        Either::Collection(collection) => {
            let (data, repair) = (arguments.data, arguments.repair);
            return collection::verify(&collection, data, repair, common.json, cancel).await;
        }
    };
    let options = VerifyOptions {
        data: arguments.data,
        repair: arguments.repair,
        progress: progress(common.json),
        cancel,
    };
    let problems = table.verify(&options).await?;
    if common.json {
        let rows: Vec<Value> = problems
            .iter()
            .map(|p| {
                json!({
                    "kind": p.kind.name(),
                    "key": p.at,
                    "message": p.message,
                    "repaired": p.repaired,
                })
            })
            .collect();
        print(&format!("{}\n", Value::from(rows)))?;
    } else if problems.is_empty() {
        print("nothing is wrong\n")?;
    } else {
        print(&problems.iter().map(|problem| format!("{problem}\n")).collect::<String>())?;
    }
    match problems.iter().filter(|problem| !problem.repaired).count() as u64 {
        0 => Ok(()),
        wrong => Err(Failure::Found(units::plural(wrong, "problem"))),
    }
}
