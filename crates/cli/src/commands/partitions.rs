//! `partita partitions`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::collection;
use crate::arguments::{AtVersion, Common, Either};
use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::print;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita partitions lake/trips
  partita partitions icechunk+lake/kept --at delivered
  partita partitions lake/ssh --json";

/// List the partitions of a dataset with their sizes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PartitionsArguments {
    /// The dataset
    url: String,
    #[command(flatten)]
    at: AtVersion,
}

/// Runs the command.
pub(crate) async fn run(arguments: PartitionsArguments, common: &Common) -> Result<(), Failure> {
    let table = match arguments.at.open_either(&arguments.url, common).await? {
        Either::Table(table) => table,
        Either::Collection(collection) => {
            return collection::partitions(&collection, common.json).await;
        }
    };
    let partitions = table.partitions().await?;
    if common.json {
        let rows: Vec<Value> = partitions
            .iter()
            .map(|p| {
                let key: Map<String, Value> =
                    p.key.pairs().iter().map(|(n, v)| (n.clone(), v.as_str().into())).collect();
                json!({
                    "key": key,
                    "files": p.files,
                    "rows": p.rows,
                    "row_groups": p.row_groups,
                    "bytes": p.bytes,
                })
            })
            .collect();
        return print(&format!("{}\n", Value::from(rows)));
    }
    let sizes = [("rows", Align::Right), ("files", Align::Right), ("size", Align::Right)];
    let keys = table.partition_by();
    let headings = keys.iter().map(|name| (name.as_str(), Align::Left)).chain(sizes);
    let mut grid = Grid::new(headings);
    for partition in &partitions {
        let values = partition.key.pairs().iter().map(|(_, value)| value.clone());
        grid.row(values.chain([
            units::known(partition.rows, units::count),
            units::count(partition.files as u64),
            units::known(partition.bytes, units::bytes),
        ]));
    }
    print(&grid.render())
}
