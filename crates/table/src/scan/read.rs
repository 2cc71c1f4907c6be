//! Reads of a list of files, opened and decoded ahead of the consumer, within a bound.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use partita_core::{Cancel, Progress, Result, Store, cores};

use super::decode::{Decoder, FileTask, Unit};
use super::rows::RowTest;
use crate::explain::{Account, Explain};
use crate::prune::Plan;

/// The number of files being opened or decoded per core: fetching mostly waits.
const FILES_PER_CORE: usize = 4;

/// The maximum number of files examined concurrently if nothing is decoded.
const FORESEEN: usize = 64;

/// A read of a list of files.
pub(crate) struct Read {
    pub store: Store,
    /// The schema of the table, which the row test uses.
    pub table: SchemaRef,
    /// The schema of the batches.
    pub schema: SchemaRef,
    /// The test of rows to return; `None` returns all.
    pub test: Option<Arc<dyn RowTest>>,
    pub batch_rows: usize,
    /// Receives the pruning results and the cost.
    pub account: Arc<Account>,
    pub progress: Arc<dyn Progress>,
    pub cancel: Cancel,
}

impl Read {
    /// The rows of the files of `plan`, in the order of the plan and of each file.
    pub fn run(self, plan: &Plan) -> BoxStream<'static, Result<RecordBatch>> {
        let progress = Arc::clone(&self.progress);
        let decoder = Arc::new(self.decoder());
        let tasks = tasks(plan);
        progress.start("files read", Some(tasks.len() as u64));
        let finished = Finish(Arc::clone(&progress));
        let cores = cores();
        stream::iter(tasks)
            .map(move |task| {
                let decoder = Arc::clone(&decoder);
                async move { decoder.open(task).await }
            })
            .buffered(cores * FILES_PER_CORE)
            .map_ok(move |units| {
                progress.advance(1);
                let _until_the_end = &finished;
                stream::iter(units.into_iter().map(Ok))
            })
            .try_flatten()
            .map_ok(Unit::run)
            .try_buffered(cores * 2)
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    /// The estimated cost of reading the files of `plan`, apart from the requests made for the
    /// estimate.
    pub fn foresee<'a>(self, plan: &'a Plan) -> BoxFuture<'a, Result<Explain>> {
        async move {
            let decoder = &self.decoder();
            let mut explain = Explain { rows_at_most: 0, ..plan.explain.clone() };
            let mut files = stream::iter(tasks(plan))
                .map(|task| decoder.foresee(task))
                .buffer_unordered(FORESEEN);
            while let Some((reading, rows, whole)) = files.try_next().await? {
                explain.reading.add(reading);
                explain.rows_at_most += rows.unwrap_or(0);
                explain.files_fetched_whole += usize::from(whole);
            }
            drop(files);
            Ok(explain)
        }
        .boxed()
    }

    fn decoder(self) -> Decoder {
        Decoder {
            store: self.store,
            schema: self.schema,
            table: self.table,
            test: self.test,
            batch_rows: self.batch_rows,
            account: self.account,
            cancel: self.cancel,
        }
    }
}

/// Ends the progress report when the stream is dropped, whether it was read to its end or not.
struct Finish(Arc<dyn Progress>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish();
    }
}

fn tasks(plan: &Plan) -> Vec<FileTask> {
    let manifest = &plan.manifest;
    let sizes = manifest.bytes().zip(manifest.footers());
    let counts = manifest.groups().zip(manifest.rows());
    manifest
        .keys()
        .zip(sizes.zip(counts))
        .zip(manifest.digests())
        .enumerate()
        .map(|(row, ((key, ((bytes, footer), (groups, rows))), digests))| FileTask {
            key: key.to_owned(),
            bytes,
            footer,
            groups,
            rows,
            digests,
            partition: plan.partitions.slice(row, 1),
        })
        .collect()
}
