//! A limit on the local files that are open for reading.
//!
//! There may be as many requests as chunks or row groups times cores, while some systems allow a
//! process 64 open files.

use object_store::Result;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::local::blocking;

/// Files and directories that are read at once, each closed by the thread that opened it.
static READ: Semaphore = Semaphore::const_new(24);
/// Files that were opened ahead of the threads that will read them.
static AHEAD: Semaphore = Semaphore::const_new(24);

/// Runs work on a blocking thread that reads one file or directory at a time, when fewer than the
/// limit are being read.
pub(super) async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if let Ok(permit) = READ.try_acquire() {
        return within(permit, work).await;
    }
    // A stream does not poll its futures while its consumer waits. If one of them were given the
    // next permit, it would keep it from the read for which the consumer waits. A task is always
    // polled.
    let queued = async move {
        let permit = READ.acquire().await;
        within(permit.map_err(closed)?, work).await
    };
    tokio::spawn(queued).await?
}

async fn within<T: Send + 'static>(
    permit: SemaphorePermit<'static>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    blocking(move || {
        let _permit = permit;
        work()
    })
    .await
}

fn closed(error: tokio::sync::AcquireError) -> object_store::Error {
    object_store::Error::Generic { store: "local", source: error.into() }
}

/// A place among the files that are opened ahead; `None` if all are taken. Nobody waits for one,
/// since whoever holds one may not be polled.
pub(super) fn ahead() -> Option<SemaphorePermit<'static>> {
    AHEAD.try_acquire().ok()
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    #[expect(clippy::disallowed_methods, reason = "the work takes a moment")]
    async fn futures_that_nobody_polls_stop_no_read() {
        let mut unpolled = Vec::new();
        for _ in 0..100 {
            let mut begun = Box::pin(reading(|| Ok(())));
            // Polled once, so that it runs or queues, and then not any more.
            if futures::poll!(begun.as_mut()).is_pending() {
                unpolled.push(begun);
            }
        }
        let work = || {
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok(1)
        };
        let others = join_all((0..100).map(|_| reading(work))).await;
        assert_eq!(others.into_iter().map(Result::unwrap).sum::<i32>(), 100);
        assert!(join_all(unpolled).await.into_iter().all(|read| read.is_ok()));
    }
}
