//! `partita schema`.

use clap::Args;
use partita::type_name;
use serde_json::{Value, json};

use super::collection;
use crate::arguments::{AtVersion, Common, Either};
use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::print;

const EXAMPLES: &str = "\
Examples:
  partita schema lake/trips
  partita schema lake/ssh
  partita schema lake/trips --at 1 --json";

/// Show the columns of a table, or the variables of a collection, with their types.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
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
    let (ids, comments) = (table.column_ids(), table.comments());
    if common.json {
        let columns: Vec<Value> = schema
            .fields()
            .iter()
            .map(|field| {
                json!({
                    "name": field.name(),
                    "type": type_name(field.data_type()),
                    "partition": keys.contains(field.name()),
                    "index": indexed.contains(field.name()),
                    "id": ids.get(field.name()),
                    "comment": comments.get(field.name()),
                })
            })
            .collect();
        return print(&format!("{}\n", Value::from(columns)));
    }
    let mut headings = vec![("column", Align::Left), ("type", Align::Left), ("role", Align::Left)];
    if !comments.is_empty() {
        headings.push(("comment", Align::Left));
    }
    let mut grid = Grid::new(headings);
    for field in schema.fields() {
        let roles: Vec<&str> = [(&keys, "partition"), (&indexed, "index")]
            .iter()
            .filter(|(names, _)| names.contains(field.name()))
            .map(|(_, role)| *role)
            .collect();
        let mut row = vec![field.name().clone(), type_name(field.data_type()), roles.join(", ")];
        if !comments.is_empty() {
            row.push(comments.get(field.name()).cloned().unwrap_or_default());
        }
        grid.row(row);
    }
    print(&grid.render())
}
