//! `partita index`.

use clap::{Args, Subcommand};
use partita::{Cancel, Table, WriteOptions};
use serde_json::json;

use crate::arguments::Common;
use crate::bar::progress;
use crate::failure::Failure;
use crate::sink::print;

/// Build or drop secondary indices.
#[derive(Debug, Args)]
pub(crate) struct IndexArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build indices out of the stored rows, or build them anew
    Build(Columns),
    /// Drop indices
    Drop(Columns),
}

#[derive(Debug, Args)]
struct Columns {
    /// The table
    url: String,
    /// The columns
    #[arg(required = true)]
    columns: Vec<String>,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: IndexArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let options = WriteOptions { cancel, progress: progress(common.json), ..Default::default() };
    let (Action::Build(named) | Action::Drop(named)) = &arguments.action;
    let table = Table::open(&named.url, &common.writing(named.single_writer)).await?;
    let commit = match &arguments.action {
        Action::Build(named) => table.build_index(&named.columns, &options).await?,
        Action::Drop(named) => table.drop_index(&named.columns, &options).await?,
    };
    let indexed = table.index_columns();
    if common.json {
        let done = json!({"url": table.url(), "version": commit.version, "index": indexed});
        return print(&format!("{done}\n"));
    }
    let indexed = if indexed.is_empty() { "nothing".to_owned() } else { indexed.join(", ") };
    print(&format!("indexed: {indexed}, version {}\n", commit.version))
}
