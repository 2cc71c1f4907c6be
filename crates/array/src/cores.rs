//! A bounded set of threads for work that keeps a core busy.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use partita_core::{Error, ErrorKind, Result, cores};
use tokio::sync::oneshot;

use crate::buffer_pool::BufferPool;

type Job = Box<dyn FnOnce() + Send>;

/// Limits how many cores encode and decode. Clones share the limit.
///
/// Many jobs may wait for a store at once, but no more jobs encode or decode than there are cores:
/// each has tables and chunks of its own, and more of them would evict each other's from the
/// caches. A thread that finishes a job takes the next one itself, which saves waking another
/// thread.
#[derive(Clone)]
pub struct Cores {
    queue: Arc<Queue>,
    buffers: Arc<BufferPool>,
}

struct Queue {
    /// The largest number of threads.
    count: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// The number of running threads.
    busy: usize,
}

impl Cores {
    /// Allows work on `count` cores, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let queue = Queue { count: count.max(1), state: Mutex::default() };
        Self { queue: Arc::new(queue), buffers: Arc::default() }
    }

    /// The pool of buffers in which chunks are encoded and decoded.
    pub(crate) fn buffers(&self) -> Arc<BufferPool> {
        Arc::clone(&self.buffers)
    }

    /// Queues `work` for the next free core and waits for its result. Work whose future was dropped
    /// before it began is skipped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let job = move || {
            if !done.is_closed() {
                let _ = done.send(work());
            }
        };
        if self.queue.push(Box::new(job)) {
            let worker = Worker { queue: Arc::clone(&self.queue), ended: false };
            tokio::task::spawn_blocking(move || worker.work());
        }
        result.await.map_err(|error| {
            Error::new(ErrorKind::Interrupted, "the work was stopped before it ended")
                .caused_by(error)
        })
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job; true if another thread must be started for it.
    fn push(&self, job: Job) -> bool {
        let mut state = self.lock();
        state.waiting.push_back(job);
        let more = state.busy < self.count;
        state.busy += usize::from(more);
        more
    }

    /// Takes the next job. If there is none, the calling thread ends and is no longer counted.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        let next = state.waiting.pop_front();
        state.busy -= usize::from(next.is_none());
        next
    }
}

/// A thread that runs jobs, or is about to be started.
struct Worker {
    queue: Arc<Queue>,
    ended: bool,
}

impl Worker {
    fn work(mut self) {
        while let Some(job) = self.queue.next() {
            // A panic drops the sender of the result, which tells the caller that waits for it.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
        self.ended = true;
    }
}

impl Drop for Worker {
    /// A runtime that shuts down drops workers that it has not started.
    fn drop(&mut self) {
        if !self.ended {
            self.queue.lock().busy -= 1;
        }
    }
}

/// All cores that the process may use.
impl Default for Cores {
    fn default() -> Self {
        Self::new(cores())
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cores").field("count", &self.queue.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_jobs_run_than_there_are_cores_and_all_do() {
        let cores = Cores::new(3);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let job = |number: usize| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            cores.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            })
        };
        let done = join_all((0..500).map(job)).await;
        assert!(done.into_iter().map(Result::unwrap).eq(0..500));
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    #[tokio::test]
    async fn a_panic_and_work_that_nobody_waits_for_keep_no_core() {
        let cores = Cores::new(1);
        let error = cores.run(|| assert_eq!(1, 2, "it fails")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let cores = cores.clone();
            async move { cores.run(move || held.recv().is_err()).await }
        });
        let begun = Arc::new(AtomicUsize::new(0));
        let second = tokio::spawn({
            let (cores, begun) = (cores.clone(), Arc::clone(&begun));
            async move { cores.run(move || begun.fetch_add(1, Ordering::SeqCst)).await }
        });
        tokio::task::yield_now().await;
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        drop(hold);
        assert!(first.await.unwrap().unwrap());
        assert_eq!(cores.run(|| 7).await.unwrap(), 7);
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }
}
