//! Collecting rows per partition into row groups and files, within a memory bound.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use futures::FutureExt;
use futures::future::BoxFuture;
use indexmap::IndexMap;
use partita_core::partition::{Group, PartitionKey, split};
use partita_core::{Error, ErrorKind, Result, cores};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use super::encode::{EncodedGroup, OpenFile};
use super::fit::bytes_of;
use super::sort::sorted;
use super::{Target, Written};
use crate::feed::unwrapped;
use crate::format::digests::FileDigests;
use crate::format::footer;
use crate::format::index::{Index, distinct};
use crate::format::keys;
use crate::format::pandas::ExtensionTypes;
use crate::format::schema::table_schema;
use crate::format::statistics::{self, FileFacts};
use crate::options::{BatchSource, WriteOptions};

/// The memory limit in bytes for rows and encoded pages; beyond it the largest partition is written
/// out.
const HELD_BYTES: usize = 768 << 20;

/// The maximum number of uploads in flight: enough to hide a store's latency, few enough to bound
/// memory.
const UPLOADS: usize = 32;

/// A written file.
pub(super) struct File {
    pub facts: FileFacts,
    /// The distinct values of the file for each indexed column.
    pub index: Vec<(String, Index)>,
}

/// A pass over the data. See the module documentation of [`stage`](super).
pub(super) struct Gather {
    pub target: Target,
    /// The stored schema, as far as the data read so far have settled it.
    pub settled: Arc<Mutex<Schema>>,
    pub extensions: ExtensionTypes,
    /// Indexed columns with the types of their values.
    pub index: Vec<(String, DataType)>,
    pub options: WriteOptions,
    pub written: Written,
}

/// Buffered rows of one partition that will be written to a file.
#[derive(Default)]
struct Pending {
    /// The schema of its rows.
    schema: Option<SchemaRef>,
    file: Option<OpenFile>,
    groups: Vec<JoinHandle<Result<EncodedGroup>>>,
    rows: Vec<RecordBatch>,
    row_count: usize,
    held: usize,
    file_rows: u64,
}

impl Gather {
    /// The table's types, as far as they are settled.
    fn table(&self) -> SchemaRef {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        table_schema(&settled, &[], &self.extensions)
    }

    /// Reads all batches and writes all files; files come in the order of their first row.
    pub fn run(self, data: BatchSource) -> BoxFuture<'static, Result<Vec<File>>> {
        async move {
            let (sender, mut receiver) = mpsc::channel::<Result<Vec<Group>>>(2);
            let source = Puller {
                partition_by: self.target.partition_by.clone(),
                options: self.options.clone(),
            };
            let puller = spawn_blocking(move || source.run(data, &sender));
            let this = Arc::new(self);
            this.options.progress.start("rows written", None);
            let mut pass = Pass::new(Arc::clone(&this));
            let mut outcome = Ok(());
            while let Some(groups) = receiver.recv().await {
                outcome = match groups {
                    Ok(groups) => pass.add(groups).await,
                    Err(error) => Err(error),
                };
                if outcome.is_err() {
                    break;
                }
            }
            drop(receiver);
            let pulled = puller.await.map_err(crashed);
            this.options.progress.finish();
            // All tasks must have ended before their files are cleaned up.
            match outcome.and(pulled) {
                Ok(()) => pass.finish().await,
                Err(error) => {
                    pass.abandon().await;
                    Err(error)
                }
            }
        }
        .boxed()
    }
}

/// Reads batches from the source on a separate thread and splits them.
struct Puller {
    partition_by: Vec<String>,
    options: WriteOptions,
}

impl Puller {
    fn run(self, data: BatchSource, sender: &mpsc::Sender<Result<Vec<Group>>>) {
        for batch in data {
            let groups = self.options.cancel.check().and_then(|()| {
                let batch = batch.map_err(|error| {
                    unwrapped(error, || Error::invalid("the data to write could not be produced"))
                })?;
                self.options.progress.advance(batch.num_rows() as u64);
                split(&batch, &self.partition_by)
            });
            let failed = groups.is_err();
            if sender.blocking_send(groups).is_err() || failed {
                return;
            }
        }
    }
}

