//! `partita ls`.

use std::path::Path;

use clap::Args;
use futures::TryStreamExt;
use partita::{Error, ErrorKind, Store};
use serde_json::{Value, json};

use crate::arguments::Common;
use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::print;

const EXAMPLES: &str = "\
Examples:
  partita ls lake
  partita ls s3://bucket/lake --option region=eu-north-1
  partita ls lake --json";

/// List the datasets directly under a store.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LsArguments {
    /// The store
    url: String,
}

/// Runs the command.
pub(crate) async fn run(arguments: LsArguments, common: &Common) -> Result<(), Failure> {
    let found = partita::ls(&arguments.url, &common.reading()).await?;
    if found.is_empty() && !exists(&arguments.url, common).await? {
        return Err(Error::new(ErrorKind::NotFound, "there is nothing at this location")
            .with("url", &arguments.url)
            .into());
    }
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

/// True if the store exists: a local directory, or any object in other stores.
async fn exists(url: &str, common: &Common) -> Result<bool, Error> {
    let store = Store::open(url, &common.reading())?;
    if store.is_local() {
        return Ok(Path::new(store.url()).is_dir());
    }
    Ok(store.list("").try_next().await?.is_some())
}
