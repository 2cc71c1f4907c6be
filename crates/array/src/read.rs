//! Reading partitions into one dataset.

mod parts;
mod source;

use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Predicate, Result};
use tracing::Instrument;

use parts::selected;
pub(crate) use parts::{OpenPartition, read, read_parts};
use source::{Layer, Source};

use crate::collection::{Collection, Partition};
use crate::commit::Snapshot;
use crate::dataset::Dataset;
use crate::layout::{KnownArrays, StoredArray, immutable_group};
use crate::options::{ReadOptions, Work};
use crate::select::{Candidate, RowSelection, needs_rows, select};
use crate::selection::{Selection, common};

/// How often a read is repeated because commits replaced partitions during it.
const ATTEMPTS: u32 = 20;
/// Partitions opened concurrently.
const PARTITIONS_IN_FLIGHT: usize = 32;
/// Batches of partitions scanned concurrently when a predicate needs row values.
const BATCHES_IN_FLIGHT: usize = 2;

impl Collection {
    /// Reads the selected partitions and variables into one dataset, joined along the partitioned
    /// dimension in the order of the keys. If no partition is selected, that dimension has size 0.
    /// The result is the state that one commit left: if another commit replaces a partition
    /// meanwhile, the read starts again.
    ///
    /// A condition on the axis, or on another variable along the partitioned dimension, selects
    /// rows. For a date axis, the keys exclude partitions first. The variables of the condition are
    /// then read, and only chunks with matching rows are fetched of the others.
    ///
    /// Variables, partitions and chunks are read in parallel, and each chunk is decoded directly
    /// into its place in the result. A variable that a partition lacks is filled with its fill
    /// value.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if a variable does not exist;
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) if the predicate names a column that is
    /// neither a field of the keys nor such a variable; [`Corrupt`](ErrorKind::Corrupt) if stored
    /// data cannot be decoded; [`CommitConflict`](ErrorKind::CommitConflict) if writers kept
    /// changing the partitions, or changed one after its rows were selected;
    /// [`Interrupted`](ErrorKind::Interrupted) once cancelled.
    pub fn read<'a>(&'a self, options: &'a ReadOptions) -> BoxFuture<'a, Result<Dataset>> {
        async move {
            for _ in 0..ATTEMPTS {
                let snapshot = self.snapshot().await?;
                let mut paths = vec![immutable_group(snapshot.config.layout).to_owned()];
                let found = snapshot.read(options, &mut paths).await;
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                if snapshot.is_state_of(options.rows.as_ref(), &paths, false).await? {
                    return found;
                }
            }
            Err(self.unsteady())
        }
        .instrument(tracing::debug_span!("read", dataset = %self.place()))
        .boxed()
    }
}

/// The size of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSize {
    /// The partition.
    pub partition: Partition,
    /// The number of rows along the partitioned dimension.
    pub rows: usize,
    /// The number of objects in which it is stored.
    pub objects: usize,
    /// The total size of these objects in bytes.
    pub bytes: u64,
}

impl Collection {
    /// The sizes of the selected partitions, ordered by key. It reads their metadata and lists
    /// their objects.
    ///
    /// # Errors
    /// The same as [`Collection::partitions`]; [`Corrupt`](ErrorKind::Corrupt) if a partition is
    /// incomplete.
    pub fn sizes<'a>(
        &'a self,
        predicate: Option<&'a Predicate>,
    ) -> BoxFuture<'a, Result<Vec<PartitionSize>>> {
        async move {
            let snapshot = self.snapshot().await?;
            let (options, known) = (ReadOptions::default(), KnownArrays::default());
            let size = async |partition: Partition| {
                let extent = snapshot.extent(&partition, &options, &known).await;
                let (rows, _) = extent?;
                let objects = snapshot.base().list(&format!("{}/", partition.path));
                let (objects, bytes) = objects
                    .try_fold((0, 0), async |(count, bytes), info| {
                        Ok((count + 1, bytes + info.size))
                    })
                    .await?;
                Ok(PartitionSize { partition, rows, objects, bytes })
            };
            let partitions = snapshot.partitions(predicate).await?;
            stream::iter(partitions).map(size).buffered(PARTITIONS_IN_FLIGHT).try_collect().await
        }
        .instrument(tracing::debug_span!("sizes", dataset = %self.place()))
        .boxed()
    }
}

