//! `partita history`.

use clap::Args;
use serde_json::{Value, json};

use super::collection;
use crate::arguments::{Common, Either};
use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita history lake/trips
  partita history icechunk+lake/kept
  partita history lake/trips --json";

/// List the recorded versions of a dataset, newest first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HistoryArguments {
    /// The dataset
    url: String,
}

/// Runs the command.
pub(crate) async fn run(arguments: HistoryArguments, common: &Common) -> Result<(), Failure> {
    let table = match Either::open(&arguments.url, &common.reading()).await? {
        Either::Table(table) => table,
        Either::Collection(collection) => {
            return collection::history(&collection, common.json).await;
        }
    };
    let snapshots = table.history().await?;
    if common.json {
        let rows: Vec<Value> = snapshots
            .iter()
            .map(|s| {
                json!({
                    "version": s.version,
                    "commit": s.commit,
                    "time": s.time.to_string(),
                    "operation": s.operation.name(),
                    "files": s.files,
                    "rows": s.rows,
                    "bytes": s.bytes,
                    "files_added": s.files_added,
                    "files_removed": s.files_removed,
                    "rows_added": s.rows_added,
                    "rows_removed": s.rows_removed,
                })
            })
            .collect();
        return print(&format!("{}\n", Value::from(rows)));
    }
    let mut grid = Grid::new([
        ("version", Align::Right),
        ("time", Align::Left),
        ("operation", Align::Left),
        ("added", Align::Right),
        ("removed", Align::Right),
        ("rows", Align::Right),
        ("files", Align::Right),
        ("size", Align::Right),
    ]);
    for s in &snapshots {
        grid.row([
            s.version.to_string(),
            format!("{:.0}", s.time),
            s.operation.name().to_owned(),
            units::count(s.rows_added),
            units::count(s.rows_removed),
            units::count(s.rows),
            units::count(s.files),
            units::bytes(s.bytes),
        ]);
    }
    print(&grid.render())
}
