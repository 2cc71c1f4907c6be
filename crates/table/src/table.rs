//! The public interface of tables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatchIterator;
use partita_core::partition::PartitionKey;
use partita_core::store::protocol::proves_no_commit;
use partita_core::store::split_url;
use partita_core::{
    At, Cancel, Error, ErrorKind, Predicate, Result, Store, StoreOptions, idempotency_id, masked,
};
use serde_json::{Map, Value};

use crate::change::Change;
use crate::commit::{Commit, Existing, Propose, commit, find_commit, operation_of};
use crate::draft::Draft;
use crate::format::keys;
use crate::format::schema::missing;
use crate::format::snapshot::Operation;
use crate::history::{SnapshotInfo, find};
use crate::options::{BatchSource, CreateOptions, WriteOptions};
use crate::rewrite::{Growing, Rewrite};
use crate::scan::Scan;
use crate::stage::{BucketPartition, Columns, DatePartition, Staged, Target, discard, stage};
use crate::state::{State, read_header};

/// A table in a store.
///
/// Clones share the loaded state of the table. Reads see the state at which the table was opened,
/// or the one of its own last commit; [`Table::refresh`] loads commits of others.
#[derive(Clone)]
pub struct Table {
    store: Store,
    name: Arc<str>,
    state: Arc<RwLock<Arc<State>>>,
    /// Commits through a table and its clones wait for each other here instead of racing.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// True for an older version, which does not change.
    pinned: bool,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("url", &self.url()).field("version", &self.version()).finish()
    }
}

/// One partition of a table with its totals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The key; empty for a table that is not partitioned.
    pub key: PartitionKey,
    /// Number of files.
    pub files: usize,
    /// Number of rows, if known without opening files.
    pub rows: Option<u64>,
    /// Number of row groups, if known.
    pub row_groups: Option<u64>,
    /// Size of the files in bytes, if known.
    pub bytes: Option<u64>,
}

