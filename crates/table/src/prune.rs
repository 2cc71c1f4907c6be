//! Planning: selecting the files that may match a predicate, by partition key, index and
//! statistics.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::Int64Type;
use futures::future::try_join_all;
use hashbrown::HashSet;
use partita_core::partition::PartitionKey;
use partita_core::predicate::{BoundPredicate, Bounds, Facts};
use partita_core::{Result, Store};

use crate::change::load_index;
use crate::explain::Explain;
use crate::format::index::{Index, value_type};
use crate::format::manifest::Manifest;
use crate::stage::BucketPartition;
use crate::state::{State, partition_keys};

/// The files that a scan must read.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Manifest rows of the files to read.
    pub manifest: Manifest,
    /// Their partition values, row by row.
    pub partitions: RecordBatch,
    /// The partition column that is a hash bucket.
    pub bucket: Option<BucketPartition>,
    pub explain: Explain,
}

/// Plans a scan of `state`. One request per index that the predicate can use, otherwise none.
pub(crate) async fn plan(
    store: &Store,
    state: &State,
    predicate: Option<&BoundPredicate>,
) -> Result<Plan> {
    let partitions = state.partition_values()?;
    let mut explain = Explain {
        files: state.num_files(),
        statistics: state.manifest.is_complete(),
        ..Explain::default()
    };
    let mut plan = Plan {
        manifest: state.manifest.clone(),
        partitions,
        bucket: state.own.derived.bucket.clone(),
        explain: Explain::default(),
    };
    if let Some(predicate) = predicate {
        explain.pruned_by_partition = plan.prune(predicate, &BTreeMap::new(), false)?;
        if !plan.manifest.is_empty() {
            let indices = lookup(store, state, predicate).await?;
            explain.pruned_by_index = plan.prune(predicate, &indices, false)?;
            explain.pruned_by_statistics = plan.prune(predicate, &indices, true)?;
            explain.indices = indices.into_keys().collect();
        }
    }
    Ok(plan.measured(explain))
}

impl Plan {
    /// A plan of only these rows of the manifest.
    pub fn rows(&self, rows: &UInt64Array) -> Result<Self> {
        Ok(Self {
            manifest: self.manifest.take(rows)?,
            partitions: take_record_batch(&self.partitions, rows)?,
            bucket: self.bucket.clone(),
            explain: Explain::default(),
        })
    }

    /// Adds the totals of the files to read to the report.
    pub fn measured(mut self, explain: Explain) -> Self {
        self.explain = Explain {
            files_read: self.manifest.len(),
            rows_at_most: self.manifest.total_rows(),
            bytes_at_most: self.manifest.total_bytes(),
            ..explain
        };
        self
    }

    /// A plan of only the chosen files.
    pub fn only(&self, chosen: &BooleanArray) -> Result<Self> {
        Ok(Self {
            manifest: self.manifest.filter(chosen)?,
            partitions: filter_record_batch(&self.partitions, chosen)?,
            bucket: self.bucket.clone(),
            explain: Explain::default(),
        })
    }

    /// A separate plan for each file.
    pub fn each_file(&self) -> Result<Vec<Self>> {
        (0..self.manifest.len() as u64)
            .map(|row| self.rows(&UInt64Array::from(vec![row])))
            .collect()
    }

    /// The partition key of each file.
    pub fn partition_keys(&self) -> Result<Vec<PartitionKey>> {
        partition_keys(&self.manifest)
    }

    /// Removes the files that cannot match; returns their number.
    fn prune(
        &mut self,
        predicate: &BoundPredicate,
        indices: &BTreeMap<String, Lookup>,
        statistics: bool,
    ) -> Result<usize> {
        let facts = FileFacts {
            bucket: self.bucket.as_ref(),
            manifest: &self.manifest,
            partitions: &self.partitions,
            indices,
            statistics,
        };
        let keep = predicate.may_match(&facts)?;
        let before = self.manifest.len();
        self.manifest = self.manifest.filter(&keep)?;
        self.partitions = filter_record_batch(&self.partitions, &keep)?;
        Ok(before - self.manifest.len())
    }
}

