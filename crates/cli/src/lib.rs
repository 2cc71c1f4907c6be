//! The `partita` command as a library, which the Python wheel includes too.
//!
//! One file per command under `commands`. Results go to standard output, everything else (errors,
//! hints, progress) to standard error.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | the command line cannot be understood |
//! | 3 | there is no such dataset |
//! | 4 | another commit was in the way; trying again may succeed |
//! | 130 | interrupted by Ctrl-C |

mod arguments;
mod bar;
mod commands;
mod failure;
mod grid;
mod input;
mod interrupt;
mod mount;
mod output;
mod overview;
mod partitioning;
mod report;
mod sink;
mod style;
mod types;
pub mod units;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::arguments::Arguments;
use crate::failure::{Failure, report};
pub use crate::report::{report_of_collection, report_of_table};

/// Runs the command whose name and arguments are `args`, and returns the exit code.
pub fn main<I, T>(args: I) -> i32
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    partita::silence_guarded_panics();
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let command = Arguments::command();
    if args.len() <= 1 {
        return outcome(sink::print(&overview::brief(&command)), false);
    }
    let wants_json = args.iter().any(|word| word == "--json");
    let parsed = overview::described(command)
        .try_get_matches_from(args)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed {
        Ok(arguments) => {
            let json = arguments.common.json;
            outcome(run(arguments), json)
        }
        // Help and version arrive as errors too.
        Err(error) if wants_json && error.exit_code() != 0 => {
            report(&Failure::Usage(usage(&error)), true)
        }
        Err(error) => {
            // A closed pipe is not an error.
            let _ = error.print();
            error.exit_code()
        }
    }
}

fn outcome(outcome: Result<(), Failure>, json: bool) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(failure) => report(&failure, json),
    }
}

/// The error of the arguments, in one line.
fn usage(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing".to_owned();
    }
    let text = error.render().to_string();
    let message = text.split("\n\n").next().unwrap_or(&text);
    let lines: Vec<&str> = message.lines().map(str::trim).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("partita")
        .build()
        .map_err(|error| Failure::io("cannot start threads", error))?;
    let outcome = runtime.block_on(commands::run(arguments));
    // An abandoned operation must not keep the process alive.
    runtime.shutdown_background();
    outcome
}
