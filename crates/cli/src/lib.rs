//! The `partita` command as a library, so that the Python wheel ships it too.
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
mod output;
mod sink;
pub mod units;

use std::ffi::OsString;

use clap::Parser;

use crate::arguments::Arguments;
use crate::failure::{Failure, report};

/// Runs the command whose name and arguments are `args`, and returns the exit code.
pub fn main<I, T>(args: I) -> i32
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version arrive as errors too; a closed pipe is no reason to complain.
            let _ = error.print();
            return error.exit_code();
        }
    };
    let json = arguments.common.json;
    match run(arguments) {
        Ok(()) => 0,
        Err(failure) => report(&failure, json),
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("partita")
        .build()
        .map_err(|error| Failure::io("cannot start threads", error))?;
    let outcome = runtime.block_on(commands::run(arguments));
    // An abandoned operation must not keep the command alive.
    runtime.shutdown_background();
    outcome
}
