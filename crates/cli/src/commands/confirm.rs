//! Confirmation before a deletion.

use std::io::{IsTerminal, Write};

use clap::Args;

use crate::failure::Failure;

/// Whether to ask for confirmation, or only report.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
    /// Only report what would be deleted
    #[arg(long, short = 'n', conflicts_with = "yes")]
    pub(super) dry_run: bool,
}

impl Confirm {
    /// Fails if confirmation is required and standard input is not a terminal.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.yes || self.dry_run || std::io::stdin().is_terminal() {
            true => Ok(()),
            false => Err(Failure::Usage(
                "standard input is not a terminal, so nobody can confirm; pass --yes to delete, \
                 or --dry-run"
                    .to_owned(),
            )),
        }
    }

    /// True if the objects to delete must be determined before the deletion.
    pub(super) fn looks_first(&self) -> bool {
        !self.yes
    }

    /// Asks on the terminal, on a thread that may block, so that Ctrl-C is handled meanwhile.
    pub(super) async fn agreed(&self, question: String) -> Result<bool, Failure> {
        if self.yes {
            return Ok(true);
        }
        let answer = tokio::task::spawn_blocking(move || {
            let mut err = std::io::stderr();
            err.write_all(format!("{question}? [y/N] ").as_bytes())?;
            err.flush()?;
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)?;
            Ok(line)
        });
        let line = answer
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|error| Failure::io("cannot read the answer", error))?;
        let agreed = matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        if !agreed {
            eprintln!("nothing was deleted");
        }
        Ok(agreed)
    }
}