impl Table {
    /// Creates an empty table of `schema` at `url`. Atomic; if two callers create the same table at
    /// once, one gets [`AlreadyExists`](ErrorKind::AlreadyExists).
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) unless `options.overwrite`;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) or [`NotFound`](ErrorKind::NotFound) if the
    /// schema does not support the partition or index columns; [`ReadOnly`](ErrorKind::ReadOnly).
    pub async fn create(
        url: &str,
        schema: SchemaRef,
        options: &CreateOptions,
        store: &StoreOptions,
    ) -> Result<Self> {
        let empty: [Result<RecordBatch, arrow::error::ArrowError>; 0] = [];
        let data = Box::new(RecordBatchIterator::new(empty, schema));
        Self::create_from(url, data, options, store).await
    }

    /// Creates a table from `data`, in one commit.
    ///
    /// # Errors
    /// The errors are those of [`Table::create`] and [`Table::append`].
    pub async fn create_from(
        url: &str,
        data: BatchSource,
        options: &CreateOptions,
        store: &StoreOptions,
    ) -> Result<Self> {
        let (root, name) = split_url(url)?;
        Self::create_in(Store::open(&root, store)?, &name, data, options).await
    }

    /// Creates a table from `data` under `name` in an open store.
    ///
    /// # Errors
    /// The errors are those of [`Table::create_from`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = name))]
    pub async fn create_in(
        store: Store,
        name: &str,
        data: BatchSource,
        options: &CreateOptions,
    ) -> Result<Self> {
        let draft = Draft::new_in(store.clone(), name, options.clone())?;
        draft.check_absent().await?;
        let stage = draft.stage(data, &options.write);
        let (staged, ()) = futures::join!(stage, store.prepare_commit());
        let staged = [staged?];
        let made = draft.create_of(staged.to_vec(), false).await;
        let (table, made) = undo_on_error(&store, &staged, made).await?;
        undo_if_repeated(&store, &staged, &made).await;
        Ok(table)
    }

    /// Creates the table with the given change.
    pub(crate) async fn create_by(
        store: Store,
        name: &str,
        change: &Change,
        existing: Existing,
        cancel: &Cancel,
    ) -> Result<Self> {
        let made = commit(&store, name, change, None, existing, cancel).await;
        let (state, made) = undo_on_error(&store, &change.staged, made).await?;
        undo_if_repeated(&store, &change.staged, &made).await;
        Ok(Self::holding(store, name, state))
    }

    /// Opens the table at `url`. Two requests; a third if plateau made the last commit.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none;
    /// [`Corrupt`](ErrorKind::Corrupt) if its metadata cannot be read.
    pub async fn open(url: &str, store: &StoreOptions) -> Result<Self> {
        let (root, name) = split_url(url)?;
        Self::open_in(Store::open(&root, store)?, &name).await
    }

    /// Opens the table `name` in an open store.
    ///
    /// # Errors
    /// The errors are those of [`Table::open`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = name))]
    pub async fn open_in(store: Store, name: &str) -> Result<Self> {
        keys::check_name(name)?;
        let state = Arc::new(State::load(&store, name).await?);
        Ok(Self::holding(store, name, state))
    }

    /// True if there is a table at `url`.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store does not answer.
    pub async fn exists(url: &str, store: &StoreOptions) -> Result<bool> {
        let (root, name) = split_url(url)?;
        keys::check_name(&name)?;
        Ok(read_header(&Store::open(&root, store)?, &name).await?.is_some())
    }

    pub(crate) fn holding(store: Store, name: &str, state: Arc<State>) -> Self {
        let state = Arc::new(RwLock::new(state));
        Self { store, name: name.into(), state, turn: Arc::default(), pinned: false }
    }

    /// The same table, pinned to `state`.
    pub(crate) fn pinned(&self, state: Arc<State>) -> Self {
        Self { pinned: true, ..Self::holding(self.store.clone(), &self.name, state) }
    }

    /// Fails if the table or its store is read-only.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.pinned {
            return Err(Error::new(
                ErrorKind::ReadOnly,
                "this is an older version of the table; restore it to go on from there",
            )
            .with("version", self.state().own.version));
        }
        self.store.check_writable()
    }

    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_state(&self, state: Arc<State>) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The URL of the table.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.store.url().trim_end_matches('/'), self.name)
    }

    /// The URL without secrets, for spans.
    pub(crate) fn place(&self) -> String {
        masked(&self.url()).into_owned()
    }

    /// The name of the dataset: the last part of its URL.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The store that holds the table.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The columns and types that scans return: those of the data as they were given.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.state().given)
    }

    /// The partition columns, outermost first.
    #[must_use]
    pub fn partition_by(&self) -> Vec<String> {
        self.state().partition_by.clone()
    }

    /// The date column that the partition columns are derived from, if there is one.
    #[must_use]
    pub fn date_partition(&self) -> Option<DatePartition> {
        self.state().own.derived.date.clone()
    }

    /// The column whose hash buckets are a partition column, if there is one.
    #[must_use]
    pub fn bucket_partition(&self) -> Option<BucketPartition> {
        self.state().own.derived.bucket.clone()
    }

    /// The columns with a secondary index.
    #[must_use]
    pub fn index_columns(&self) -> Vec<String> {
        self.state().header.indices.keys().cloned().collect()
    }

    /// The columns that get bloom filters by default.
    #[must_use]
    pub fn bloom_filters(&self) -> Vec<String> {
        self.state().own.bloom_filters.clone()
    }

    /// The user's annotations and the time of creation.
    #[must_use]
    pub fn metadata(&self) -> Map<String, Value> {
        self.state().header.user_metadata()
    }

    /// The version of the state that reads see; `None` for a table that only plateau has written.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        Some(self.state().own.version).filter(|version| *version > 0)
    }

    /// True for an older version, which does not change and refuses every write.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// Number of data files.
    #[must_use]
    pub fn num_files(&self) -> usize {
        self.state().num_files()
    }

    /// The partitions in the order of their values.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if a file's key cannot be read.
    pub async fn partitions(&self) -> Result<Vec<Partition>> {
        let state = self.state();
        let add = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        let mut found: BTreeMap<PartitionKey, (usize, Partition)> = BTreeMap::new();
        let sizes = state.manifest.rows().zip(state.manifest.groups()).zip(state.manifest.bytes());
        for (file, (key, ((rows, row_groups), bytes))) in
            state.partition_keys()?.into_iter().zip(sizes).enumerate()
        {
            found
                .entry(key.clone())
                .and_modify(|(_, partition)| {
                    partition.files += 1;
                    partition.rows = add(partition.rows, rows);
                    partition.row_groups = add(partition.row_groups, row_groups);
                    partition.bytes = add(partition.bytes, bytes);
                })
                .or_insert((file, Partition { key, files: 1, rows, row_groups, bytes }));
        }
        let (files, partitions): (Vec<usize>, Vec<Partition>) = found.into_values().unzip();
        let order = value_order(&state.partition_values()?, &files)?;
        let mut partitions: Vec<Option<Partition>> = partitions.into_iter().map(Some).collect();
        Ok(order.into_iter().filter_map(|i| partitions.get_mut(i)?.take()).collect())
    }

    /// Loads the newest state; a pinned table keeps its version. Two requests.
    ///
    /// # Errors
    /// The errors are those of [`Table::open`].
    pub async fn refresh(&self) -> Result<()> {
        if self.pinned {
            return Ok(());
        }
        self.set_state(Arc::new(State::load(&self.store, &self.name).await?));
        Ok(())
    }

    /// Adds rows. Atomic; concurrent appends of several writers all succeed.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) naming the column;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a null in a partition
    /// column; [`ReadOnly`](ErrorKind::ReadOnly);
    /// [`CommitUnsupported`](ErrorKind::CommitUnsupported);
    /// [`Store`](ErrorKind::Store). Nothing is committed then.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn append(&self, data: BatchSource, options: &WriteOptions) -> Result<Commit> {
        self.update(Some(data), None, options).await
    }

    /// Removes the rows that `scope` selects and adds `data`, in one commit. The scope is evaluated
    /// on the newest state; `data` may lie outside of it.
    ///
    /// # Errors
    /// The errors are those of [`Table::append`] and [`Table::delete`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn replace(
        &self,
        scope: &Predicate,
        data: BatchSource,
        options: &WriteOptions,
    ) -> Result<Commit> {
        self.update(Some(data), Some(scope), options).await
    }

    /// Removes the rows that `scope` selects. If it names partition columns alone, whole files are
    /// removed and nothing is read; otherwise files with such rows are rewritten without them. The
    /// old files stay in the store for readers of older versions.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) for a column that does not exist or a
    /// value that does not fit it; otherwise those of [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn delete(&self, scope: &Predicate, options: &WriteOptions) -> Result<Commit> {
        self.update(None, Some(scope), options).await
    }

    async fn update(
        &self,
        data: Option<BatchSource>,
        scope: Option<&Predicate>,
        options: &WriteOptions,
    ) -> Result<Commit> {
        if let Some(scope) = scope {
            // An invalid scope is reported before anything is written.
            self.state().bind(scope)?;
        }
        let staged = match data {
            Some(data) => {
                let stage = self.stage(data, options);
                let (staged, ()) = futures::join!(stage, self.store.prepare_commit());
                vec![staged?]
            }
            None => Vec::new(),
        };
        let made = self.commit_staged(staged.clone(), scope, false, options).await;
        let made = undo_on_error(&self.store, &staged, made).await?;
        undo_if_repeated(&self.store, &staged, &made).await;
        Ok(made)
    }

    /// Writes `data` to files that are not yet part of the table. See [`Staged`].
    ///
    /// # Errors
    /// The errors are those of [`Table::append`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn stage(&self, data: BatchSource, options: &WriteOptions) -> Result<Staged> {
        self.check_writable()?;
        // Checked before columns are derived, so that the error is the same as for any other
        // column.
        let sources = [self.date_partition().map(|date| date.column)]
            .into_iter()
            .chain([self.bucket_partition().map(|bucket| bucket.column)]);
        for column in sources.flatten() {
            data.schema().index_of(&column).map_err(|_| missing(&column))?;
        }
        let target = Target::of(&self.store, &self.name, &self.state());
        stage(&target, data, options).await
    }

    /// Adds staged files to the table, and removes the rows that `scope` selects, in one commit. If
    /// it fails the staged files stay, to be committed again or discarded.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if one of them has been committed before,
    /// according to the history; [`StagedExpired`](ErrorKind::StagedExpired) if they were staged so
    /// long ago that garbage collection may remove them, or has; otherwise those of
    /// [`Table::replace`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn commit(
        &self,
        staged: Vec<Staged>,
        scope: Option<&Predicate>,
        options: &WriteOptions,
    ) -> Result<Commit> {
        self.commit_staged(staged, scope, true, options).await
    }

    async fn commit_staged(
        &self,
        staged: Vec<Staged>,
        scope: Option<&Predicate>,
        apart: bool,
        options: &WriteOptions,
    ) -> Result<Commit> {
        let operation = operation_of(!staged.is_empty(), scope.is_some());
        if let Some(scope) = scope
            && !self.selects_partitions(scope)
        {
            return self.remove_rows(scope, staged, operation, apart, options).await;
        }
        let mut change = Change::new(operation);
        change.staged = staged;
        change.staged_apart = apart;
        change.scope = scope.cloned();
        change = change.with(options);
        if change.staged.iter().all(|staged| staged.columns_are == Columns::All) {
            return self.commit_proposed(&change, &options.cancel).await;
        }
        let mut growing = Growing::new(&self.store, &self.name, change, options);
        let made = self.commit_proposed(&mut growing, &options.cancel).await;
        match &made {
            Err(error) if !proves_no_commit(error.kind()) => {}
            Err(_) => growing.clean(false).await,
            Ok(made) => growing.clean(!made.is_repeated()).await,
        }
        made
    }

    /// Sets the annotations of `options`, and removes those set to null, in one commit.
    ///
    /// # Errors
    /// The errors are those of [`Table::append`], and those of [`WriteOptions::annotate`].
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn set_metadata(&self, options: &WriteOptions) -> Result<Commit> {
        let change = Change::new(Operation::Alter).with(options);
        self.commit_proposed(&change, &options.cancel).await
    }

    /// The commit with this id or idempotency key, if it was made and is still in the history: the
    /// query after [`CommitUnknown`](ErrorKind::CommitUnknown), whose context contains the id.
    /// Reads the newest state. Four requests for one of the last 64 commits; for an older one a
    /// listing of the snapshots, and two requests for each later version.
    ///
    /// # Errors
    /// The errors are those of [`Table::open`] and [`Table::history`].
    pub async fn committed(&self, id_or_key: &str) -> Result<Option<SnapshotInfo>> {
        let newest = Arc::new(State::load(&self.store, &self.name).await?);
        for id in [id_or_key.to_owned(), idempotency_id(id_or_key)] {
            let Some(found) = find_commit(&self.store, &newest, &id).await? else { continue };
            let recorded = match found.recorded {
                Some(recorded) => *recorded,
                None => find(&self.store, &newest, At::Number(found.version)).await?,
            };
            return Ok(Some(recorded.info()));
        }
        Ok(None)
    }

    /// Commits the change that `change` proposes for the newest state.
    pub(crate) async fn commit_proposed(
        &self,
        change: impl Propose,
        cancel: &Cancel,
    ) -> Result<Commit> {
        self.check_writable()?;
        let turn = self.turn.lock().await;
        let (base, existing) = (Some(self.state()), Existing::Required);
        let (state, made) = commit(&self.store, &self.name, change, base, existing, cancel).await?;
        self.set_state(state);
        drop(turn);
        Ok(made)
    }

    /// Commits a rewrite. It processes the files before it takes its turn, so that other commits of
    /// this process need not wait for it.
    pub(crate) async fn rewrite(&self, mut rewrite: Rewrite) -> Result<Commit> {
        let (cancel, state) = (rewrite.cancel(), self.state());
        // The commit of this key may exist already; then the rewrite is not prepared again.
        let may_be_made = rewrite.alters() && rewrite.is_keyed();
        let prepared = async {
            if may_be_made {
                return Ok(());
            }
            let state = state.completed(&self.store, &cancel).await?;
            rewrite.examine(&state).await
        };
        if let Err(error) = prepared.await {
            rewrite.abandon().await;
            return Err(error);
        }
        match self.commit_proposed(&mut rewrite, &cancel).await {
            Ok(made) if made.is_repeated() => {
                rewrite.abandon().await;
                Ok(made)
            }
            Ok(made) => Ok(made),
            Err(error) => {
                if proves_no_commit(error.kind()) {
                    rewrite.abandon().await;
                }
                Err(error)
            }
        }
    }

    /// A scan of all rows and columns of the current state, which can be narrowed.
    #[must_use]
    pub fn scan(&self) -> Scan {
        Scan::new(self.store.clone(), self.state())
    }
}

