//! `partita delete`.

use clap::Args;
use partita::array::Collection;
use partita::{Cancel, Predicate, Table, WriteOptions};
use serde_json::json;

use super::collection;
use super::confirm::Confirm;
use crate::arguments::{Common, Either};
use crate::bar::progress;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  # how many rows that would be
  partita delete lake/trips --where \"city == 'Oslo' and fare < 10\" --dry-run
  partita delete lake/trips --where \"city == 'Oslo' and fare < 10\"
  # months of a collection, without being asked
  partita delete lake/ssh --where 'year < 2020' --yes";

/// Remove rows of a table, or partitions of a collection, in one commit.
///
/// A table keeps the rows in its older versions until these expire: `partita restore` undoes the
/// deletion.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DeleteArguments {
    /// The dataset
    url: String,
    /// The rows, such as "city == 'Oslo'". A condition on partition columns alone removes whole
    /// files
    #[arg(long = "where", short = 'w', value_name = "EXPR")]
    filter: String,
    #[command(flatten)]
    confirm: Confirm,
    /// An idempotency key: a commit with a key that was used before is not made again
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: DeleteArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let scope = Predicate::parse(&arguments.filter)?;
    let (confirm, key) = (arguments.confirm, arguments.key);
    confirm.check()?;
    let store = match confirm.dry_run {
        true => common.reading(),
        false => common.writing(arguments.single_writer),
    };
    match Either::open(&arguments.url, &store).await? {
        Either::Table(table) => of_table(&table, &scope, key, &confirm, common, cancel).await,
        Either::Collection(found) => {
            of_collection(&found, scope, key, &confirm, common, cancel).await
        }
    }
}

async fn of_table(
    table: &Table,
    scope: &Predicate,
    key: Option<String>,
    confirm: &Confirm,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    if confirm.looks_first() {
        let doomed = table.scan().filter(scope.clone()).cancel(cancel.clone()).count().await?;
        let rows = units::plural(doomed, "row");
        if confirm.dry_run {
            let found = json!({"url": table.url(), "dry_run": true, "rows_removed": doomed});
            return print(&match common.json {
                true => format!("{found}\n"),
                false => format!("would delete {rows}\n"),
            });
        }
        if !confirm.agreed(format!("delete {rows} of {} where {scope}", table.name())).await? {
            return Ok(());
        }
    }
    let options = WriteOptions {
        cancel,
        progress: progress(common.json),
        idempotency_key: key,
        ..Default::default()
    };
    let commit = table.delete(scope, &options).await?;
    if common.json {
        let done = json!({
            "url": table.url(),
            "version": commit.version,
            "rows_removed": commit.rows_removed,
            "files_removed": commit.files_removed,
        });
        return print(&format!("{done}\n"));
    }
    print(&format!(
        "deleted {} in {}, version {}\n",
        units::plural(commit.rows_removed, "row"),
        units::plural(commit.files_removed, "file"),
        commit.version,
    ))
}

async fn of_collection(
    collection: &Collection,
    scope: Predicate,
    key: Option<String>,
    confirm: &Confirm,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    if confirm.looks_first() {
        let doomed = collection.partitions(Some(&scope)).await?;
        if confirm.dry_run {
            let paths: Vec<&str> = doomed.iter().map(|partition| partition.path.as_str()).collect();
            if common.json {
                let url = collection.url();
                let found = json!({"url": url, "dry_run": true, "partitions_removed": paths});
                return print(&format!("{found}\n"));
            }
            let listed: String = paths.iter().map(|path| format!("{path}\n")).collect();
            let number = units::plural(paths.len() as u64, "partition");
            return print(&format!("{listed}would remove {number}\n"));
        }
        let number = units::plural(doomed.len() as u64, "partition");
        let question = format!("remove {number} of {} where {scope}", collection.url());
        if !confirm.agreed(question).await? {
            return Ok(());
        }
    }
    collection::delete(collection, scope, key, common.json, cancel).await
}
