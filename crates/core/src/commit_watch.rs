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
    /// Set until the request of a commit is sent.
    unsent: Option<Before>,
}

/// The commit that was in doubt before a request.
#[derive(Debug)]
struct Before(Option<String>);

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
            return Err(interrupted());
        }
        let before = watched.in_doubt.replace(id.to_owned());
        watched.unsent = Some(Before(before.clone()));
        Ok(before)
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
    watch.watched().unsent = None;
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

/// Waits for what the request of a commit needs before anything is sent, such as a lock. Until then
/// the commit is not in doubt. It is so at once if the request has been sent before.
///
/// # Errors
/// [`Interrupted`](ErrorKind::Interrupted) if the operation was interrupted meanwhile: nothing must
/// be sent then.
pub(crate) async fn before_request<T>(wait: impl Future<Output = T>) -> Result<T> {
    let Ok(watch) = CURRENT.try_with(CommitWatch::clone) else { return Ok(wait.await) };
    let waiting = {
        let mut watched = watch.watched();
        let unsent = watched.unsent.take();
        unsent.map(|Before(before)| std::mem::replace(&mut watched.in_doubt, before))
    };
    let waited = wait.await;
    let Some(id) = waiting else { return Ok(waited) };
    let mut watched = watch.watched();
    if watched.closed {
        return Err(interrupted());
    }
    watched.in_doubt = id;
    Ok(waited)
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "the operation was interrupted before its commit")
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
    async fn a_commit_is_not_in_doubt_before_its_request_is_sent() {
        for ends in [false, true] {
            let watch = CommitWatch::default();
            let wait = async {
                if !ends {
                    pending::<()>().await;
                }
            };
            let request = async {
                before_request(wait).await?;
                // A request that is repeated may have been carried out.
                before_request(pending::<()>()).await?;
                Ok(true)
            };
            let dropped = watch.follow(commit_point("a", request, |made| Some(*made)));
            assert!(dropped.now_or_never().is_none());
            let in_doubt = ends.then(|| "a".to_owned());
            assert_eq!((watch.made(), watch.in_doubt()), (Vec::new(), in_doubt));
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_after_a_wait_that_was_interrupted() {
        let watch = CommitWatch::default();
        let request = async {
            before_request(async { watch.close() }).await?;
            Ok(true)
        };
        let ended = watch.follow(commit_point("a", request, |made| Some(*made))).await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted);
        assert_eq!((watch.made(), watch.in_doubt()), (Vec::new(), None));
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
