//! `partita man`.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_mangen::generate_to;
use serde_json::json;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::sink::print;

const EXAMPLES: &str = "\
Examples:
  partita man ~/.local/share/man/man1
  # afterwards
  #   man partita
  #   man partita-read";

/// Write the manual pages of the command into a directory.
///
/// There is one page for each command.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ManArguments {
    /// The directory, which is created if it does not exist
    directory: PathBuf,
}

/// Runs the command.
pub(crate) fn run(arguments: &ManArguments, json: bool) -> Result<(), Failure> {
    let directory = &arguments.directory;
    let failed = |error| Failure::io(format!("cannot write to {}", directory.display()), error);
    fs::create_dir_all(directory).map_err(failed)?;
    generate_to(Arguments::command(), directory).map_err(failed)?;
    let directory = directory.display().to_string();
    print(&match json {
        true => format!("{}\n", json!({"directory": directory})),
        false => format!("wrote the manual pages to {directory}\n"),
    })
}
