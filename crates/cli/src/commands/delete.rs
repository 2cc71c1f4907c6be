//! `partita delete`.

use std::io::{IsTerminal, Write};

use clap::Args;
use partita::{Cancel, Predicate, WriteOptions};
use serde_json::json;

use super::collection;
use crate::arguments::{Common, Either};
use crate::bar::progress;
use crate::failure::Failure;
use crate::sink::print;
use crate::units;

/// Remove rows of a table, or partitions of a collection.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// The dataset
    url: String,
    /// Which rows, such as "city == 'Oslo'". On partition columns alone it takes out whole files
    #[arg(long = "where", short = 'w', value_name = "EXPR")]
    filter: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Your name for this commit: one of the same name that was made before is not made again
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
    if !arguments.yes && !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("nobody is there to be asked; pass --yes to delete".into()));
    }
    let store = common.writing(arguments.single_writer);
    let table = match Either::open(&arguments.url, &store).await? {
        Either::Table(table) => table,
        Either::Collection(collection) => {
            if !arguments.yes {
                let doomed = collection.partitions(Some(&scope)).await?.len() as u64;
                let doomed = units::plural(doomed, "partition");
                if !agreed(format!("remove {doomed} of {} where {scope}", collection.url())).await?
                {
                    eprintln!("nothing was deleted");
                    return Ok(());
                }
            }
            let key = arguments.key;
            return collection::delete(&collection, scope, key, common.json, cancel).await;
        }
    };
    if !arguments.yes {
        let doomed = table.scan().filter(scope.clone()).cancel(cancel.clone());
        let rows = units::plural(doomed.count().await?, "row");
        if !agreed(format!("delete {rows} of {} where {scope}", table.name())).await? {
            eprintln!("nothing was deleted");
            return Ok(());
        }
    }
    let options = WriteOptions {
        cancel,
        progress: progress(common.json),
        idempotency_key: arguments.key,
        ..Default::default()
    };
    let commit = table.delete(&scope, &options).await?;
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

/// Asks on the terminal, on a thread that may wait: Ctrl-C must be heard meanwhile.
async fn agreed(question: String) -> Result<bool, Failure> {
    let answer = tokio::task::spawn_blocking(move || {
        let mut err = std::io::stderr();
        err.write_all(format!("{question}? [y/N] ").as_bytes())?;
        err.flush()?;
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        Ok(line)
    });
    let line = answer
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|error| Failure::io("cannot read the answer", error))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
