//! Export of record batches to Python.

use std::pin::pin;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use futures::StreamExt;
use partita::{Cancel, Error, ErrorKind, Result, Scan};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, channel};

use crate::aio::answer;
use crate::arrow_ffi::{export_batch, export_schema, export_stream};
use crate::runtime::{Watch, blocking, wait};

/// The number of batches that a scan may read ahead of its consumer.
const AHEAD: usize = 2;

/// Starts a scan that feeds a short queue of batches. The scan ends when the queue is dropped.
pub(crate) fn pump(runtime: &Runtime, scan: Scan) -> Receiver<Result<RecordBatch>> {
    let (sender, receiver) = channel(AHEAD);
    runtime.spawn(async move {
        let mut batches = match scan.stream().await {
            Ok(stream) => stream,
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        while let Some(batch) = batches.next().await {
            let last = batch.is_err();
            if sender.send(batch).await.is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// Batches in memory, for any consumer of Arrow streams.
#[pyclass(frozen, module = "partita._native")]
pub(crate) struct Batches {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Batches {
    pub(crate) fn new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Self { schema, batches }
    }
}

#[pymethods]
impl Batches {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface allows a producer to ignore the requested schema; the consumer then casts.
        drop(requested_schema);
        let batches: Vec<_> = self.batches.iter().cloned().map(Ok).collect();
        export_stream(py, Box::new(RecordBatchIterator::new(batches, self.schema.clone())))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        export_schema(py, &self.schema)
    }
}

/// One batch, for any consumer of Arrow arrays.
#[pyclass(frozen, module = "partita._native")]
pub(crate) struct Batch(RecordBatch);

#[pymethods]
impl Batch {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        drop(requested_schema);
        export_batch(py, &self.0)
    }
}

/// The batches of a running scan, one at a time; Ctrl-C interrupts the wait for the next.
#[pyclass(frozen, module = "partita._native")]
pub(crate) struct BatchIterator {
    // Taken while waiting for a batch; `None` for good once the scan has ended.
    queue: Mutex<Option<Receiver<Result<RecordBatch>>>>,
    cancel: Cancel,
}

impl BatchIterator {
    pub(crate) fn new(queue: Receiver<Result<RecordBatch>>, cancel: Cancel) -> Self {
        Self { queue: Mutex::new(Some(queue)), cancel }
    }

    /// The next batch, with the queue to keep for the batches behind it; `None` at the end.
    fn coming(&self) -> impl Future<Output = Result<Coming>> + Send + use<> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            let Some(mut queue) = queue else { return Ok(None) };
            let batch = queue.recv().await.transpose()?;
            Ok(batch.map(|batch| (batch, queue)))
        }
    }

    fn keep(&self, coming: Coming) -> Option<Batch> {
        let (batch, queue) = coming?;
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue);
        Some(Batch(batch))
    }
}

/// A batch, and the queue that it was taken from.
type Coming = Option<(RecordBatch, Receiver<Result<RecordBatch>>)>;

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        let watch = Watch { cancel: self.cancel.clone(), meter: None };
        Ok(self.keep(wait(py, &watch, self.coming())?))
    }

    /// The next batch, or None at the end. The scan ends if this is cancelled.
    #[pyo3(signature = (ended=None))]
    fn next<'py>(slf: &Bound<'py, Self>, ended: Option<Py<PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (coming, iterator) = (slf.get().coming(), slf.clone().unbind());
        // Not the scan's own cancellation, which would end the scan after each batch.
        answer(slf.py(), Watch::default(), ended, coming, move |py, next| {
            iterator.get().keep(next?).into_py_any(py)
        })
    }

    /// Stops the scan.
    fn close(&self) {
        self.cancel.cancel();
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// A running scan for consumers that read it from C, without the interpreter.
pub(crate) struct ScanReader {
    runtime: &'static Runtime,
    schema: SchemaRef,
    queue: Arc<tokio::sync::Mutex<Receiver<Result<RecordBatch>>>>,
}

impl ScanReader {
    pub(crate) fn new(
        runtime: &'static Runtime,
        schema: SchemaRef,
        queue: Receiver<Result<RecordBatch>>,
    ) -> Self {
        Self { runtime, schema, queue: Arc::new(tokio::sync::Mutex::new(queue)) }
    }
}

impl Iterator for ScanReader {
    type Item = std::result::Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (sender, receiver) = sync_channel(1);
        let queue = self.queue.clone();
        self.runtime.spawn(async move {
            let _ = sender.send(pin!(queue.lock()).await.recv().await);
        });
        let batch = blocking(|| receiver.recv()).unwrap_or_else(|_| {
            Some(Err(Error::new(ErrorKind::Store, "the scan was lost with its runtime")))
        })?;
        Some(batch.map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

impl RecordBatchReader for ScanReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
