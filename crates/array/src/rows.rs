//! Reading in two steps: a plan of the rows of a read, and reads of its parts, later and perhaps in
//! other processes.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result};
use tracing::Instrument;

use crate::collection::{Collection, Partition};
use crate::commit::{Since, Snapshot};
use crate::dataset::Dataset;
use crate::layout::{KnownArrays, immutable_group};
use crate::options::ReadOptions;
use crate::partitioning::Group;
use crate::read::Chosen;

/// How often something is read again because publishing moved it meanwhile.
const ATTEMPTS: u32 = 20;
/// Partitions examined concurrently.
const PARTITIONS_IN_FLIGHT: usize = 32;

/// The rows of a read, by partition.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// The last commit that the plan reflects.
    pub commit: Known,
    /// The partitions with selected rows, ordered by key.
    pub partitions: Vec<PlannedRows>,
}

/// The number of the last known commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The commit of the collection, or of the view itself.
    pub own: u64,
    /// For a view, the commit of its base.
    pub base: Option<u64>,
}

/// Rows of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRows {
    /// The partition.
    pub partition: Partition,
    /// The rows, as runs.
    pub rows: Vec<Range<usize>>,
}

/// Selected rows of a partition, and how they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRows {
    /// The rows.
    pub rows: PartitionRows,
    /// The largest number of rows in a chunk, or shard, of the variables of the partition.
    pub chunk: usize,
}

/// A read of which only the small parts were read.
#[derive(Debug)]
pub struct LazyRead {
    /// The rows of the read.
    pub plan: ReadPlan,
    /// The variables of the read with no rows, and those without the partitioned dimension.
    pub template: Dataset,
    /// The variables that have the name of the partitioned dimension, with all rows; none if the
    /// read has no such variable.
    pub axis: Option<Dataset>,
}

/// The state of which rows were read last. Reads of other rows of it need not look again at what
/// the collection is; whether it changed is compared after each of them.
#[derive(Default)]
pub(crate) struct LastState(RwLock<Option<(Instant, Arc<Snapshot>)>>);

impl LastState {
    /// The state, if rows that were planned at a commit can be read of it.
    fn get(&self, commit: Known) -> Option<Arc<Snapshot>> {
        let last = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (taken, snapshot) = last.as_ref()?;
        let is_kept = snapshot.is_kept(taken.elapsed().as_secs());
        (is_kept && snapshot.shows(commit)).then(|| Arc::clone(snapshot))
    }

    fn set(&self, taken: Instant, snapshot: Arc<Snapshot>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((taken, snapshot));
    }

    fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Collection {
    /// Plans a [`Collection::read`]: returns the partitions and rows that it would read. Only the
    /// variables in the predicate are read.
    ///
    /// # Errors
    /// The same as [`Collection::read`].
    pub fn plan<'a>(&'a self, options: &'a ReadOptions) -> BoxFuture<'a, Result<ReadPlan>> {
        async move {
            for _ in 0..ATTEMPTS {
                let taken = Instant::now();
                let snapshot = self.snapshot().await?;
                let mut paths = vec![immutable_group(snapshot.config.layout).to_owned()];
                let found = snapshot.plan(options, &mut paths).await;
                if self.is_steady(taken, snapshot, options, &paths).await? {
                    return found;
                }
            }
            Err(self.unsteady())
        }
        .boxed()
    }

    /// Plans a [`Collection::read`], and reads of the same state what somebody needs who reads the
    /// rest later, by [`Collection::read_rows`].
    ///
    /// # Errors
    /// The same as [`Collection::read`].
    pub fn read_lazily<'a>(&'a self, options: &'a ReadOptions) -> BoxFuture<'a, Result<LazyRead>> {
        async move {
            for _ in 0..ATTEMPTS {
                let taken = Instant::now();
                let snapshot = self.snapshot().await?;
                let mut paths = vec![immutable_group(snapshot.config.layout).to_owned()];
                let found = snapshot.read_lazily(options, &mut paths).await;
                if self.is_steady(taken, snapshot, options, &paths).await? {
                    return found;
                }
            }
            Err(self.unsteady())
        }
        .boxed()
    }

    /// Whether what was found at these paths, and which partitions there are, is what a commit
    /// left. If so, rows of this state may be read next.
    async fn is_steady(
        &self,
        taken: Instant,
        snapshot: Snapshot,
        options: &ReadOptions,
        paths: &[String],
    ) -> Result<bool> {
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let is_steady = snapshot.is_state_of(options.rows.as_ref(), &paths, true).await?;
        if is_steady {
            self.last_state().set(taken, Arc::new(snapshot));
        }
        Ok(is_steady)
    }

    /// Reads rows of a plan into one dataset. `rows` names partitions by their paths; `commit` is
    /// that of the plan, or an earlier one. The predicate of `options` is ignored.
    ///
    /// # Errors
    /// The same as [`Collection::read`]; [`CommitConflict`](ErrorKind::CommitConflict) if a
    /// partition was changed since that commit; [`NotFound`](ErrorKind::NotFound) if a path is not
    /// that of a partition.
    pub fn read_rows<'a>(
        &'a self,
        rows: &'a [(String, Vec<Range<usize>>)],
        commit: Known,
        options: &'a ReadOptions,
    ) -> BoxFuture<'a, Result<Dataset>> {
        async move {
            for _ in 0..ATTEMPTS {
                let taken = Instant::now();
                let last = self.last_state().get(commit);
                let is_known = last.is_some();
                let snapshot = match last {
                    Some(last) => last,
                    None => Arc::new(self.planned(commit).await?),
                };
                let found = self.read_rows_of(&snapshot, rows, options).await;
                if snapshot.is_past() {
                    let paths: Vec<&str> = rows.iter().map(|(path, _)| path.as_str()).collect();
                    if !snapshot.is_current(&paths, false).await? {
                        self.last_state().clear();
                        continue;
                    }
                } else if !snapshot.is_fixed_at(commit) {
                    let since = snapshot.since_both(commit).await?;
                    // The records are those after the commit, of the collection or of both layers
                    // of a view.
                    if let Some((path, _)) = rows.iter().find(|(path, _)| since.touched(path, 0)) {
                        return Err(self.changed(path));
                    }
                    if rows.iter().any(|(path, _)| since.moved.contains(path)) {
                        self.last_state().clear();
                        continue;
                    }
                }
                // What a state names that was taken earlier may be gone.
                if is_known && found.is_err() {
                    self.last_state().clear();
                    continue;
                }
                if !is_known {
                    self.last_state().set(taken, snapshot);
                }
                return found;
            }
            Err(self.unsteady())
        }
        .instrument(tracing::debug_span!("read_rows", dataset = %self.place()))
        .boxed()
    }

    /// The state for reading rows that were planned at a commit: if earlier states are kept, that
    /// of the commit.
    async fn planned(&self, commit: Known) -> Result<Snapshot> {
        let newest = self.snapshot().await?;
        if newest.is_fixed_at(commit) {
            return Ok(newest);
        }
        let earlier = newest.earlier(commit).await?;
        Ok(earlier.unwrap_or(newest))
    }

    async fn read_rows_of(
        &self,
        snapshot: &Snapshot,
        rows: &[(String, Vec<Range<usize>>)],
        options: &ReadOptions,
    ) -> Result<Dataset> {
        let chosen = |(path, runs): &(String, Vec<Range<usize>>)| {
            let key = snapshot.config.partitioning.parse(path).ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    "this is not the path of a partition of this collection",
                )
                .with("partition", path)
                .with("store", self.url())
            })?;
            let partition = Partition { key, path: path.clone() };
            Ok::<_, Error>(Chosen { partition, runs: Some(runs.clone()) })
        };
        let chosen = rows.iter().map(chosen).collect::<Result<Vec<_>>>()?;
        snapshot.read_chosen(&chosen, options).await
    }

    /// The partitions that the rows of a dataset belong to, ordered by key. It uses only the
    /// variables by which rows are partitioned.
    ///
    /// # Errors
    /// The same as [`Partitioning::split`](crate::Partitioning::split).
    pub fn places(&self, data: &Dataset) -> Result<Vec<PartitionRows>> {
        let config = self.config();
        let place = |group: Group| PartitionRows {
            partition: Partition {
                path: config.partitioning.path(&group.key, config.layout.digits()),
                key: group.key,
            },
            rows: group.rows,
        };
        Ok(config.partitioning.split(data, &config.schema)?.into_iter().map(place).collect())
    }

    /// The number of the last commit.
    ///
    /// # Errors
    /// The same as [`Collection::open`].
    pub async fn last_commit(&self) -> Result<Known> {
        Ok(self.snapshot().await?.known())
    }

    fn changed(&self, path: &str) -> Error {
        Error::new(
            ErrorKind::CommitConflict,
            "a partition was changed since this read was planned; begin it again",
        )
        .with("partition", path)
        .with("store", self.url())
    }

    /// The error of a reader that was overtaken by writers in every attempt.
    pub(crate) fn unsteady(&self) -> Error {
        Error::new(
            ErrorKind::CommitConflict,
            "other writers changed partitions during each attempt to read them; read fewer \
             partitions at once",
        )
        .with("store", self.url())
    }
}

