//! The runtime of this process, and waiting for it with signal handling.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use partita::{Cancel, CommitWatch, Error, ErrorKind, cores, panic_words};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use crate::errors::{internal, to_python};
use crate::logging;
use crate::progress::Meter;

/// The maximum delay before Ctrl-C is noticed.
const POLL: Duration = Duration::from_millis(50);

/// The number of polls that a cancelled operation may take to stop, and the number that it may take
/// if a commit of it is under way: with the delay before, less than a second.
const POLLS_TO_SETTLE: usize = 6;
const POLLS_TO_COMMIT: usize = 15;

/// The runtime, with the id of the process that created it.
///
/// Locked only by threads attached to the interpreter, and never while detaching. `os.fork` is
/// called by an attached thread as well, so a child never inherits a locked mutex.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// The cancellation and progress of a waiting call.
#[derive(Default)]
pub(crate) struct Watch {
    /// Set when Python interrupts the call.
    pub(crate) cancel: Cancel,
    /// The receiver of progress reports, and the callable to inform.
    pub(crate) meter: Option<Meter>,
}

impl Watch {
    /// A watch that calls `callback(what, done, total)` on progress.
    pub(crate) fn new(callback: Option<Py<PyAny>>) -> Self {
        Self { cancel: Cancel::default(), meter: callback.map(Meter::new) }
    }

    /// Reports progress if there is some.
    pub(crate) fn report(&self, py: Python<'_>) -> PyResult<()> {
        self.meter.as_ref().map_or(Ok(()), |meter| meter.report(py))
    }
}

type Outcome<T> = Result<partita::Result<T>, Box<dyn Any + Send>>;

/// Runs `future` on the runtime and waits for it with the interpreter detached.
///
/// Signals are checked and progress is reported about twenty times a second. If either raises an
/// exception, the operation is cancelled and makes no further commit; it may take a second to stop,
/// and is dropped then. The exception has a note with the commits that were made; if the outcome of
/// one is unknown, `CommitUnknown` is raised from it.
pub(crate) fn wait<T, F>(py: Python<'_>, watch: &Watch, future: F) -> PyResult<T>
where
    T: Send + 'static,
    F: Future<Output = partita::Result<T>> + Send + 'static,
{
    logging::refresh(py)?;
    let (sender, mut receiver) = sync_channel::<Outcome<T>>(1);
    let commits = CommitWatch::default();
    let task = runtime(py)?.spawn(commits.follow(async move {
        let outcome = AssertUnwindSafe(future).catch_unwind().await;
        // The receiver is only closed if the call was interrupted and stopped waiting.
        let _ = sender.send(outcome);
    }));
    loop {
        let (back, outcome) = receive(py, receiver);
        receiver = back;
        match outcome {
            Ok(Ok(result)) => {
                let told = watch.report(py).and_then(|()| logging::pass_on(py));
                let value = result.map_err(to_python)?;
                // A signal that arrived at the end must be raised with the commits that were made.
                let told = told.and_then(|()| py.check_signals());
                return told.map(|()| value).map_err(|raised| interrupted(py, raised, &commits));
            }
            Ok(Err(panic)) => return Err(internal(panic_words(panic.as_ref()))),
            Err(RecvTimeoutError::Disconnected) => return Err(internal("the task was lost")),
            Err(RecvTimeoutError::Timeout) => {
                let told = py.check_signals().and_then(|()| watch.report(py));
                if let Err(raised) = told.and_then(|()| logging::pass_on(py)) {
                    watch.cancel.cancel();
                    commits.close();
                    settle(py, receiver, &commits);
                    task.abort();
                    return Err(interrupted(py, raised, &commits));
                }
            }
        }
    }
}

/// Waits for a cancelled task; a second Ctrl-C ends the wait.
fn settle<T: Send>(py: Python<'_>, mut receiver: Receiver<Outcome<T>>, commits: &CommitWatch) {
    for polls in 0..POLLS_TO_COMMIT {
        if polls >= POLLS_TO_SETTLE && commits.in_doubt().is_none() {
            return;
        }
        let (back, outcome) = receive(py, receiver);
        receiver = back;
        let still_running = matches!(outcome, Err(RecvTimeoutError::Timeout));
        if !still_running || py.check_signals().is_err() {
            return;
        }
    }
}

/// The exception of a call that was interrupted by `raised`.
pub(crate) fn interrupted(py: Python<'_>, raised: PyErr, commits: &CommitWatch) -> PyErr {
    if let Some(id) = commits.in_doubt() {
        let unknown = Error::new(
            ErrorKind::CommitUnknown,
            "the call was interrupted while its commit was being made, and whether it was made could \
             not be learned within a second: `committed` with the id of the commit tells",
        );
        let unknown = to_python(unknown.with("commit", id));
        unknown.set_cause(py, Some(raised));
        return unknown;
    }
    let made = commits.made();
    if !made.is_empty() {
        let note =
            format!("the commit {} was made before the call was interrupted", made.join(", "));
        let value = raised.value(py);
        // Older Python versions have no notes, and not every exception accepts attributes.
        let _ = value.call_method1("add_note", (note,));
        let _ = value.setattr("committed", made);
    }
    raised
}

type Received<T> = (Receiver<Outcome<T>>, Result<Outcome<T>, RecvTimeoutError>);

/// Polls once. The receiver is moved in and out because it cannot be shared with a detached thread.
fn receive<T: Send>(py: Python<'_>, receiver: Receiver<Outcome<T>>) -> Received<T> {
    py.detach(move || {
        let outcome = blocking(|| receiver.recv_timeout(POLL));
        (receiver, outcome)
    })
}

/// Runs blocking work on any thread.
///
/// A Python source of batches is read by a thread of the runtime and may itself read a table; the
/// runtime must know that this thread blocks, to avoid a deadlock.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The runtime of this process.
///
/// A forked child has none of its parent's threads: it gets a new runtime, and the parent's is
/// leaked, since dropping it would wait for threads that do not exist.
pub(crate) fn runtime(_attached: Python<'_>) -> PyResult<&'static Runtime> {
    let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some((owner, runtime)) = *slot
        && owner == process
    {
        return Ok(runtime);
    }
    let threads = cores().max(2);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("partita")
        .enable_all()
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("cannot start threads: {error}")))?;
    let runtime: &'static Runtime = Box::leak(Box::new(runtime));
    *slot = Some((process, runtime));
    Ok(runtime)
}
