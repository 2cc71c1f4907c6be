//! Tracks which commits of a running operation were made, for code that interrupts the operation.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Error, ErrorKind, Result};

tokio::task_local! {
    static CURRENT: CommitWatch;
}

/// Follows the commits of one operation, which runs under [`CommitWatch::follow`]. Clones share it.
///
/// Every commit of the engine is one request, sent under [`commit_point`]. After
/// [`CommitWatch::close`] no further one is sent. An operation that is interrupted and has no request
/// under way then is therefore known not to commit any more.
#[derive(Debug, Clone, Default)]
pub struct CommitWatch(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    closed: bool,
    made: Vec<String>,
    in_doubt: Option<String>,
}

impl CommitWatch {
    /// Runs an operation whose commits are followed.
    pub fn follow<F: Future>(&self, operation: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.clone(), operation)
    }

    /// Refuses commits that are not under way yet.
    pub fn close(&self) {
        self.watched().closed = true;
    }

    /// The ids of the commits that were made.
    #[must_use]
    pub fn made(&self) -> Vec<String> {
        self.watched().made.clone()
    }

    /// The id of a commit that was requested and whose outcome is not known.
    #[must_use]
    pub fn in_doubt(&self) -> Option<String> {
        self.watched().in_doubt.clone()
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a request for the commit `id`; returns the commit that was in doubt before.
    fn begin(&self, id: &str) -> Result<Option<String>> {
        let mut watched = self.watched();
        if watched.closed {
            return Err(Error::new(
                ErrorKind::Interrupted,
                "the operation was interrupted before its commit",
            ));
        }
        Ok(watched.in_doubt.replace(id.to_owned()))
    }

    fn settle(&self, id: &str, made: bool) {
        let mut watched = self.watched();
        watched.in_doubt = None;
        watched.made.retain(|known| known != id);
        if made {
            watched.made.push(id.to_owned());
        }
    }
}

/// Sends the request that makes the commit `id`. `is_made` tells from the answer whether the commit
/// was made; `None` means that this is still to be found out, see [`commit_settled`]. An error
/// other than [`CommitUnknown`](ErrorKind::CommitUnknown) means that this request did not make the
/// commit.
///
/// # Errors
/// [`Interrupted`](ErrorKind::Interrupted) if the operation was interrupted before: nothing is sent
/// then. Otherwise the error of the request.
pub async fn commit_point<T>(
    id: &str,
    request: impl Future<Output = Result<T>>,
    is_made: impl FnOnce(&T) -> Option<bool>,
) -> Result<T> {
    let Ok(watch) = CURRENT.try_with(CommitWatch::clone) else { return request.await };
    let before = watch.begin(id)?;
    let answer = request.await;
    match &answer {
        Ok(answer) => {
            if let Some(made) = is_made(answer) {
                watch.settle(id, made);
            }
        }
        Err(error) if error.kind() == ErrorKind::CommitUnknown => {}
        // An earlier request may still make the commit that was in doubt.
        Err(_) => watch.watched().in_doubt = before,
    }
    answer
}

/// Records the outcome of the commit `id` once it is known.
pub fn commit_settled(id: &str, made: bool) {
    // An operation that is not followed has no watch to update.
    let _ = CURRENT.try_with(|watch| watch.settle(id, made));
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;

    use super::*;

    async fn commit(id: &str, answer: Result<bool>) -> Result<bool> {
        commit_point(id, ready(answer), |made| Some(*made)).await
    }

    #[tokio::test]
    async fn what_becomes_of_commits_is_known() {
        let watch = CommitWatch::default();
        let unknown = || Err(Error::new(ErrorKind::CommitUnknown, "no answer"));
        watch
            .follow(async {
                commit("a", Ok(false)).await.unwrap();
                commit("a", Ok(true)).await.unwrap();
                commit("b", unknown()).await.unwrap_err();
            })
            .await;
        assert_eq!((watch.made(), watch.in_doubt()), (vec!["a".into()], Some("b".into())));
        watch
            .follow(async {
                commit("b", Err(Error::new(ErrorKind::Store, "refused"))).await.unwrap_err();
            })
            .await;
        assert_eq!((watch.made(), watch.in_doubt()), (vec!["a".into()], Some("b".into())));
        watch.follow(async { commit_settled("b", true) }).await;
        assert_eq!((watch.made(), watch.in_doubt()), (vec!["a".into(), "b".into()], None));
    }

    #[tokio::test]
    async fn an_operation_that_is_dropped_leaves_its_commit_in_doubt() {
        let watch = CommitWatch::default();
        let request = pending::<Result<bool>>();
        let dropped = watch.follow(commit_point("a", request, |made| Some(*made))).now_or_never();
        assert!(dropped.is_none());
        assert_eq!((watch.made(), watch.in_doubt()), (Vec::new(), Some("a".into())));
    }

    #[tokio::test]
    async fn nothing_is_sent_after_an_interruption() {
        let watch = CommitWatch::default();
        watch.close();
        let error = watch.follow(commit("a", Ok(true))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!((watch.made(), watch.in_doubt()), (Vec::new(), None));
        commit("b", Ok(true)).await.unwrap();
    }
}