impl Snapshot {
    fn known(&self) -> Known {
        Known { own: self.latest, base: self.under.as_ref().map(|under| under.latest) }
    }

    /// Whether this is the state of a commit, or an earlier one, whose content does not change.
    fn is_fixed_at(&self, commit: Known) -> bool {
        self.is_past() || (self.is_in_repository() && self.known() == commit)
    }

    /// Whether rows that were planned at a commit can be read of this state, as far as their
    /// partitions were not changed since. Of a repository, the state of the commit itself is read.
    fn shows(&self, commit: Known) -> bool {
        let own = match self.state() {
            Some(_) => self.latest == commit.own,
            None => self.latest >= commit.own,
        };
        let below = Known { own: commit.base.unwrap_or(0), base: None };
        own && self.under.as_ref().is_none_or(|under| under.shows(below))
    }

    /// The commits after another one, of a view with those of its base.
    async fn since_both(&self, commit: Known) -> Result<Since> {
        let mut since = self.since(commit.own).await?;
        if let Some(under) = &self.under {
            let below = under.since(commit.base.unwrap_or(0)).await?;
            since.unknown |= below.unknown;
            since.records.extend(below.records);
            since.moved.extend(below.moved);
        }
        Ok(since)
    }

    /// The partitions and rows that a read would read. The partitions that are scanned are appended
    /// to `paths`, also if an error follows.
    async fn plan(&self, options: &ReadOptions, paths: &mut Vec<String>) -> Result<ReadPlan> {
        let known = KnownArrays::default();
        let chosen = self.chosen(options, paths).await?;
        let rows = chosen.into_iter().map(|chosen| self.planned_rows(chosen, options, &known));
        let rows: Vec<_> = rows.collect();
        let partitions = stream::iter(rows).buffered(PARTITIONS_IN_FLIGHT).try_collect().await?;
        Ok(ReadPlan { commit: self.known(), partitions })
    }

    async fn planned_rows(
        &self,
        chosen: Chosen,
        options: &ReadOptions,
        known: &KnownArrays,
    ) -> Result<PlannedRows> {
        let (length, chunk) = self.extent(&chosen.partition, options, known).await?;
        let whole = || Vec::from([Range { start: 0, end: length }]);
        let rows = chosen.runs.unwrap_or_else(whole);
        Ok(PlannedRows { rows: PartitionRows { partition: chosen.partition, rows }, chunk })
    }

    /// The same with the small parts of the read.
    async fn read_lazily(
        &self,
        options: &ReadOptions,
        paths: &mut Vec<String>,
    ) -> Result<LazyRead> {
        let plan = self.plan(options, paths).await?;
        let chosen = |found: &PlannedRows| Chosen {
            partition: found.rows.partition.clone(),
            runs: Some(found.rows.rows.clone()),
        };
        let no_rows = |chosen: Chosen| Chosen {
            partition: chosen.partition,
            runs: Some(Vec::from([Range { start: 0, end: 0 }])),
        };
        // A variable has the same type in all partitions.
        let first: Vec<Chosen> =
            plan.partitions.first().map(chosen).map(no_rows).into_iter().collect();
        let template = self.read_chosen(&first, options).await?;
        let axes = self.axes(options);
        let axis = if axes.is_empty() {
            None
        } else {
            let options = ReadOptions { variables: Some(axes), ..options.clone() };
            let chosen: Vec<Chosen> = plan.partitions.iter().map(chosen).collect();
            Some(self.read_chosen(&chosen, &options).await?)
        };
        Ok(LazyRead { plan, template, axis })
    }

    /// The paths of the variables of a read that have the name of the partitioned dimension.
    fn axes(&self, options: &ReadOptions) -> Vec<String> {
        let dimension = self.whole.dimension.as_str();
        let names = options.variables.clone().unwrap_or_else(|| self.whole.schema.names());
        names.into_iter().filter(|path| path.rsplit('/').next() == Some(dimension)).collect()
    }
}
