//! The question before something is deleted.

use std::io::{IsTerminal, Write};

use clap::Args;

use crate::failure::Failure;

/// Whether to ask, or only to say what would be deleted.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say what would be deleted
    #[arg(long, short = 'n', conflicts_with = "yes")]
    pub(super) dry_run: bool,
}

impl Confirm {
    /// Fails if an answer is needed and nobody can give one.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.yes || self.dry_run || std::io::stdin().is_terminal() {
            true => Ok(()),
            false => Err(Failure::Usage(
                "nobody is there to be asked; pass --yes to delete, or --dry-run".to_owned(),
            )),
        }
    }

    /// True if somebody has to be told beforehand what will be deleted.
    pub(super) fn looks_first(&self) -> bool {
        !self.yes
    }

    /// Asks on the terminal, on a thread that may wait: Ctrl-C must be heard meanwhile.
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
