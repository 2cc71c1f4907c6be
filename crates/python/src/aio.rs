//! Operations that asyncio waits for.
//!
//! Such an operation is a task of the runtime, and no thread waits for it. When it has ended, a
//! callable is called with its result or its exception, which passes them to the event loop
//! (`partita.aio`). A method that can be waited for in both ways has an argument `ended`, and ends
//! with [`answer`].

use std::sync::Arc;
use std::time::Duration;

use partita::{CommitWatch, Error, ErrorKind, panic_words};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use tokio::sync::Notify;
use tokio::task::JoinError;
use tokio::time::sleep;

use crate::errors::{internal, to_python};
use crate::logging;
use crate::runtime::{Watch, blocking, interrupted, runtime, wait};

/// The time that a cancelled operation may take to stop.
const SETTLE: Duration = Duration::from_secs(1);

/// Runs `future`, and converts its result or its error for Python. Without `ended`, the caller waits
/// and gets the converted result. Otherwise it gets the [`Running`] operation, and `ended` is called
/// with the result and the exception, one of them `None`.
pub(crate) fn answer<'py, T, F, C>(
    py: Python<'py>,
    watch: Watch,
    ended: Option<Py<PyAny>>,
    future: F,
    convert: C,
) -> PyResult<Bound<'py, PyAny>>
where
    T: Send + 'static,
    F: Future<Output = partita::Result<T>> + Send + 'static,
    C: FnOnce(Python<'_>, PyResult<T>) -> PyResult<Py<PyAny>> + Send + 'static,
{
    match ended {
        None => Ok(convert(py, wait(py, &watch, future))?.into_bound(py)),
        Some(ended) => start(py, watch, ended, future, convert)?.into_bound_py_any(py),
    }
}

fn start<T, F, C>(
    py: Python<'_>,
    watch: Watch,
    ended: Py<PyAny>,
    future: F,
    convert: C,
) -> PyResult<Running>
where
    T: Send + 'static,
    F: Future<Output = partita::Result<T>> + Send + 'static,
    C: FnOnce(Python<'_>, PyResult<T>) -> PyResult<Py<PyAny>> + Send + 'static,
{
    logging::refresh(py)?;
    let (commits, stop) = (CommitWatch::default(), Arc::new(Notify::new()));
    let runtime = runtime(py)?;
    let mut work = runtime.spawn(commits.follow(future));
    let stopped = Arc::clone(&stop);
    runtime.spawn(async move {
        let outcome = tokio::select! {
            outcome = &mut work => Some(outcome),
            () = given_up(&stopped) => None,
        };
        if outcome.is_none() {
            work.abort();
        }
        // If the interpreter is ending, nobody waits.
        let _ = blocking(|| {
            Python::try_attach(|py| {
                if let Err(raised) = logging::pass_on(py) {
                    raised.write_unraisable(py, None);
                }
                let (value, error) = match convert(py, found(outcome)) {
                    Ok(value) => (value, py.None()),
                    Err(error) => (py.None(), error.into_value(py).into_any()),
                };
                // An event loop that was closed meanwhile takes no result.
                let _ = ended.call1(py, (value, error));
            })
        });
    });
    Ok(Running { watch, commits, stop })
}

/// Waits until the operation is cancelled and has not stopped in time.
async fn given_up(stop: &Notify) {
    stop.notified().await;
    sleep(SETTLE).await;
}

/// The result of a task, or the exception for it; `None` is a task that was given up.
fn found<T>(outcome: Option<Result<partita::Result<T>, JoinError>>) -> PyResult<T> {
    match outcome {
        Some(Ok(result)) => result.map_err(to_python),
        Some(Err(lost)) if lost.is_panic() => {
            Err(internal(panic_words(lost.into_panic().as_ref())))
        }
        Some(Err(_)) => Err(internal("the task was lost")),
        None => Err(to_python(Error::new(ErrorKind::Interrupted, "the operation was cancelled"))),
    }
}

/// An operation that asyncio waits for. It is cancelled when nothing refers to it any more.
#[pyclass(frozen, module = "partita._native")]
pub(crate) struct Running {
    watch: Watch,
    commits: CommitWatch,
    stop: Arc<Notify>,
}

#[pymethods]
impl Running {
    /// True if progress is to be reported.
    #[getter]
    fn reports(&self) -> bool {
        self.watch.meter.is_some()
    }

    /// Reports progress if there is some.
    fn report(&self, py: Python<'_>) -> PyResult<()> {
        self.watch.report(py)
    }

    /// Stops the operation: it makes no further commit, and has ended after a second at the latest.
    fn cancel(&self) {
        self.watch.cancel.cancel();
        self.commits.close();
        self.stop.notify_one();
    }

    /// The exception to raise for a cancelled operation that has ended.
    fn interrupted(
        &self,
        py: Python<'_>,
        raised: Bound<'_, PyBaseException>,
    ) -> Py<PyBaseException> {
        interrupted(py, PyErr::from_value(raised.into_any()), &self.commits).into_value(py)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel();
    }
}
