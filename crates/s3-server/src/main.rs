//! The test server as a program, for tests that are not written in Rust.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use partita_s3_server::{ACCESS_KEY, BUCKET, Faults, SECRET_KEY, Server};

/// A small S3 server for tests. Prints its endpoint on one line, then serves until its standard
/// input closes, at the latest when the process that started it dies.
#[derive(Debug, Parser)]
#[command(name = "partita-s3-server", after_help = credentials())]
struct Arguments {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The directory of the objects.
    #[arg(long)]
    root: PathBuf,
    /// busy:N (every Nth request is answered 503), lost:N (every Nth conditional put is carried
    /// out and answered 500), slow:MS (every request is delayed by so many milliseconds),
    /// unconditional (conditions are ignored), unlocked (conditions are not checked atomically). May be given more than once.
    #[arg(long = "fault")]
    faults: Vec<Faults>,
}

fn credentials() -> String {
    format!("Access key {ACCESS_KEY}, secret {SECRET_KEY}, bucket {BUCKET}, any region.")
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let faults = arguments.faults.into_iter().fold(Faults::default(), Faults::and);
    let server = match Server::start(&arguments.root, arguments.port, faults) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("the server does not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut stdout = std::io::stdout();
    if writeln!(stdout, "{}", server.endpoint()).and_then(|()| stdout.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    let mut ignored = [0; 256];
    while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
    ExitCode::SUCCESS
}