impl Snapshot {
    /// Reads the selected rows. The partitions that are read or scanned are appended to `paths`.
    async fn read(&self, options: &ReadOptions, paths: &mut Vec<String>) -> Result<Dataset> {
        let chosen = self.chosen(options, paths).await?;
        self.read_chosen(&chosen, options).await
    }

    /// The source from which the variables of this state are read.
    pub(crate) fn source(&self) -> Source<'_> {
        let own = Layer { store: &self.store, config: &self.config };
        let under = self.under.as_deref();
        let under = under.map(|under| Layer { store: &under.store, config: &under.config });
        Source { config: &self.whole, layers: std::iter::once(own).chain(under).collect() }
    }

    /// Finds the partitions with selected rows, and these rows. The partitions that are scanned are
    /// appended to `paths`, also if an error follows.
    pub(crate) async fn chosen(
        &self,
        options: &ReadOptions,
        paths: &mut Vec<String>,
    ) -> Result<Vec<Chosen>> {
        let config = &self.whole;
        let chosen = options.rows.as_ref();
        let rows = options.predicate.as_ref().filter(|p| needs_rows(p, &config.partitioning));
        let Some(predicate) = rows else {
            let partitions = self.partitions_of(chosen, options.predicate.as_ref()).await?;
            paths.extend(partitions.iter().map(|partition| partition.path.clone()));
            self.check_synced(&partitions, &options.work).await?;
            let of = |partition: Partition| {
                let runs = chosen.map(|rows| rows.rows_of(&partition).to_vec());
                Chosen { partition, runs }
            };
            return Ok(partitions.into_iter().map(of).collect());
        };
        let partitions = self.partitions_of(chosen, None).await?;
        let (selection, candidates) = RowSelection::new(predicate, partitions, config)?;
        paths.extend(candidates.iter().map(|candidate| candidate.partition.path.clone()));
        let candidates = self.pruned(&selection, candidates).await?;
        if self.under.is_some() {
            let looked_into: Vec<Partition> =
                candidates.iter().map(|candidate| candidate.partition.clone()).collect();
            self.check_synced(&looked_into, &options.work).await?;
        }
        let batches = candidates.chunks(PARTITIONS_IN_FLIGHT);
        let batches = batches.map(|batch| self.rows(&selection, batch, options));
        let batches: Vec<_> = batches.collect();
        let batches: Vec<Vec<Chosen>> =
            stream::iter(batches).buffered(BATCHES_IN_FLIGHT).try_collect().await?;
        let mut found: Vec<Chosen> = batches.into_iter().flatten().collect();
        if let Some(rows) = chosen {
            for one in &mut found {
                let wanted = rows.rows_of(&one.partition);
                let within = one.runs.take().map(|runs| common(&runs, wanted));
                one.runs = Some(within.unwrap_or_else(|| wanted.to_vec()));
            }
            found.retain(|one| one.runs.as_ref().is_none_or(|runs| !runs.is_empty()));
        }
        Ok(found)
    }

    /// The partitions, or those of a row selection, for which the predicate on the fields of keys
    /// is true. With a row selection nothing is listed, except for a view.
    pub(crate) async fn partitions_of(
        &self,
        chosen: Option<&Selection>,
        predicate: Option<&Predicate>,
    ) -> Result<Vec<Partition>> {
        let Some(rows) = chosen else { return self.partitions(predicate).await };
        if self.under.is_some() {
            let mut covered = self.partitions(predicate).await?;
            covered.retain(|partition| !rows.rows_of(partition).is_empty());
            return Ok(covered);
        }
        select(rows.places(), &self.config.partitioning, predicate)
    }

    /// True if no commit can have changed the content that was read from these partitions.
    ///
    /// # Errors
    /// [`CommitConflict`](ErrorKind::CommitConflict) if one was changed after its rows were
    /// selected.
    pub(crate) async fn is_state_of(
        &self,
        chosen: Option<&Selection>,
        paths: &[&str],
        listed: bool,
    ) -> Result<bool> {
        let Some(rows) = chosen else { return self.is_current(paths, listed).await };
        if let Some(under) = &self.under {
            let below = Box::pin(under.is_state_of(chosen, paths, listed)).await?;
            return Ok(below && self.is_steady(&self.since(self.latest).await?, paths, false));
        }
        let since = self.since(rows.commit().min(self.latest)).await?;
        rows.check(&since, paths)?;
        Ok(self.is_steady(&since, paths, false))
    }

    /// Refuses a row selection if its partitions were changed after its commit. A selection for a
    /// view has the commit numbers of its base.
    ///
    /// # Errors
    /// [`CommitConflict`](ErrorKind::CommitConflict).
    pub(crate) async fn check_chosen(&self, rows: &Selection, paths: &[&str]) -> Result<()> {
        let of = self.under.as_deref().unwrap_or(self);
        rows.check(&of.since(rows.commit().min(of.latest)).await?, paths)
    }

    /// Reads the selected rows.
    pub(crate) fn read_chosen<'a>(
        &'a self,
        chosen: &'a [Chosen],
        options: &'a ReadOptions,
    ) -> BoxFuture<'a, Result<Dataset>> {
        async move {
            let wanted = chosen
                .iter()
                .map(|chosen| Wanted { partition: &chosen.partition, rows: chosen.runs.clone() });
            let wanted: Vec<Wanted<'_>> = wanted.collect();
            Ok(read_parts(&self.source(), &wanted, options).await?.0)
        }
        .boxed()
    }

    /// The number of rows of a partition; for a view, that of its base, after a check that both are
    /// in sync.
    pub(crate) async fn length(&self, partition: &Partition) -> Result<usize> {
        if let Some(under) = &self.under {
            self.check_synced(std::slice::from_ref(partition), &Work::default()).await?;
            return Box::pin(under.length(partition)).await;
        }
        let (options, known) = (ReadOptions::default(), KnownArrays::default());
        Ok(self.extent(partition, &options, &known).await?.0)
    }

    /// The number of rows of a partition, and the largest number of rows in a chunk of the
    /// variables that are read. `known` is shared by calls with the same options.
    pub(crate) async fn extent(
        &self,
        partition: &Partition,
        options: &ReadOptions,
        known: &KnownArrays,
    ) -> Result<(usize, usize)> {
        let dimension = self.whole.dimension.as_str();
        let schema = selected(&self.whole.schema, options.variables.as_deref())?;
        let schema = schema.filtered(&|_, variable| variable.axis(dimension).is_some());
        let (arrays, rows) = self.source().open(&schema, partition, known).await?;
        let chunk = |array: &Arc<StoredArray>| {
            array.pipeline.shape().get(array.schema.axis(dimension)?).copied()
        };
        Ok((rows, arrays.values().filter_map(chunk).max().unwrap_or(rows)))
    }

    /// Scans candidate partitions, and returns those with selected rows.
    async fn rows(
        &self,
        selection: &RowSelection,
        candidates: &[Candidate],
        options: &ReadOptions,
    ) -> Result<Vec<Chosen>> {
        let config = &self.whole;
        let open = candidates.iter().filter(|candidate| !candidate.whole);
        let open: Vec<Partition> = open.map(|candidate| candidate.partition.clone()).collect();
        let options = ReadOptions {
            variables: Some(selection.variables.clone()),
            work: options.work.quiet(),
            ..ReadOptions::default()
        };
        let mut runs = Vec::new();
        if !open.is_empty() {
            let wanted: Vec<Wanted<'_>> = open.iter().map(Wanted::whole).collect();
            let (data, lengths) = read_parts(&self.source(), &wanted, &options).await?;
            runs = selection.rows(&open, &lengths, &config.partitioning, &data)?;
        }
        let mut runs = runs.into_iter();
        let chosen = |candidate: &Candidate| {
            let runs = if candidate.whole { None } else { Some(runs.next().unwrap_or_default()) };
            Chosen { partition: candidate.partition.clone(), runs }
        };
        let is_wanted = |chosen: &Chosen| chosen.runs.as_ref().is_none_or(|runs| !runs.is_empty());
        Ok(candidates.iter().map(chosen).filter(is_wanted).collect())
    }
}

/// Runs of rows, in ascending order.
pub(crate) type Runs = Vec<Range<usize>>;

/// A partition and its selected rows; all rows if `runs` is none.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub partition: Partition,
    pub runs: Option<Runs>,
}

/// A partition to be read, with the runs of rows to read; all rows if `rows` is none.
pub(crate) struct Wanted<'a> {
    pub partition: &'a Partition,
    pub rows: Option<Runs>,
}

impl<'a> Wanted<'a> {
    pub fn whole(partition: &'a Partition) -> Self {
        Self { partition, rows: None }
    }

    pub fn range(partition: &'a Partition, rows: Range<usize>) -> Self {
        Self { partition, rows: Some(vec![rows]) }
    }
}
