//! Ctrl-C.

use std::future::Future;
use std::time::Duration;

use partita::{Cancel, Error, ErrorKind};

use crate::failure::Failure;

/// How long an operation may take to stop in good order.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs `work`. Ctrl-C asks it to stop through `cancel`; a second one, or too long a wait, leaves it
/// behind. A commit that is left half-way is a commit that did not happen.
///
/// The work is a task of its own, so that Ctrl-C is heard while it waits for a file.
pub(crate) async fn interruptible<T: Send + 'static>(
    cancel: &Cancel,
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    tokio::select! {
        outcome = tokio::spawn(work) => outcome.unwrap_or_else(|error| {
            Err(Failure::Defect(format!("the command failed unexpectedly: {error}")))
        }),
        () = given_up(cancel) => {
            Err(Error::new(ErrorKind::Interrupted, "interrupted").into())
        }
    }
}

async fn given_up(cancel: &Cancel) {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without signals there is nothing to wait for, ever.
        return std::future::pending().await;
    }
    cancel.cancel();
    let _ = tokio::time::timeout(PATIENCE, tokio::signal::ctrl_c()).await;
}
