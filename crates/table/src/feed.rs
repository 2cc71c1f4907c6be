//! Adapts asynchronous streams of batches to the blocking sources that staging reads.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchReader;
use futures::StreamExt;
use futures::stream::BoxStream;
use partita_core::{Error, Result};
use tokio::sync::mpsc;

/// The number of batches buffered in the channel.
const AHEAD: usize = 2;

/// A source that receives the batches of a stream. It may block, so it needs a thread of its own.
#[derive(Debug)]
struct Feed {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<RecordBatch>>,
}

/// A source of the batches of `stream`, which runs as a separate task.
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

/// Wraps an error of the engine as one of Arrow.
pub(crate) fn wrapped(error: Error) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// The inverse of [`wrapped`]; an error of Arrow itself becomes the cause of `other`.
pub(crate) fn unwrapped(error: ArrowError, other: impl FnOnce() -> Error) -> Error {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => other().caused_by(inner),
        },
        error => other().caused_by(error),
    }
}
