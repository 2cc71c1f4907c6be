//! `partita info`.

use clap::Args;
use partita::{Partition, SnapshotInfo, Table};
use serde_json::json;

use super::collection;
use crate::arguments::{AtVersion, Common, Either};
use crate::failure::Failure;
use crate::sink::print;
use crate::style;
use crate::units;

const EXAMPLES: &str = "\
Examples:
  partita info lake/trips
  partita info lake/trips --at 3
  partita info lake/trips --at 2026-01-31T12:00:00Z --json";

/// Show the size, partitioning, indices and last commit of a dataset.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InfoArguments {
    /// The dataset
    url: String,
    #[command(flatten)]
    at: AtVersion,
}

/// The data to show.
struct Facts {
    table: Table,
    partitions: Vec<Partition>,
    last: Option<SnapshotInfo>,
}

/// Runs the command.
pub(crate) async fn run(arguments: InfoArguments, common: &Common) -> Result<(), Failure> {
    let table = match arguments.at.open_either(&arguments.url, common).await? {
        Either::Table(table) => table,
        Either::Collection(collection) => return collection::info(&collection, common.json).await,
    };
    let partitions = table.partitions().await?;
    let last = table.last_commit().await?;
    let facts = Facts { table, partitions, last };
    print(&if common.json { facts.json() } else { facts.text() })
}

impl Facts {
    /// A sum over the partitions; `None` if a value is unknown.
    fn sum(&self, part: impl Fn(&Partition) -> Option<u64>) -> Option<u64> {
        self.partitions.iter().map(part).sum()
    }

    fn json(&self) -> String {
        let table = &self.table;
        let last = self.last.as_ref().map(|last| {
            json!({
                "version": last.version,
                "commit": last.commit,
                "time": last.time.to_string(),
                "operation": last.operation.name(),
            })
        });
        let facts = json!({
            "name": table.name(),
            "kind": "table",
            "url": table.url(),
            "version": table.version(),
            "rows": self.sum(|p| p.rows),
            "bytes": self.sum(|p| p.bytes),
            "files": table.num_files(),
            "partitions": self.partitions.len(),
            "partition_by": table.partition_by(),
            "index": table.index_columns(),
            "columns": table.schema().fields().len(),
            "metadata": table.metadata(),
            "last_commit": last,
        });
        format!("{facts}\n")
    }

    fn text(&self) -> String {
        let table = &self.table;
        let names = |names: Vec<String>| {
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        };
        let mut facts = vec![
            ("name", table.name().to_owned()),
            ("kind", "table".to_owned()),
            ("url", table.url()),
            (
                "version",
                table.version().map_or("not written by partita".to_owned(), |v| v.to_string()),
            ),
            ("rows", units::known(self.sum(|p| p.rows), units::count)),
            ("size", units::known(self.sum(|p| p.bytes), units::bytes)),
            ("files", units::count(table.num_files() as u64)),
            ("partitions", units::count(self.partitions.len() as u64)),
            ("partitioned by", names(table.partition_by())),
            ("index on", names(table.index_columns())),
            ("columns", table.schema().fields().len().to_string()),
        ];
        for (name, value) in table.metadata() {
            facts.push(("metadata", format!("{name} = {value}")));
        }
        if let Some(last) = &self.last {
            facts.push(("last commit", format!("{} at {:.0}", last.operation.name(), last.time)));
        }
        style::facts(facts)
    }
}
