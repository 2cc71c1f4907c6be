//! Reading in two steps: what a read is to give, and later, perhaps elsewhere, its parts.

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

/// How often something is read again because it was moved meanwhile.
const ATTEMPTS: u32 = 20;
/// Partitions looked at at once.
const AT_ONCE: usize = 32;

/// What a read gives, part by part.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// The last commit that it knows.
    pub commit: Known,
    /// The partitions with rows that are wanted, ordered by key.
    pub partitions: Vec<PlannedRows>,
}

/// The number of the last commit that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Of the collection, or of the view itself.
    pub own: u64,
    /// Of a view, that of its base.
    pub base: Option<u64>,
}

/// Rows of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRows {
    /// The partition.
    pub partition: Partition,
    /// Which of its rows, in runs.
    pub rows: Vec<Range<usize>>,
}

/// Rows that a read gives, and how they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRows {
    /// The rows.
    pub rows: PartitionRows,
    /// How many rows a chunk of the partition holds, or a shard; the largest of the variables.
    pub chunk: usize,
}

impl Collection {
    /// What [`Collection::read`] would read: partitions and their rows. No variables are read but
    /// those that the predicate names.
    ///
    /// # Errors
    /// As [`Collection::read`].
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
                    let chosen = stream::iter(chosen).map(rows).buffered(AT_ONCE);
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

    /// Reads rows that a plan names, by the paths of partitions, as the commit `commit` left them, or
    /// an earlier one: all of them into one dataset. The predicate of `options` is not looked at.
    ///
    /// # Errors
    /// As [`Collection::read`]; [`CommitConflict`](ErrorKind::CommitConflict) if a partition was
    /// changed since that commit; [`NotFound`](ErrorKind::NotFound) if that is no partition.
    pub fn read_rows<'a>(
        &'a self,
        rows: &'a [(String, Vec<Range<usize>>)],
        commit: Known,
        options: &'a ReadOptions,
    ) -> BoxFuture<'a, Result<Dataset>> {
        async move {
            for _ in 0..ATTEMPTS {
                let newest = self.snapshot().await?;
                // Where old states are kept, the read is of the one that was planned.
                let earlier = newest.earlier(commit).await?;
                let is_planned = earlier.is_some();
                let snapshot = earlier.unwrap_or(newest);
                let chosen = |(path, runs): &(String, Vec<Range<usize>>)| {
                    let key = snapshot.config.partitioning.parse(path).ok_or_else(|| {
                        Error::new(ErrorKind::NotFound, "that is no partition of this collection")
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
                // The records are those since the commit, of either layer.
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

    /// Which rows of a dataset belong to which partitions, ordered by key. Looks at nothing but the
    /// variables by which rows are partitioned.
    ///
    /// # Errors
    /// As [`Partitioning::split`](crate::Partitioning::split).
    pub fn places(&self, data: &Dataset) -> Result<Vec<PartitionRows>> {
        let config = self.config();
        let place = |group: Group| PartitionRows {
            partition: Partition {
                path: config.partitioning.path(&group.key, config.layout.digits()),
                key: group.key,
            },
            rows: group.rows,
        };
        Ok(config.partitioning.split(data)?.into_iter().map(place).collect())
    }

    /// The number of the last commit.
    ///
    /// # Errors
    /// As [`Collection::open`].
    pub async fn last_commit(&self) -> Result<Known> {
        Ok(self.snapshot().await?.known())
    }

    /// Writers were always faster than a reader.
    pub(crate) fn unsteady(&self) -> Error {
        Error::new(
            ErrorKind::CommitConflict,
            "writers replaced what was being read, each time; read less at once",
        )
        .with("store", self.url())
    }
}

impl Snapshot {
    fn known(&self) -> Known {
        Known { own: self.latest, base: self.under.as_ref().map(|under| under.latest) }
    }
}
