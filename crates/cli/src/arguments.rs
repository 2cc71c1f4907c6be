//! The command line.

use clap::{Args, Parser, Subcommand};
use partita::StoreOptions;

use crate::commands::{
    append::AppendArguments, delete::DeleteArguments, doctor::DoctorArguments,
    history::HistoryArguments, index::IndexArguments, info::InfoArguments, ls::LsArguments,
    optimize::OptimizeArguments, partitions::PartitionsArguments, read::ReadArguments,
    schema::SchemaArguments,
};

/// Partitioned tables and arrays in object stores.
///
/// A URL is a path, file://, s3://, gs://, az:// or, for reading, http(s)://. Credentials and
/// endpoints come from the environment (AWS_REGION, AWS_ENDPOINT_URL, …) or from --option.
#[derive(Debug, Parser)]
#[command(name = "partita", version, max_term_width = 100, subcommand_required = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Print JSON for programs, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// An option of the store, such as aws_region=eu-north-1; may be repeated
    #[arg(long = "option", short = 'O', global = true, value_name = "KEY=VALUE",
          value_parser = pair)]
    options: Vec<(String, String)>,
}

impl Common {
    /// The store's options for a command that reads.
    pub(crate) fn reading(&self) -> StoreOptions {
        self.writing(false).read_only(true)
    }

    /// The store's options for a command that writes.
    pub(crate) fn writing(&self, single_writer: bool) -> StoreOptions {
        let options = self
            .options
            .iter()
            .fold(StoreOptions::new(), |options, (name, value)| options.with(name, value));
        if single_writer { options.single_writer(true) } else { options }
    }
}

/// One command each.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the datasets directly under a store
    Ls(LsArguments),
    /// Show what a dataset is: version, size, partitioning, last commit
    Info(InfoArguments),
    /// Show the columns of a dataset
    Schema(SchemaArguments),
    /// List the partitions of a dataset with their sizes
    Partitions(PartitionsArguments),
    /// Read rows as a table, CSV, JSON lines or Parquet
    Read(ReadArguments),
    /// Add the rows of CSV, JSON lines or Parquet files in one commit
    Append(AppendArguments),
    /// Remove rows in one commit
    Delete(DeleteArguments),
    /// Put small files together in one commit
    Optimize(OptimizeArguments),
    /// Build or drop secondary indices
    Index(IndexArguments),
    /// List the recorded versions of a dataset, newest first
    History(HistoryArguments),
    /// Find out whether a store can commit atomically
    Doctor(DoctorArguments),
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
}
