//! `partita columns`.

use arrow::datatypes::{DataType, Field, Schema};
use clap::{Args, Subcommand};
use partita::{Cancel, Commit, Error, ErrorKind, SchemaVersion, Table, WriteOptions, type_name};
use serde_json::{Value, json};

use super::confirm::Confirm;
use crate::arguments::Common;
use crate::bar::progress;
use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::print;
use crate::types;
use crate::units::plural;

const ADD: &str = "\
Examples:
  partita columns add lake/trips tip:float64,note:string";
const RENAME: &str = "\
Examples:
  partita columns rename lake/trips fare price";
const DROP: &str = "\
Examples:
  # what would be written again
  partita columns drop lake/trips note --dry-run
  partita columns drop lake/trips note --yes";
const WIDEN: &str = "\
Examples:
  partita columns widen lake/trips id int64
  partita columns widen lake/trips price 'decimal(12, 4)'";
const REORDER: &str = "\
Examples:
  # these come first
  partita columns reorder lake/trips id city";
const COMMENT: &str = "\
Examples:
  partita columns comment lake/trips price 'in euros, tip not included'
  partita columns comment lake/trips price --remove";
const HISTORY: &str = "\
Examples:
  partita columns history lake/trips --json";
const EXAMPLES: &str = "\
Examples:
  partita columns add lake/trips tip:float64
  partita columns rename lake/trips fare price
  partita columns history lake/trips";

/// Change the columns of a table, each time in one commit, or list the changes.
///
/// `partita schema` shows the columns. Older versions keep theirs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ColumnsArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add columns, which are null in the rows so far; no file is written again
    #[command(after_help = ADD)]
    Add {
        #[command(flatten)]
        writing: Writing,
        /// The columns, with types as `partita create` takes them
        #[arg(value_name = "NAME:TYPE,…", value_parser = types::columns)]
        columns: Schema,
    },
    /// Give a column another name; the files that hold it are written again
    #[command(after_help = RENAME)]
    Rename {
        #[command(flatten)]
        writing: Writing,
        /// The column
        column: String,
        /// Its new name
        to: String,
    },
    /// Drop a column with its index; the files that hold it are written again
    #[command(after_help = DROP)]
    Drop {
        #[command(flatten)]
        writing: Writing,
        /// The column
        column: String,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Give a column a wider type; files are written again where dates become times or integers
    /// become decimals
    #[command(after_help = WIDEN)]
    Widen {
        #[command(flatten)]
        writing: Writing,
        /// The column
        column: String,
        /// A type that holds every value of the column
        #[arg(value_name = "TYPE", value_parser = types::parse)]
        to: DataType,
    },
    /// Put columns before the others, in this order; no file is written again
    #[command(after_help = REORDER)]
    Reorder {
        #[command(flatten)]
        writing: Writing,
        /// The columns that come first
        #[arg(required = true)]
        columns: Vec<String>,
    },
    /// Set or remove the comment on a column; no file is written again
    #[command(after_help = COMMENT)]
    Comment {
        #[command(flatten)]
        writing: Writing,
        /// The column
        column: String,
        /// The comment
        #[arg(required_unless_present = "remove")]
        text: Option<String>,
        /// Remove the comment
        #[arg(long, conflicts_with = "text")]
        remove: bool,
    },
    /// List the schemas that the table has had, newest first
    #[command(after_help = HISTORY)]
    History {
        /// The table
        url: String,
    },
}

