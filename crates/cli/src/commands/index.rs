//! `partita index`.

use clap::{Args, Subcommand};
use partita::array::{BuildOptions, Collection, Index, IndexPlace, IndexSource};
use partita::{Cancel, Error, ErrorKind, Table, WriteOptions};
use serde_json::json;

use super::collection::work;
use crate::arguments::{Common, Either};
use crate::bar::progress;
use crate::failure::Failure;
use crate::sink::print;
use crate::units::plural;

const BUILD: &str = "\
Examples:
  # of a table: one index for each column
  partita index build lake/trips rider driver
  # of a collection: one index of the variables together
  partita index build lake/ssh cycle pass --name passes.parquet";
const DROP: &str = "\
Examples:
  # whether there are such indices
  partita index drop lake/trips rider --dry-run
  partita index drop lake/trips rider
  partita index drop lake/ssh passes.parquet";
const LIST: &str = "\
Examples:
  partita index list lake/trips";
const EXAMPLES: &str = "\
Examples:
  partita index build lake/trips rider
  partita index list lake/trips
  partita index drop lake/trips rider";

/// Build, drop or list indices.
///
/// Tables have indices on columns, collections on variables.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct IndexArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Build or rebuild indices from the stored rows: one for each column of a table; for a
    /// collection a single one over all variables, kept with it
    #[command(after_help = BUILD)]
    Build(Build),
    /// Drop indices: of columns of a table, or the index files kept with a collection
    #[command(after_help = DROP)]
    Drop(DropIndices),
    /// List the indices
    #[command(after_help = LIST)]
    List {
        /// The dataset
        url: String,
    },
}

#[derive(Debug, Args)]
struct Build {
    #[command(flatten)]
    columns: Columns,
    /// The name of the index file of a collection; by default its variables joined by dashes
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Args)]
struct DropIndices {
    #[command(flatten)]
    columns: Columns,
    /// Only report which indices would be dropped
    #[arg(long, short = 'n')]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Columns {
    /// The dataset
    url: String,
    /// The columns or variables; to drop indices of a collection, their files
    #[arg(required = true)]
    columns: Vec<String>,
    /// An idempotency key, for a table: a commit with a key that was used before is not made again
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
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
    let (url, store) = match &arguments.action {
        Action::Drop(DropIndices { columns, dry_run: true }) => (&columns.url, common.reading()),
        Action::Build(Build { columns, .. }) | Action::Drop(DropIndices { columns, .. }) => {
            (&columns.url, common.writing(columns.single_writer))
        }
        Action::List { url } => (url, common.reading()),
    };
    match Either::open(url, &store).await? {
        Either::Table(table) => of_table(&table, &arguments.action, common, cancel).await,
        Either::Collection(found) => of_collection(&found, arguments.action, common, cancel).await,
    }
}

async fn of_table(
    table: &Table,
    action: &Action,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let key = match action {
        Action::Build(Build { columns, .. }) | Action::Drop(DropIndices { columns, .. }) => {
            columns.key.clone()
        }
        Action::List { .. } => None,
    };
    let options = WriteOptions {
        cancel,
        progress: progress(common.json),
        idempotency_key: key,
        ..Default::default()
    };
    let version = match action {
        Action::Build(Build { name: Some(_), .. }) => {
            return Err(Failure::Usage("--name is for an index of a collection".to_owned()));
        }
        Action::Build(Build { columns, .. }) => {
            table.build_index(&columns.columns, &options).await?.version
        }
        Action::Drop(DropIndices { columns, dry_run: true }) => {
            return would_drop(&table.url(), &columns.columns, &table.index_columns(), common);
        }
        Action::Drop(DropIndices { columns, .. }) => {
            table.drop_index(&columns.columns, &options).await?.version
        }
        Action::List { .. } => return list(&table.url(), &table.index_columns(), common),
    };
    let indexed = table.index_columns();
    if common.json {
        let done = json!({"url": table.url(), "version": version, "index": indexed});
        return print(&format!("{done}\n"));
    }
    let indexed = if indexed.is_empty() { "nothing".to_owned() } else { indexed.join(", ") };
    print(&format!("indexed: {indexed}, version {version}\n"))
}

async fn of_collection(
    collection: &Collection,
    action: Action,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    match action {
        Action::Build(Build { columns: Columns { key: Some(_), .. }, .. })
        | Action::Drop(DropIndices { columns: Columns { key: Some(_), .. }, .. }) => {
            return Err(Failure::Usage("--key is for an index of a table".to_owned()));
        }
        Action::List { .. } => {}
        Action::Drop(DropIndices { columns, dry_run: true }) => {
            let known = collection.indexes().await?;
            return would_drop(collection.url(), &columns.columns, &known, common);
        }
        Action::Drop(DropIndices { columns, .. }) => {
            for name in &columns.columns {
                collection.drop_index(name).await?;
            }
        }
        Action::Build(Build { columns, name }) => {
            let joined = || format!("{}.parquet", columns.columns.join("-").replace('/', "."));
            let place = IndexPlace::beside(collection, &name.unwrap_or_else(joined));
            let source = IndexSource::Variables(columns.columns);
            let work = work(common.json, cancel);
            let options = BuildOptions { overwrite: true, work, ..BuildOptions::default() };
            let index = Index::build(collection, place, source, &options).await?;
            let rows = index.table()?.num_rows();
            if common.json {
                let done = json!({"url": index.url(), "commit": index.commit(), "rows": rows});
                return print(&format!("{done}\n"));
            }
            return print(&format!("indexed: {}, {}\n", index.url(), plural(rows as u64, "run")));
        }
    }
    list(collection.url(), &collection.indexes().await?, common)
}

/// Reports which indices would be dropped, or that one of them does not exist.
fn would_drop(
    url: &str,
    names: &[String],
    known: &[String],
    common: &Common,
) -> Result<(), Failure> {
    if let Some(absent) = names.iter().find(|name| !known.contains(name)) {
        let error = Error::new(ErrorKind::NotFound, "there is no such index");
        return Err(error.with("index", absent).with("url", url).into());
    }
    print(&match common.json {
        true => format!("{}\n", json!({"url": url, "dry_run": true, "index": names})),
        false => format!("would drop the indices {}\n", names.join(", ")),
    })
}

fn list(url: &str, names: &[String], common: &Common) -> Result<(), Failure> {
    if common.json {
        return print(&format!("{}\n", json!({"url": url, "index": names})));
    }
    print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())
}
