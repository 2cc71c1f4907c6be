//! Scans: plan, fetch, decode, filter, assemble.

mod assemble;
mod bloom;
mod bound;
mod bounds;
mod csv;
mod decode;
mod distinct;
mod groups;
mod pages;
mod read;
mod rows;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use hashbrown::HashSet;
use indexmap::IndexMap;
use partita_core::partition::PartitionKey;
use partita_core::{Cancel, Error, ErrorKind, NoProgress, Predicate, Progress, Result, Store};
use tracing::Instrument;

use crate::explain::{Account, Explain};
use crate::format::schema::with_pandas;
use crate::prune::{Plan, plan};
use crate::state::State;
pub(crate) use bound::Bound;
pub(crate) use csv::{csv_columns, is_csv};
pub(crate) use distinct::distinct_values;
pub(crate) use read::Read;
pub(crate) use rows::{Except, RowTest};

/// The default number of rows of a batch.
pub(crate) const BATCH_ROWS: usize = 1 << 16;

/// A read of a table at one version. Built by [`Table::scan`](crate::Table::scan).
///
/// Nothing is read until it is streamed, collected or counted. Later commits do not change the
/// result.
#[derive(Clone)]
pub struct Scan {
    store: Store,
    state: Arc<State>,
    columns: Option<Vec<String>>,
    predicate: Option<Predicate>,
    /// The predicate in the form that is evaluated, once it was needed; shared with the clones and
    /// pieces that have the same predicate, which may be a long list of values.
    bound: Arc<OnceLock<Bound>>,
    batch_rows: usize,
    limit: Option<usize>,
    /// True for plateau's types instead of those that were given.
    normalised: bool,
    /// The files to read; `None` for all of the table.
    files: Option<Arc<HashSet<String>>>,
    progress: Arc<dyn Progress>,
    cancel: Cancel,
    /// The report of the last run; shared with the clones that run it.
    last_run: LastRun,
}

/// The report of the last run of a scan; `None` before the first.
type LastRun = Arc<Mutex<Option<Arc<Account>>>>;