/// The table, and how its change is committed.
#[derive(Debug, Args)]
struct Writing {
    /// The table
    url: String,
    /// An idempotency key: a commit with a key that was used before is not made again
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

impl Writing {
    async fn open(&self, common: &Common) -> Result<Table, Error> {
        Table::open(&self.url, &common.writing(self.single_writer)).await
    }
}

/// Runs the command.
pub(crate) async fn run(
    arguments: ColumnsArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let options = |writing: &Writing| WriteOptions {
        cancel: cancel.clone(),
        progress: progress(common.json),
        idempotency_key: writing.key.clone(),
        ..Default::default()
    };
    let (table, commit) = match arguments.action {
        Action::History { url } => {
            let table = Table::open(&url, &common.reading()).await?;
            return history(&table.schema_history().await?, common);
        }
        Action::Drop { writing, column, confirm } => {
            confirm.check()?;
            let table = match confirm.dry_run {
                true => Table::open(&writing.url, &common.reading()).await?,
                false => writing.open(common).await?,
            };
            if !is_to_be_dropped(&table, &column, &confirm, common).await? {
                return Ok(());
            }
            let commit = table.drop_column(&column, &options(&writing)).await?;
            (table, commit)
        }
        Action::Add { writing, columns } => {
            let table = writing.open(common).await?;
            let commit = table.add_columns(columns, &options(&writing)).await?;
            (table, commit)
        }
        Action::Rename { writing, column, to } => {
            let table = writing.open(common).await?;
            let commit = table.rename_column(&column, &to, &options(&writing)).await?;
            (table, commit)
        }
        Action::Widen { writing, column, to } => {
            let table = writing.open(common).await?;
            let commit = table.widen_column(&column, &to, &options(&writing)).await?;
            (table, commit)
        }
        Action::Reorder { writing, columns } => {
            let table = writing.open(common).await?;
            let commit = table.reorder_columns(&columns, &options(&writing)).await?;
            (table, commit)
        }
        Action::Comment { writing, column, text, remove } => {
            let table = writing.open(common).await?;
            let text = text.as_deref().filter(|_| !remove);
            let commit = table.set_comment(&column, text, &options(&writing)).await?;
            (table, commit)
        }
    };
    report(&table, &commit, common)
}

/// Asks whether to drop the column, or prints what that would do.
async fn is_to_be_dropped(
    table: &Table,
    column: &str,
    confirm: &Confirm,
    common: &Common,
) -> Result<bool, Failure> {
    if !confirm.looks_first() {
        return Ok(true);
    }
    if table.schema().index_of(column).is_err() {
        let error = Error::new(ErrorKind::NotFound, "the table has no such column");
        return Err(error.with("column", column).into());
    }
    let files = table.num_files();
    let cost = format!("write up to {} again", plural(files as u64, "file"));
    if !confirm.dry_run {
        return confirm.agreed(format!("drop {column} of {} and {cost}", table.name())).await;
    }
    let found = json!({
        "url": table.url(),
        "dry_run": true,
        "column": column,
        "files_rewritten_at_most": files,
    });
    print(&match common.json {
        true => format!("{found}\n"),
        false => format!("would drop {column} and {cost}\n"),
    })?;
    Ok(false)
}

fn report(table: &Table, commit: &Commit, common: &Common) -> Result<(), Failure> {
    let schema = table.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    if common.json {
        let done = json!({
            "url": table.url(),
            "version": commit.version,
            "columns": names,
            "files_added": commit.files_added,
            "files_removed": commit.files_removed,
        });
        return print(&format!("{done}\n"));
    }
    let again = match commit.files_removed {
        0 => String::new(),
        files => format!("{} written again, ", plural(files, "file")),
    };
    print(&format!("columns: {}; {again}version {}\n", names.join(", "), commit.version))
}

fn history(versions: &[SchemaVersion], common: &Common) -> Result<(), Failure> {
    if common.json {
        let rows: Vec<Value> = versions.iter().map(document).collect();
        return print(&format!("{}\n", Value::from(rows)));
    }
    let mut grid = Grid::new([
        ("version", Align::Right),
        ("time", Align::Left),
        ("operation", Align::Left),
        ("columns", Align::Left),
    ]);
    for one in versions {
        let typed = |field: &Field| format!("{}: {}", field.name(), type_name(field.data_type()));
        let columns: Vec<String> = one.schema.fields().iter().map(|field| typed(field)).collect();
        grid.row([
            one.version.to_string(),
            format!("{:.0}", one.time),
            one.operation.name().to_owned(),
            columns.join(", "),
        ]);
    }
    print(&grid.render())
}

fn document(one: &SchemaVersion) -> Value {
    let column = |field: &Field| {
        json!({
            "name": field.name(),
            "type": type_name(field.data_type()),
            "id": one.column_ids.get(field.name()),
            "comment": one.comments.get(field.name()),
        })
    };
    let columns: Vec<Value> = one.schema.fields().iter().map(|field| column(field)).collect();
    json!({
        "version": one.version,
        "commit": one.commit,
        "time": one.time.to_string(),
        "operation": one.operation.name(),
        "columns": columns,
    })
}