/// An index in memory, and whether it is complete, so that a file missing in it has no values.
struct Lookup {
    index: Index,
    complete: bool,
}

/// Loads the indices of the columns that the predicate names, all at once.
async fn lookup(
    store: &Store,
    state: &State,
    predicate: &BoundPredicate,
) -> Result<BTreeMap<String, Lookup>> {
    let columns = predicate.predicate().columns().into_iter();
    let indices = columns.map(|column| lookup_column(store, state, predicate, column));
    Ok(try_join_all(indices).await?.into_iter().flatten().collect())
}

/// Loads the index of a column, with its name; none if there is no index that can be used.
async fn lookup_column(
    store: &Store,
    state: &State,
    predicate: &BoundPredicate,
    column: String,
) -> Result<Option<(String, Lookup)>> {
    let complete = state.indices_complete;
    let stored = state.header.indices.get(&column);
    let (Some(stored), Ok(field)) = (stored, state.schema.field_with_name(&column)) else {
        return Ok(None);
    };
    let Some(key) = stored.as_str() else {
        // The index was not written by this library; one that cannot be read is ignored.
        let data_type = value_type(field.data_type());
        let loaded = load_index(store, stored, &column, &data_type, None).await;
        return Ok(loaded.ok().map(|index| (column, Lookup { index, complete: false })));
    };
    // The files that an incomplete index covers are only known after reading all of it.
    let lengths = state.index_lengths.get(&column).copied().filter(|_| complete);
    let of = (column.as_str(), field.data_type());
    let index = Index::lookup(store, key, lengths, of, predicate).await?;
    Ok(Some((column, Lookup { index, complete })))
}

struct FileFacts<'a> {
    bucket: Option<&'a BucketPartition>,
    manifest: &'a Manifest,
    partitions: &'a RecordBatch,
    indices: &'a BTreeMap<String, Lookup>,
    statistics: bool,
}

impl Facts for FileFacts<'_> {
    fn len(&self) -> usize {
        self.manifest.len()
    }

    fn exact(&self, column: &str) -> Option<ArrayRef> {
        self.partitions.column_by_name(column).cloned()
    }

    fn bounds(&self, column: &str) -> Option<Bounds> {
        if !self.statistics {
            return None;
        }
        Some(Bounds {
            min: Arc::clone(self.manifest.min(column)?),
            max: Arc::clone(self.manifest.max(column)?),
            null_count: self.manifest.nulls(column).cloned(),
            rows: self.manifest.row_counts().cloned(),
        })
    }

    fn matching(
        &self,
        column: &str,
        test: &dyn Fn(&ArrayRef) -> Result<BooleanArray>,
    ) -> Result<Option<BooleanArray>> {
        let Some(Lookup { index, complete }) = self.indices.get(column) else { return Ok(None) };
        let hits = index.labels_of(&test(index.values())?);
        let labels = self.manifest.labels();
        if *complete {
            return Ok(Some(labels.map(|label| Some(hits.contains(label))).collect()));
        }
        let covered: HashSet<&str> = index.labels().collect();
        let may = |label: &str| hits.contains(label) || !covered.contains(label);
        Ok(Some(labels.map(|label| Some(may(label))).collect()))
    }

    fn holding(&self, column: &str, values: &ArrayRef) -> Result<Option<BooleanArray>> {
        let Some(bucket) = self.bucket.filter(|bucket| bucket.column == column) else {
            return Ok(None);
        };
        let keys = self.partitions.column_by_name(&bucket.name());
        let Some(keys) = keys.and_then(|keys| keys.as_primitive_opt::<Int64Type>()) else {
            return Ok(None);
        };
        // Other writers may have used another number of buckets.
        let known = self.manifest.buckets();
        let own = known.map(|buckets| buckets == Some(bucket.buckets.into()));
        let keys: Int64Array = keys.iter().zip(own).map(|(key, own)| key.filter(|_| own)).collect();
        bucket.holding(&keys, values).map(Some)
    }
}