/// A file that a scan reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanFile {
    /// Its key in the store.
    pub key: String,
    /// The key of its partition.
    pub partition: PartitionKey,
    /// Number of rows, if known without opening the file.
    pub rows: Option<u64>,
    /// Size in bytes, if known.
    pub bytes: Option<u64>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("columns", &self.columns)
            .field("predicate", &self.predicate)
            .field("batch_rows", &self.batch_rows)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Scan {
    pub(crate) fn new(store: Store, state: Arc<State>) -> Self {
        Self {
            store,
            state,
            columns: None,
            predicate: None,
            bound: Arc::default(),
            batch_rows: BATCH_ROWS,
            limit: None,
            normalised: false,
            files: None,
            progress: Arc::new(NoProgress),
            cancel: Cancel::default(),
            last_run: LastRun::default(),
        }
    }

    /// A changed scan, which has not been run.
    fn changed(self) -> Self {
        Self { last_run: LastRun::default(), ..self }
    }

    /// Returns only these columns, in this order. An empty list is allowed, and returns batches
    /// without columns.
    #[must_use]
    pub fn columns(mut self, columns: Vec<String>) -> Self {
        self.columns = Some(columns);
        self.changed()
    }

    /// Returns only rows that match `predicate`. A second call adds a condition.
    #[must_use]
    pub fn filter(mut self, predicate: Predicate) -> Self {
        self.predicate = Some(match self.predicate {
            Some(other) => other.and(predicate),
            None => predicate,
        });
        self.bound = Arc::default();
        self.changed()
    }

    /// The maximum number of rows of a batch.
    #[must_use]
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self.changed()
    }

    /// Returns at most this many rows.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = Some(rows);
        self.changed()
    }

    /// Returns the types that plateau makes of the stored ones: numbers of 64 bits, large strings,
    /// values instead of categories, and times without a zone in nanoseconds, unless they were
    /// given in a coarser unit.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.normalised = true;
        self.changed()
    }

    /// Reports files read to `progress`.
    #[must_use]
    pub fn progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Stops when `cancel` is set.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// The schema of the batches.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a column that does not exist.
    pub fn schema(&self) -> Result<SchemaRef> {
        let table = match self.normalised {
            true => &self.state.schema,
            false => &self.state.given,
        };
        let Some(columns) = &self.columns else { return Ok(Arc::clone(table)) };
        let fields: Result<Vec<_>> = columns
            .iter()
            .map(|name| {
                table.field_with_name(name).cloned().map_err(|_| {
                    let known: Vec<&str> =
                        table.fields().iter().map(|f| f.name().as_str()).collect();
                    Error::new(ErrorKind::NotFound, "the table has no such column")
                        .with("column", name)
                        .with("columns", known.join(", "))
                })
            })
            .collect();
        Ok(Arc::new(with_pandas(Schema::new(fields?), &self.state.extensions)))
    }

    /// Refuses to divide a scan with a limit: its pieces are run independently, so each of them
    /// would return up to that many rows.
    fn check_divisible(&self) -> Result<()> {
        match self.limit {
            None => Ok(()),
            Some(limit) => Err(Error::invalid(
                "a scan with a limit cannot be divided: divide the scan without the limit, and \
                 stop when there are enough rows",
            )
            .with("limit", limit)),
        }
    }

    fn bound(&self) -> Result<Option<&Bound>> {
        let Some(predicate) = &self.predicate else { return Ok(None) };
        if let Some(bound) = self.bound.get() {
            return Ok(Some(bound));
        }
        let bound = Bound::new(predicate, &self.state)?;
        Ok(Some(self.bound.get_or_init(|| bound)))
    }

    async fn plan(&self) -> Result<Plan> {
        self.plan_through(&self.store).await
    }

    async fn plan_through(&self, store: &Store) -> Result<Plan> {
        let plan = plan(store, &self.state, self.bound()?.map(Bound::whole)).await?;
        let Some(files) = &self.files else { return Ok(plan) };
        let chosen: BooleanArray =
            plan.manifest.keys().map(|key| Some(files.contains(key))).collect();
        Ok(plan.only(&chosen)?.measured(plan.explain))
    }

    /// Splits the scan by file: one scan for each file left after planning, in the order of the
    /// table, with the key of its partition.
    ///
    /// # Errors
    /// The errors are those of [`Scan::explain`]; [`InvalidArgument`](ErrorKind::InvalidArgument)
    /// for a scan with a limit.
    pub async fn by_file(&self) -> Result<Vec<(PartitionKey, Self)>> {
        self.check_divisible()?;
        let plan = self.plan().await?;
        let keys = plan.manifest.keys().map(|key| vec![key.to_owned()]);
        Ok(plan.partition_keys()?.into_iter().zip(keys.map(|keys| self.of(keys))).collect())
    }

    /// The keys of the files left after planning, in the order of the table and of
    /// [`Scan::by_file`].
    ///
    /// # Errors
    /// The errors are those of [`Scan::explain`].
    pub async fn keys(&self) -> Result<Vec<String>> {
        Ok(self.plan().await?.manifest.keys().map(str::to_owned).collect())
    }

    /// Splits the scan by partition: one scan for each partition left after planning, in the order
    /// of their first files in the table.
    ///
    /// # Errors
    /// The errors are those of [`Scan::by_file`].
    pub async fn by_partition(&self) -> Result<Vec<(PartitionKey, Self)>> {
        self.check_divisible()?;
        let plan = self.plan().await?;
        let mut partitions: IndexMap<PartitionKey, Vec<String>> = IndexMap::new();
        for (partition, key) in plan.partition_keys()?.into_iter().zip(plan.manifest.keys()) {
            partitions.entry(partition).or_default().push(key.to_owned());
        }
        Ok(partitions.into_iter().map(|(partition, keys)| (partition, self.of(keys))).collect())
    }

    /// The files left after planning, in the order of the table.
    ///
    /// # Errors
    /// The errors are those of [`Scan::explain`].
    pub async fn files(&self) -> Result<Vec<ScanFile>> {
        let plan = self.plan().await?;
        let sizes = plan.manifest.rows().zip(plan.manifest.bytes());
        Ok(plan
            .partition_keys()?
            .into_iter()
            .zip(plan.manifest.keys())
            .zip(sizes)
            .map(|((partition, key), (rows, bytes))| ScanFile {
                key: key.to_owned(),
                partition,
                rows,
                bytes,
            })
            .collect())
    }

    /// The same scan restricted to these files, given by key as in [`Scan::files`].
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a file that is not in this version of the table.
    pub fn only(&self, keys: Vec<String>) -> Result<Self> {
        let mut unknown: HashSet<&str> = keys.iter().map(String::as_str).collect();
        for key in self.state.manifest.keys() {
            unknown.remove(key);
        }
        if let Some(key) = unknown.into_iter().min() {
            return Err(Error::new(
                ErrorKind::NotFound,
                "this version of the table has no such file; it was changed since it was planned",
            )
            .with("key", key));
        }
        Ok(self.of(keys))
    }

    fn of(&self, keys: Vec<String>) -> Self {
        Self { files: Some(Arc::new(keys.into_iter().collect())), ..self.clone() }.changed()
    }

    /// Reports what the scan prunes, by which means, and its cost. No rows are decoded, but the
    /// metadata needed for pruning is fetched: indices, and for files larger than 1 MiB footers,
    /// bloom filters and the page index.
    ///
    /// After a run of the scan, or of a clone of it, the report also has the cost of that run.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) if the predicate does not fit the schema;
    /// [`Corrupt`](ErrorKind::Corrupt) if an index, a key or a file cannot be read.
    pub fn explain(&self) -> BoxFuture<'_, Result<Explain>> {
        async move {
            let account = Arc::new(Account::default());
            let store = self.store.metered(Arc::clone(&account.meter));
            let plan = self.plan_through(&store).await?;
            let read = self.reader(store, Arc::clone(&account))?;
            let mut explain = read.foresee(&plan).await?;
            explain.predicate = self.bound()?.map(Bound::text);
            // The read repeats the requests that the report needed.
            explain.reading.add(account.reading());
            if let Some(limit) = self.limit {
                explain.rows_at_most = explain.rows_at_most.min(limit as u64);
            }
            let last = self.last_run.lock().unwrap_or_else(PoisonError::into_inner).clone();
            explain.last_run = last.map(|account| account.reading());
            Ok(explain)
        }
        .instrument(tracing::debug_span!("explain", dataset = %self.state.table_name))
        .boxed()
    }

    /// The rows as batches of [`Scan::schema`], files in the order of the table and rows in the
    /// order of their file. Memory is bounded by the files in flight.
    ///
    /// # Errors
    /// The errors are those of [`Scan::explain`] and [`Scan::schema`]; each batch may fail with
    /// [`Store`](ErrorKind::Store) or [`Corrupt`](ErrorKind::Corrupt).
    pub fn stream(self) -> BoxFuture<'static, Result<BoxStream<'static, Result<RecordBatch>>>> {
        let span = tracing::debug_span!("scan", dataset = %self.state.table_name);
        // The stream keeps the span open until it is dropped.
        let whole = span.clone();
        async move {
            let (account, store) = self.begun();
            let plan = self.plan_through(&store).await?;
            let batches = self.reader(store, account)?.run(&plan);
            let batches = match self.limit {
                Some(limit) => limited(batches, limit),
                None => batches,
            };
            Ok(batches.map(move |batch| whole.in_scope(|| batch)).boxed())
        }
        .instrument(span)
        .boxed()
    }

    /// The report of a run that begins now, and the metered store to read through.
    fn begun(&self) -> (Arc<Account>, Store) {
        let account = Arc::new(Account::default());
        *self.last_run.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&account));
        let store = self.store.metered(Arc::clone(&account.meter));
        (account, store)
    }

    fn reader(&self, store: Store, account: Arc<Account>) -> Result<Read> {
        Ok(Read {
            store,
            table: Arc::clone(&self.state.schema),
            schema: self.schema()?,
            test: self.bound()?.and_then(Bound::row_test),
            batch_rows: self.batch_rows.min(self.limit.unwrap_or(usize::MAX)).max(1),
            account,
            progress: Arc::clone(&self.progress),
            cancel: self.cancel.clone(),
        })
    }

    /// All rows.
    ///
    /// # Errors
    /// The errors are those of [`Scan::stream`].
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.stream().await?.try_collect().await
    }

    /// The number of rows. Taken from the statistics if possible; otherwise only the columns of the
    /// predicate are read.
    ///
    /// # Errors
    /// The errors are those of [`Scan::stream`].
    pub async fn count(self) -> Result<u64> {
        let most = self.limit.map_or(u64::MAX, |limit| limit as u64);
        if self.bound()?.and_then(Bound::row_test).is_none() {
            let plan = self.plan_through(&self.begun().1).await?;
            let rows: Option<u64> = plan.manifest.rows().sum();
            if let Some(rows) = rows {
                return Ok(rows.min(most));
            }
        }
        let mut batches = Self { columns: Some(Vec::new()), ..self }.stream().await?;
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows() as u64;
        }
        Ok(rows)
    }
}

fn limited(
    batches: BoxStream<'static, Result<RecordBatch>>,
    limit: usize,
) -> BoxStream<'static, Result<RecordBatch>> {
    stream::try_unfold((batches, limit), |(mut batches, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(batch) = batches.try_next().await? else { return Ok(None) };
        let batch = batch.slice(0, batch.num_rows().min(left));
        let left = left - batch.num_rows();
        Ok(Some((batch, (batches, left))))
    })
    .boxed()
}
