//! The table as its users hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatchIterator;
use partita_core::partition::PartitionKey;
use partita_core::store::split_url;
use partita_core::{Cancel, Error, ErrorKind, Predicate, Result, Store, StoreOptions};
use serde_json::{Map, Value};

use crate::change::Change;
use crate::commit::{Commit, Existing, Propose, commit, find_commit, id_of, operation_of};
use crate::draft::Draft;
use crate::format::keys;
use crate::format::schema::missing;
use crate::format::snapshot::Operation;
use crate::history::{At, SnapshotInfo, find};
use crate::options::{BatchSource, CreateOptions, WriteOptions};
use crate::rewrite::Rewrite;
use crate::scan::Scan;
use crate::stage::{BucketPartition, DatePartition, Staged, Target, discard, numbers, stage};
use crate::state::{State, read_header};

/// A table in a store.
///
/// Clones share what they know of the table. Reads see the state that the table was opened at, or
/// that its own last commit made; [`Table::refresh`] sees what others have committed since.
#[derive(Clone)]
pub struct Table {
    store: Store,
    name: Arc<str>,
    state: Arc<RwLock<Arc<State>>>,
    /// Commits of a table and its clones queue up here rather than racing each other.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// True for an older version, which stays where it is.
    pinned: bool,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("url", &self.url()).field("version", &self.version()).finish()
    }
}

/// One partition of a table and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The key; empty for a table that is not partitioned.
    pub key: PartitionKey,
    /// Number of files.
    pub files: usize,
    /// Number of rows, where known without opening files.
    pub rows: Option<u64>,
    /// Number of row groups, where known.
    pub row_groups: Option<u64>,
    /// Size of the files, where known.
    pub bytes: Option<u64>,
}

