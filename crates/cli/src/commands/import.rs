//! `partita import`.

use clap::Args;
use partita::{Cancel, Table};

use super::append::{self, AppendArguments, Rows};
use crate::arguments::Common;
use crate::failure::Failure;

/// Make a table out of files, or add them to one that is there, in one commit.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    rows: Rows,
    /// The columns whose values name the partitions, if the table is made
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    partition_by: Vec<String>,
    /// The columns with a secondary index, if the table is made
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    index: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(
    arguments: ImportArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let ImportArguments { rows, partition_by, index } = arguments;
    let exists = Table::exists(&rows.url, &common.reading()).await?;
    if exists && !(partition_by.is_empty() && index.is_empty()) {
        return Err(Failure::Usage(
            "the table exists; --partition-by and --index are for a new one".into(),
        ));
    }
    let append = AppendArguments { rows, create: !exists, partition_by, index };
    append::run(append, common, cancel).await
}
