//! `partita schema`.

use clap::Args;
use serde_json::{Value, json};

use super::collection;
use crate::arguments::{AtVersion, Common, Either};
use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::print;

/// Show the columns of a dataset.
#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// The dataset
    url: String,
    #[command(flatten)]
    at: AtVersion,
}

/// Runs the command.
pub(crate) async fn run(arguments: SchemaArguments, common: &Common) -> Result<(), Failure> {
    let table = match arguments.at.open_either(&arguments.url, common).await? {
        Either::Table(table) => table,
        Either::Collection(collection) => return collection::schema(&collection, common.json),
    };
    let schema = table.schema();
    let (keys, indexed) = (table.partition_by(), table.index_columns());
    if common.json {
        let columns: Vec<Value> = schema
            .fields()
            .iter()
            .map(|field| {
                json!({
                    "name": field.name(),
                    "type": field.data_type().to_string(),
                    "partition": keys.contains(field.name()),
                    "index": indexed.contains(field.name()),
                })
            })
            .collect();
        return print(&format!("{}\n", Value::from(columns)));
    }
    let mut grid =
        Grid::new([("column", Align::Left), ("type", Align::Left), ("role", Align::Left)]);
    for field in schema.fields() {
        let roles: Vec<&str> = [(&keys, "partition"), (&indexed, "index")]
            .iter()
            .filter(|(names, _)| names.contains(field.name()))
            .map(|(_, role)| *role)
            .collect();
        grid.row([field.name().clone(), field.data_type().to_string(), roles.join(", ")]);
    }
    print(&grid.render())
}
