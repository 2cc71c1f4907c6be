//! Reading in two steps: a plan of the rows of a read, and reads of its parts, later and perhaps in
//! other processes.

use std::ops::Range;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result};

use crate::collection::{Collection, Partition};
use crate::commit::Snapshot;
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

impl Collection {
    /// Plans a [`Collection::read`]: returns the partitions and rows that it would read. Only the
    /// variables in the predicate are read.
    ///
    /// # Errors
    /// The same as [`Collection::read`].
    pub fn plan<'a>(&'a self, options: &'a ReadOptions) -> BoxFuture<'a, Result<ReadPlan>> {
        async move {
            for _ in 0..ATTEMPTS {
                let snapshot = self.snapshot().await?;
                let mut paths = vec![immutable_group(snapshot.config.layout).to_owned()];
                let known = KnownArrays::default();
                let found = async {
                    let chosen = snapshot.chosen(options, &mut paths).await?;
                    let rows = async |chosen: Chosen| {
                        let extent = snapshot.extent(&chosen.partition, options, &known).await;
                        let (length, chunk) = extent?;
                        let whole = || Vec::from([Range { start: 0, end: length }]);
                        let rows = chosen.runs.unwrap_or_else(whole);
                        let rows = PartitionRows { partition: chosen.partition, rows };
                        Ok::<_, Error>(PlannedRows { rows, chunk })
                    };
                    let chosen = stream::iter(chosen).map(rows).buffered(PARTITIONS_IN_FLIGHT);
                    Ok(ReadPlan {
                        commit: snapshot.known(),
                        partitions: chosen.try_collect().await?,
                    })
                };
                let found = found.await;
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                if snapshot.is_state_of(options.rows.as_ref(), &paths, true).await? {
                    return found;
                }
            }
            Err(self.unsteady())
        }
        .boxed()
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
                let newest = self.snapshot().await?;
                // If earlier states are kept, the state that was planned is read.
                let earlier = newest.earlier(commit).await?;
                let is_planned = earlier.is_some();
                let snapshot = earlier.unwrap_or(newest);
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
                let found = snapshot.read_chosen(&chosen, options).await;
                if is_planned || snapshot.is_past() {
                    return found;
                }
                let mut since = snapshot.since(commit.own).await?;
                if let Some(under) = &snapshot.under {
                    let below = under.since(commit.base.unwrap_or(0)).await?;
                    since.unknown |= below.unknown;
                    since.records.extend(below.records);
                    since.moved.extend(below.moved);
                }
                // The records are those after the commit, of the collection or of both layers of a
                // view.
                let changed = rows.iter().find(|(path, _)| since.touched(path, 0));
                if let Some((path, _)) = changed {
                    return Err(Error::new(
                        ErrorKind::CommitConflict,
                        "a partition was changed since this read was planned; begin it again",
                    )
                    .with("partition", path)
                    .with("store", self.url()));
                }
                if !rows.iter().any(|(path, _)| since.moved.contains(path)) {
                    return found;
                }
            }
            Err(self.unsteady())
        }
        .boxed()
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
}
