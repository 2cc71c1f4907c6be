//! From streams of batches, which wait for the store, to the sources that staging pulls from.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchReader;
use futures::StreamExt;
use futures::stream::BoxStream;
use partita_core::{Error, Result};
use tokio::sync::mpsc;

/// Batches that wait to be pulled.
const AHEAD: usize = 2;

/// A source that a stream fills. To be pulled on a thread that may block.
#[derive(Debug)]
struct Feed {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch>>,
}

/// A source of the batches of `stream`, which runs as a task of its own.
pub(crate) fn feed(
    schema: SchemaRef,
    mut stream: BoxStream<'static, Result<RecordBatch>>,
) -> crate::BatchSource {
    let (sender, batches) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        while let Some(batch) = stream.next().await {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
    });
    Box::new(Feed { schema, batches })
}

impl Iterator for Feed {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.blocking_recv().map(|batch| batch.map_err(wrapped))
    }
}

impl RecordBatchReader for Feed {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// An error of ours on its way through Arrow.
pub(crate) fn wrapped(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// The reverse of [`wrapped`]; an error of Arrow's own becomes `other` with its cause.
pub(crate) fn unwrapped(error: ArrowError, other: impl FnOnce() -> Error) -> Error {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => other().caused_by(inner),
        },
        error => other().caused_by(error),
    }
}
