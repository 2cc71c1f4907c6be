//! Forwarding of progress from the engine's threads to a Python callable.

use std::sync::{Arc, Mutex, PoisonError};

use partita::Progress;
use pyo3::prelude::*;

/// The last progress report of the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Reading {
    what: String,
    done: u64,
    total: Option<u64>,
}

/// The engine's side. It only stores numbers: a call to Python from here could deadlock with a
/// thread that waits for this one.
#[derive(Debug, Default)]
struct Gauge(Mutex<Option<Reading>>);

impl Gauge {
    fn change(&self, change: impl FnOnce(&mut Reading)) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(reading.get_or_insert_default());
    }
}

impl Progress for Gauge {
    fn start(&self, what: &str, total: Option<u64>) {
        self.change(|reading| *reading = Reading { what: what.to_owned(), done: 0, total });
    }

    fn advance(&self, amount: u64) {
        self.change(|reading| reading.done = reading.done.saturating_add(amount));
    }

    fn finish(&self) {}
}

/// The side of the waiting Python call: passes changes to the callable.
pub(crate) struct Meter {
    gauge: Arc<Gauge>,
    callback: Py<PyAny>,
    told: Mutex<Option<Reading>>,
}

impl Meter {
    /// A meter that calls `callback(what, done, total)`.
    pub(crate) fn new(callback: Py<PyAny>) -> Self {
        Self { gauge: Arc::default(), callback, told: Mutex::default() }
    }

    /// The receiver to pass to the engine.
    pub(crate) fn sink(&self) -> Arc<dyn Progress> {
        self.gauge.clone()
    }

    /// Calls the callable if the progress has changed.
    pub(crate) fn report(&self, py: Python<'_>) -> PyResult<()> {
        let reading = self.gauge.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if *told == reading {
                return Ok(());
            }
            told.clone_from(&reading);
        }
        if let Some(Reading { what, done, total }) = reading {
            self.callback.call1(py, (what, done, total))?;
        }
        Ok(())
    }
}
