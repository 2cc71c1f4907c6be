//! `partita completions`.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use serde_json::json;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::sink::print;

const EXAMPLES: &str = "\
Examples:
  partita completions bash > ~/.local/share/bash-completion/completions/partita
  partita completions zsh > ~/.zfunc/_partita
  partita completions fish > ~/.config/fish/completions/partita.fish";

/// Print shell completions of the command.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(arguments: &CompletionsArguments, json: bool) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut Arguments::command(), "partita", &mut script);
    let script = String::from_utf8_lossy(&script);
    print(&if json { format!("{}\n", json!({"script": script})) } else { script.into_owned() })
}