/// The state of one pass.
struct Pass {
    gather: Arc<Gather>,
    pending: IndexMap<PartitionKey, Pending>,
    held: usize,
    encoders: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    files: JoinSet<Result<(usize, File)>>,
    begun: usize,
    done: Vec<(usize, File)>,
}

impl Pass {
    fn new(gather: Arc<Gather>) -> Self {
        let cores = cores();
        Self {
            gather,
            pending: IndexMap::new(),
            held: 0,
            encoders: Arc::new(Semaphore::new(cores)),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            files: JoinSet::new(),
            begun: 0,
            done: Vec::new(),
        }
    }

    async fn add(&mut self, groups: Vec<Group>) -> Result<()> {
        let group_rows = self.gather.options.row_group_rows;
        // An empty batch of a table without partitions is a group of no rows.
        for group in groups.into_iter().filter(|group| group.rows.num_rows() > 0) {
            let bytes = bytes_of(&group.rows);
            let schema = group.rows.schema_ref();
            if self.pending.get(&group.key).is_some_and(|pending| pending.differs(schema)) {
                self.write_out(&group.key).await?;
            }
            let pending = self.pending.entry(group.key.clone()).or_default();
            pending.schema = Some(Arc::clone(schema));
            pending.row_count += group.rows.num_rows();
            pending.file_rows += group.rows.num_rows() as u64;
            pending.rows.push(group.rows);
            pending.held += bytes;
            self.held += bytes;
            // Rows to be sorted are encoded once the file is complete.
            if pending.row_count >= group_rows && self.gather.options.sort_by.is_empty() {
                pending.encode(&self.gather, &self.encoders).await?;
            }
            if pending.held as u64 >= self.gather.options.target_file_bytes {
                self.write_out(&group.key).await?;
            }
        }
        while self.held > HELD_BYTES {
            let largest = self.pending.iter().max_by_key(|(_, p)| p.held).map(|(k, _)| k.clone());
            let Some(largest) = largest else { break };
            self.write_out(&largest).await?;
        }
        while let Some(done) = self.files.try_join_next() {
            self.gather.options.cancel.check()?;
            self.done.push(done.map_err(crashed)??);
        }
        Ok(())
    }

    /// Ends the file of a partition and uploads it in the background.
    async fn write_out(&mut self, key: &PartitionKey) -> Result<()> {
        let Some(mut pending) = self.pending.swap_remove(key) else { return Ok(()) };
        self.held -= pending.held;
        if self.gather.options.sort_by.is_empty() {
            if pending.row_count > 0 {
                pending.encode(&self.gather, &self.encoders).await?;
            }
        } else {
            pending.encode_sorted(&self.gather, &self.encoders).await?;
        }
        let permit = Arc::clone(&self.uploads).acquire_owned().await.map_err(crashed)?;
        let gather = Arc::clone(&self.gather);
        let key = key.clone();
        let order = self.begun;
        self.begun += 1;
        self.files.spawn(async move {
            let file = pending.write(&gather, &key).await?;
            drop(permit);
            Ok((order, file))
        });
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<File>> {
        let keys: Vec<PartitionKey> = self.pending.keys().cloned().collect();
        let mut outcome = Ok(());
        for key in keys {
            outcome = self.gather.options.cancel.check();
            if outcome.is_ok() {
                outcome = self.write_out(&key).await;
            }
            if outcome.is_err() {
                break;
            }
        }
        if let Err(error) = outcome {
            self.abandon().await;
            return Err(error);
        }
        while let Some(done) = self.files.join_next().await {
            match done.map_err(crashed).and_then(|done| done) {
                Ok(done) => self.done.push(done),
                Err(error) => {
                    self.abandon().await;
                    return Err(error);
                }
            }
        }
        self.done.sort_by_key(|(order, _)| *order);
        Ok(self.done.into_iter().map(|(_, file)| file).collect())
    }

    /// Cancels all writes and waits until they have ended.
    async fn abandon(mut self) {
        self.files.abort_all();
        while self.files.join_next().await.is_some() {}
    }
}

impl Pending {
    fn differs(&self, schema: &SchemaRef) -> bool {
        self.schema.as_ref().is_some_and(|own| own != schema)
    }