/// Deletes the staged files of a commit that certainly failed.
pub(crate) async fn undo_on_error<T>(
    store: &Store,
    staged: &[Staged],
    outcome: Result<T>,
) -> Result<T> {
    if let Err(error) = &outcome
        && proves_no_commit(error.kind())
    {
        discard(store, staged.iter().flat_map(Staged::keys).collect()).await;
    }
    outcome
}

/// Deletes the staged files of a commit that repeated an earlier one.
pub(crate) async fn undo_if_repeated(store: &Store, staged: &[Staged], made: &Commit) {
    if made.is_repeated() {
        discard(store, staged.iter().flat_map(Staged::keys).collect()).await;
    }
}

/// The order of partitions by their values, given one file of each.
fn value_order(values: &RecordBatch, files: &[usize]) -> Result<Vec<usize>> {
    use arrow::compute::{SortColumn, lexsort_to_indices, take};
    if values.num_columns() == 0 {
        return Ok((0..files.len()).collect());
    }
    let rows: arrow::array::UInt64Array = files.iter().map(|file| *file as u64).collect();
    let columns: Result<Vec<SortColumn>> = values
        .columns()
        .iter()
        .map(|column: &ArrayRef| {
            Ok(SortColumn { values: take(column, &rows, None)?, options: None })
        })
        .collect();
    let order = lexsort_to_indices(&columns?, None)?;
    Ok(order.values().iter().map(|i| *i as usize).collect())
}
