//! `partita ls`.

use clap::Args;
use serde_json::{Value, json};

use crate::arguments::Common;
use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::print;

/// List the datasets directly under a store.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    /// The store
    url: String,
}

/// Runs the command.
pub(crate) async fn run(arguments: LsArguments, common: &Common) -> Result<(), Failure> {
    let found = partita::ls(&arguments.url, &common.reading()).await?;
    if common.json {
        let rows: Vec<Value> = found
            .iter()
            .map(|info| json!({"name": info.name, "kind": info.kind.as_str(), "url": info.url}))
            .collect();
        return print(&format!("{}\n", Value::from(rows)));
    }
    if found.is_empty() {
        eprintln!("no datasets in {}", arguments.url);
        return Ok(());
    }
    let mut grid = Grid::new([("name", Align::Left), ("kind", Align::Left), ("url", Align::Left)]);
    for info in found {
        grid.row([info.name, info.kind.to_string(), info.url]);
    }
    print(&grid.render())
}
