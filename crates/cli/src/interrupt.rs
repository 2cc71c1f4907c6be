//! Handling of Ctrl-C.

use std::future::Future;
use std::time::Duration;

use partita::{Cancel, CommitWatch, Error, ErrorKind};

use crate::failure::Failure;

/// The time in which an operation may stop cleanly. It is granted twice if a commit is under way, so
/// that the command ends within a second.
const PATIENCE: Duration = Duration::from_millis(400);

/// Runs `work`. Ctrl-C cancels it through `cancel`, and prevents further commits; a second Ctrl-C,
/// or a timeout, abandons the work. The error lists the commits that were made, and the one whose
/// outcome is unknown.
///
/// The work is a separate task, so that Ctrl-C is handled while it blocks on a file.
pub(crate) async fn interruptible<T: Send + 'static>(
    cancel: &Cancel,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let commits = CommitWatch::default();
    tokio::select! {
        outcome = tokio::spawn(commits.follow(work)) => outcome.unwrap_or_else(|error| {
            Err(Failure::Defect(format!("the command failed unexpectedly: {error}")))
        }),
        () = given_up(cancel, &commits) => Err(interrupted(&commits).into()),
    }
}

fn interrupted(commits: &CommitWatch) -> Error {
    if let Some(id) = commits.in_doubt() {
        return Error::new(
            ErrorKind::CommitUnknown,
            "interrupted while the commit was being made, and whether it was made could not be \
             learned within a second",
        )
        .with("commit", id);
    }
    let made = commits.made();
    match made.is_empty() {
        true => Error::new(ErrorKind::Interrupted, "interrupted"),
        false => Error::new(ErrorKind::Interrupted, "interrupted after the commit was made")
            .with("commit", made.join(", ")),
    }
}

async fn given_up(cancel: &Cancel, commits: &CommitWatch) {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without signal support, this future never completes.
        return std::future::pending().await;
    }
    cancel.cancel();
    commits.close();
    let patience = || tokio::time::timeout(PATIENCE, tokio::signal::ctrl_c());
    if patience().await.is_err() && commits.in_doubt().is_some() {
        let _ = patience().await;
    }
}