    /// Encodes the buffered rows as a row group, on a separate thread.
    async fn encode(&mut self, gather: &Gather, encoders: &Arc<Semaphore>) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.row_count = 0;
        let Some(first) = rows.first() else { return Ok(()) };
        if self.file.is_none() {
            self.file =
                Some(OpenFile::new(first.schema_ref(), &gather.extensions, &gather.options)?);
        }
        let Some(file) = &self.file else { return Ok(()) };
        let encoder = file.encoder(&gather.index);
        let permit = Arc::clone(encoders).acquire_owned().await.map_err(crashed)?;
        self.groups.push(spawn_blocking(move || {
            let group = encoder.encode(&rows);
            drop(permit);
            group
        }));
        Ok(())
    }

    /// Sorts all buffered rows, and encodes them.
    async fn encode_sorted(&mut self, gather: &Gather, encoders: &Arc<Semaphore>) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let Some(first) = rows.first() else { return Ok(()) };
        let (schema, by) = (first.schema(), gather.options.sort_by.clone());
        let sort = move || sorted(&concat_batches(&schema, &rows)?, &by);
        let rows = spawn_blocking(sort).await.map_err(crashed)??;
        let mut offset = 0;
        while offset < rows.num_rows() {
            let length = gather.options.row_group_rows.min(rows.num_rows() - offset);
            self.rows.push(rows.slice(offset, length));
            self.encode(gather, encoders).await?;
            offset += length;
        }
        Ok(())
    }

    /// Assembles the row groups and writes the file.
    async fn write(self, gather: &Gather, partition: &PartitionKey) -> Result<File> {
        let Some(mut file) = self.file else {
            return Err(Error::invalid("a file of no rows was to be written"));
        };
        let mut values: Vec<Vec<ArrayRef>> = vec![Vec::new(); gather.index.len()];
        for group in self.groups {
            let group = group.await.map_err(crashed)??;
            for (all, new) in values.iter_mut().zip(&group.index) {
                all.push(Arc::clone(new));
            }
            file.append(group)?;
        }
        let file_schema = Arc::clone(&file.schema);
        let (bytes, metadata) = spawn_blocking(move || file.finish()).await.map_err(crashed)??;
        let label = keys::label(partition, &uuid::Uuid::new_v4().simple().to_string());
        let key = keys::data_file(&gather.target.name, &gather.target.table_name, &label);
        let facts = FileFacts {
            label: label.clone(),
            key: key.clone(),
            rows: Some(self.file_rows),
            bytes: Some(bytes.len() as u64),
            footer: footer::length_of(&bytes),
            groups: Some(metadata.num_row_groups() as u64),
            buckets: gather.target.derived.bucket.as_ref().map(|bucket| bucket.buckets.into()),
            digests: FileDigests::of(&bytes, &metadata),
            columns: statistics::of_file(&metadata, &file_schema, &gather.table()),
        };
        gather.written.add(key.clone());
        gather.target.store.put(&key, bytes).await?;
        let mut index = Vec::with_capacity(values.len());
        for ((name, _), values) in gather.index.iter().zip(values) {
            let values: Vec<&dyn Array> = values.iter().map(|v| v.as_ref()).collect();
            index.push((name.clone(), Index::of_file(distinct(&concat(&values)?)?, &label)));
        }
        Ok(File { facts, index })
    }
}

/// The error of a task that ended without a result because the runtime is shutting down.
fn crashed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Interrupted, "a task of the write was stopped").caused_by(error)
}
