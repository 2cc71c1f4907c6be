//! The command line.

use clap::{Args, Parser, Subcommand};
use partita::array::Collection;
use partita::{At, Dataset, Error, ErrorKind, StoreOptions, Table};

use crate::commands::{
    append::AppendArguments, columns::ColumnsArguments, completions::CompletionsArguments,
    copy::CopyArguments, create::CreateArguments, delete::DeleteArguments, doctor::DoctorArguments,
    drop::DropArguments, expire::ExpireArguments, export::ExportArguments, gc::GcArguments,
    history::HistoryArguments, import::ImportArguments, index::IndexArguments, info::InfoArguments,
    ls::LsArguments, man::ManArguments, migrate::MigrateArguments, optimize::OptimizeArguments,
    partitions::PartitionsArguments, read::ReadArguments, report::ReportArguments,
    restore::RestoreArguments, schema::SchemaArguments, sql::SqlArguments, sync::SyncArguments,
    upsert::UpsertArguments, verify::VerifyArguments,
};
use crate::failure::Failure;
use crate::style::HELP;

/// Partitioned tables and arrays in object stores.
///
/// A URL is a path, file://, s3://, gs://, az:// or, for reading, http(s)://; icechunk+ before one
/// names an Icechunk repository. Credentials and endpoints come from the environment (AWS_REGION,
/// AWS_ENDPOINT_URL, …) or from --option.
#[derive(Debug, Parser)]
#[command(name = "partita", version, max_term_width = 100, subcommand_required = true, styles = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The arguments of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Print JSON for programs, including errors
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// An option of the store, such as aws_region=eu-north-1; may be repeated
    #[arg(long = "option", short = 'O', global = true, value_name = "KEY=VALUE",
          value_parser = pair)]
    options: Vec<(String, String)>,
}

impl Common {
    /// The options for opening a store in a command that reads.
    pub(crate) fn reading(&self) -> StoreOptions {
        self.writing(false).read_only(true)
    }

    /// The options for opening a store in a command that writes.
    pub(crate) fn writing(&self, single_writer: bool) -> StoreOptions {
        let options = self
            .options
            .iter()
            .fold(StoreOptions::new(), |options, (name, value)| options.with(name, value));
        if single_writer { options.single_writer(true) } else { options }
    }
}

/// The version to read.
#[derive(Debug, Args)]
pub(crate) struct AtVersion {
    /// Read an older version: its number, or a time such as 2026-01-31T12:00:00Z; for a collection
    /// in an Icechunk repository also a tag, a branch, or the id of a commit
    #[arg(long, value_name = "VERSION")]
    at: Option<String>,
}

impl AtVersion {
    /// Opens the table for reading, at that version.
    pub(crate) async fn open(&self, url: &str, common: &Common) -> Result<Table, Failure> {
        let table = match Table::open(url, &common.reading()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let opened = partita::open(url, &common.reading()).await;
                let Ok(Dataset::Collection(_) | Dataset::View(_)) = opened else {
                    return Err(error.into());
                };
                return Err(Error::invalid(
                    "this is a collection of arrays, and the command works on tables; `partita \
                     read` writes collections to files: --output rows.nc or rows.zarr",
                )
                .with("url", url)
                .into());
            }
            opened => opened?,
        };
        self.of(table).await
    }

    /// Opens the dataset for reading, at that version.
    pub(crate) async fn open_either(&self, url: &str, common: &Common) -> Result<Either, Failure> {
        match (Either::open(url, &common.reading()).await?, &self.at) {
            (Either::Table(table), _) => self.of(table).await.map(Either::Table),
            (Either::Collection(collection), Some(at)) => {
                Ok(Either::Collection(collection.at(at.as_str()).await?))
            }
            (dataset, None) => Ok(dataset),
        }
    }

    async fn of(&self, table: Table) -> Result<Table, Failure> {
        match &self.at {
            None => Ok(table),
            Some(text) => {
                let at = version(text).map_err(|why| Failure::Usage(format!("--at: {why}")))?;
                Ok(table.at(at).await?)
            }
        }
    }
}

/// A dataset of either kind; a view counts as a collection.
pub(crate) enum Either {
    Table(Table),
    Collection(Collection),
}

impl Either {
    /// Opens a dataset of either kind.
    pub(crate) async fn open(url: &str, options: &StoreOptions) -> Result<Self, Error> {
        match partita::open(url, options).await? {
            Dataset::Table(table) => Ok(Self::Table(table)),
            Dataset::Collection(collection) => Ok(Self::Collection(collection)),
            Dataset::View(view) => Ok(Self::Collection(view.into_collection())),
            other => Err(Error::invalid("this command does not support datasets of the kind")
                .with("kind", other.kind())),
        }
    }
}

/// Parses a version, or the time at which it was the newest.
pub(crate) fn version(text: &str) -> Result<At, String> {
    At::number_or_time(text).ok_or_else(|| {
        "expected the number of a version, or a time such as 2026-01-31T12:00:00Z".to_owned()
    })
}

/// The commands; each is described at its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Ls(LsArguments),
    Info(InfoArguments),
    Schema(SchemaArguments),
    Partitions(PartitionsArguments),
    Report(ReportArguments),
    Read(ReadArguments),
    Sql(SqlArguments),
    Create(CreateArguments),
    Append(AppendArguments),
    /// Create a table from files and folders of CSV, JSON lines or Parquet, or add them to it
    Import(ImportArguments),
    Export(ExportArguments),
    Upsert(UpsertArguments),
    Delete(DeleteArguments),
    Drop(DropArguments),
    Optimize(OptimizeArguments),
    Columns(ColumnsArguments),
    Index(IndexArguments),
    History(HistoryArguments),
    Restore(RestoreArguments),
    Expire(ExpireArguments),
    Gc(GcArguments),
    Copy(CopyArguments),
    Migrate(MigrateArguments),
    Sync(SyncArguments),
    Verify(VerifyArguments),
    Doctor(DoctorArguments),
    Completions(CompletionsArguments),
    Man(ManArguments),
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_are_pairs() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(pair("a").is_err());
        assert!(pair("=a").is_err());
    }

    #[test]
    fn versions_are_numbers_or_times() {
        assert_eq!(version("12").unwrap(), At::Number(12));
        let time = version("2026-01-31T12:00:00Z").unwrap();
        assert!(matches!(time, At::Time(_)));
        assert_eq!(version("2026-01-31T12:00:00").unwrap(), time);
        assert!(version("yesterday").is_err());
    }
}
