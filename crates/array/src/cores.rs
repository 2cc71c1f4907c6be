//! Work that keeps cores busy.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use partita_core::{Error, ErrorKind, Result, cores};
use tokio::sync::oneshot;

use crate::spare::Spare;

type Job = Box<dyn FnOnce() + Send>;

/// How many cores work may keep busy. Clones share them.
///
/// Jobs that wait for a store may be many; those that encode and decode are as many as there are
/// cores and no more, since each has tables and chunks of its own, and more of them drive each
/// other's out of the caches. A thread that is done with one goes on with the next, without waking
/// anybody.
#[derive(Clone)]
pub struct Cores {
    queue: Arc<Queue>,
    spare: Arc<Spare>,
}

struct Queue {
    /// How many threads there may be.
    count: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// How many threads there are.
    busy: usize,
}

impl Cores {
    /// So many, at least one.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let queue = Queue { count: count.max(1), state: Mutex::default() };
        Self { queue: Arc::new(queue), spare: Arc::default() }
    }

    /// The memory in which chunks are encoded and decoded.
    pub(crate) fn spare(&self) -> Arc<Spare> {
        Arc::clone(&self.spare)
    }

    /// Waits for a core, and runs what keeps it busy. What nobody waits for any more is not begun.
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
            Error::new(ErrorKind::Interrupted, "the work was stopped").caused_by(error)
        })
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another thread is to work.
    fn push(&self, job: Job) -> bool {
        let mut state = self.lock();
        state.waiting.push_back(job);
        let more = state.busy < self.count;
        state.busy += usize::from(more);
        more
    }

    /// The next job; none ends the thread, which is one less from then on.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        let next = state.waiting.pop_front();
        state.busy -= usize::from(next.is_none());
        next
    }
}

/// A thread that works, or is about to.
struct Worker {
    queue: Arc<Queue>,
    ended: bool,
}

impl Worker {
    fn work(mut self) {
        while let Some(job) = self.queue.next() {
            // Whoever waits for it is told by the result that does not come.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
        self.ended = true;
    }
}

impl Drop for Worker {
    /// Runtimes that are shut down do not begin what they were given.
    fn drop(&mut self) {
        if !self.ended {
            self.queue.lock().busy -= 1;
        }
    }
}

/// All that the process may use.
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