impl Table {
    /// Makes an empty table of `schema` at `url`. Atomic; of two that make the same table at once,
    /// one gets [`AlreadyExists`](ErrorKind::AlreadyExists).
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) unless `options.overwrite`;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) or
    /// [`NotFound`](ErrorKind::NotFound) where the schema cannot carry the
    /// partition or index columns; [`ReadOnly`](ErrorKind::ReadOnly).
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

    /// Makes a table out of `data`, in one commit.
    ///
    /// # Errors
    /// As [`Table::create`], and as [`Table::append`].
    pub async fn create_from(
        url: &str,
        data: BatchSource,
        options: &CreateOptions,
        store: &StoreOptions,
    ) -> Result<Self> {
        let (root, name) = split_url(url)?;
        Self::create_in(Store::open(&root, store)?, &name, data, options).await
    }

    /// Makes a table out of `data` under `name` in a store.
    ///
    /// # Errors
    /// As [`Table::create_from`].
    pub async fn create_in(
        store: Store,
        name: &str,
        data: BatchSource,
        options: &CreateOptions,
    ) -> Result<Self> {
        let draft = Draft::new_in(store.clone(), name, options.clone())?;
        draft.check_absent().await?;
        let staged = draft.stage(data, &options.write).await?;
        let staged = [staged];
        let made = draft.create_of(staged.to_vec(), false).await;
        let (table, made) = undo_on_error(&store, &staged, made).await?;
        undo_if_repeated(&store, &staged, &made).await;
        Ok(table)
    }

    /// Makes the table that `change` creates.
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

    /// Opens the table at `url`. Two requests; a third where plateau has committed last.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is none;
    /// [`Corrupt`](ErrorKind::Corrupt) if its metadata cannot be read.
    pub async fn open(url: &str, store: &StoreOptions) -> Result<Self> {
        let (root, name) = split_url(url)?;
        Self::open_in(Store::open(&root, store)?, &name).await
    }

    /// Opens the table `name` in a store.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub async fn open_in(store: Store, name: &str) -> Result<Self> {
        keys::check_name(name)?;
        let state = Arc::new(State::load(&store, name).await?);
        Ok(Self::holding(store, name, state))
    }

    /// True if there is a table at `url`.
    ///
    /// # Errors
    /// [`Store`](ErrorKind::Store) if the store cannot be asked.
    pub async fn exists(url: &str, store: &StoreOptions) -> Result<bool> {
        let (root, name) = split_url(url)?;
        keys::check_name(&name)?;
        Ok(read_header(&Store::open(&root, store)?, &name).await?.is_some())
    }

    pub(crate) fn holding(store: Store, name: &str, state: Arc<State>) -> Self {
        let state = Arc::new(RwLock::new(state));
        Self { store, name: name.into(), state, turn: Arc::default(), pinned: false }
    }

    /// The same table, kept at `state`.
    pub(crate) fn pinned(&self, state: Arc<State>) -> Self {
        Self { pinned: true, ..Self::holding(self.store.clone(), &self.name, state) }
    }

    /// Refuses if the table, or its store, is only for reading.
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

    /// The columns and types that scans return.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.state().schema)
    }

    /// The partition columns, outermost first.
    #[must_use]
    pub fn partition_by(&self) -> Vec<String> {
        self.state().partition_by.clone()
    }

    /// What the partition columns are derived from, where they are parts of a date.
    #[must_use]
    pub fn date_partition(&self) -> Option<DatePartition> {
        self.state().own.derived.date.clone()
    }

    /// The column whose hash buckets are a partition column, where there is one.
    #[must_use]
    pub fn bucket_partition(&self) -> Option<BucketPartition> {
        self.state().own.derived.bucket.clone()
    }

    /// The columns with a secondary index.
    #[must_use]
    pub fn index_columns(&self) -> Vec<String> {
        self.state().header.indices.keys().cloned().collect()
    }

    /// The columns of which data files get bloom filters, where a write says nothing else.
    #[must_use]
    pub fn bloom_filters(&self) -> Vec<String> {
        self.state().own.bloom_filters.clone()
    }

    /// The user's annotations, and the time of creation.
    #[must_use]
    pub fn metadata(&self) -> Map<String, Value> {
        self.state().header.user_metadata()
    }

    /// The version of the state that reads see; none for a table that only plateau has written.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        Some(self.state().own.version).filter(|version| *version > 0)
    }

    /// True for an older version, which stays where it is and refuses every change.
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
        let sizes = numbers(&state.manifest, "rows")
            .zip(numbers(&state.manifest, "groups"))
            .zip(numbers(&state.manifest, "bytes"));
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

    /// Moves to the newest state; a table at an older version stays there. Two requests.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub async fn refresh(&self) -> Result<()> {
        if self.pinned {
            return Ok(());
        }
        self.set_state(Arc::new(State::load(&self.store, &self.name).await?));
        Ok(())
    }

    /// Adds rows. Atomic; appends of several writers at once all succeed.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) naming the column;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a null in a partition
    /// column; [`ReadOnly`](ErrorKind::ReadOnly);
    /// [`CommitUnsupported`](ErrorKind::CommitUnsupported);
    /// [`Store`](ErrorKind::Store). Nothing is stored then.
    pub async fn append(&self, data: BatchSource, options: &WriteOptions) -> Result<Commit> {
        self.update(Some(data), None, options).await
    }

    /// Takes out the rows that `scope` selects and adds `data`, in one commit. The scope is decided
    /// on the newest state; `data` may lie outside of it.
    ///
    /// # Errors
    /// As [`Table::append`] and [`Table::delete`].
    pub async fn replace(
        &self,
        scope: &Predicate,
        data: BatchSource,
        options: &WriteOptions,
    ) -> Result<Commit> {
        self.update(Some(data), Some(scope), options).await
    }

    /// Takes out the rows that `scope` selects. Where it names partition columns alone, whole files
    /// go and nothing is read; else files that hold such rows are written again without them. The
    /// old files stay in the store for readers of older versions.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) for a column that does not exist or a
    /// value that does not fit it; else as [`Table::append`].
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
            // A bad scope is told before anything is written.
            scope.bind(&self.schema())?;
        }
        let staged = match data {
            Some(data) => vec![self.stage(data, options).await?],
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
    /// As [`Table::append`].
    pub async fn stage(&self, data: BatchSource, options: &WriteOptions) -> Result<Staged> {
        self.check_writable()?;
        // Before columns are derived, so that the error is that of any other column.
        let sources = [self.date_partition().map(|date| date.column)]
            .into_iter()
            .chain([self.bucket_partition().map(|bucket| bucket.column)]);
        for column in sources.flatten() {
            data.schema().index_of(&column).map_err(|_| missing(&column))?;
        }
        let target = Target::of(&self.store, &self.name, &self.state());
        stage(&target, data, options).await
    }

    /// Makes staged files part of the table, and takes out the rows that `scope` selects, in one
    /// commit. If it fails the staged files stay, to be committed again or discarded.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if one of them has been committed before, as far
    /// as the history tells; [`StagedExpired`](ErrorKind::StagedExpired) if they were staged so long
    /// ago that garbage collection may remove them, or has; else as [`Table::replace`].
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
        self.commit_proposed(&change, &options.cancel).await
    }

    /// Deletes the files of staged data that is not to be committed. Files that were committed all
    /// the same stay.
    pub async fn discard(&self, staged: Vec<Staged>) {
        self.discard_unnamed(&staged).await;
    }

    /// Sets the annotations of `options`, and removes those set to null, in one commit.
    ///
    /// # Errors
    /// As [`Table::append`], and what [`WriteOptions::annotate`] fails with.
    pub async fn set_metadata(&self, options: &WriteOptions) -> Result<Commit> {
        let change = Change::new(Operation::Alter).with(options);
        self.commit_proposed(&change, &options.cancel).await
    }

    /// The commit of this id, or of this idempotency key, if it was made and the history still holds
    /// it: what to ask after [`CommitUnknown`](ErrorKind::CommitUnknown), whose context names the id.
    /// Looks at the newest state. Four requests for one of the last 64 commits; for an older one a
    /// listing of the snapshots, and two requests for each version since.
    ///
    /// # Errors
    /// As [`Table::open`], and as [`Table::history`].
    pub async fn committed(&self, id_or_key: &str) -> Result<Option<SnapshotInfo>> {
        let newest = Arc::new(State::load(&self.store, &self.name).await?);
        for id in [id_or_key.to_owned(), id_of(id_or_key)] {
            let Some(found) = find_commit(&self.store, &newest, &id).await? else { continue };
            let recorded = match found.recorded {
                Some(recorded) => *recorded,
                None => find(&self.store, &newest, At::Version(found.version)).await?,
            };
            return Ok(Some(recorded.info()));
        }
        Ok(None)
    }

    /// Commits what `change` proposes on the newest state.
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

    /// Commits a rewrite. It examines the files before its turn, so that other commits of this
    /// process need not wait for it.
    pub(crate) async fn rewrite(&self, mut rewrite: Rewrite) -> Result<Commit> {
        let (cancel, state) = (rewrite.cancel(), self.state());
        let prepared = async {
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
                if error.kind() != ErrorKind::CommitUnknown {
                    rewrite.abandon().await;
                }
                Err(error)
            }
        }
    }

    /// A read of all rows and columns at the present state, to be narrowed.
    #[must_use]
    pub fn scan(&self) -> Scan {
        Scan::new(self.store.clone(), self.state())
    }
}

/// Deletes the files staged for a commit that failed for certain.
pub(crate) async fn undo_on_error<T>(
    store: &Store,
    staged: &[Staged],
    outcome: Result<T>,
) -> Result<T> {
    if let Err(error) = &outcome
        && error.kind() != ErrorKind::CommitUnknown
    {
        discard(store, staged.iter().flat_map(Staged::keys).collect()).await;
    }
    outcome
}

/// Deletes the files staged for a commit that had been made before.
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
