//! Excluding partitions by their statistics.

use std::collections::{HashMap, HashSet};

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use futures::FutureExt;
use futures::future::BoxFuture;
use partita_core::Result;
use partita_core::predicate::{Bounds, Facts};

use super::bounds::column_of_bounds;
use super::{PartitionStatistics, Statistics, VariableStatistics};
use crate::commit::Snapshot;
use crate::partitioning::Partitioning;
use crate::select::{Candidate, RowSelection, keys};

impl Snapshot {
    /// Removes candidates that cannot have matching rows according to the statistics of their
    /// variables; for a view, also to those of its base.
    pub(crate) fn pruned<'a>(
        &'a self,
        selection: &'a RowSelection,
        candidates: Vec<Candidate>,
    ) -> BoxFuture<'a, Result<Vec<Candidate>>> {
        async move {
            let candidates = match &self.under {
                None => candidates,
                Some(under) => {
                    let below = |name: &str| self.config.schema.variable(name).is_none();
                    under.pruned_by(selection, candidates, &below).await?
                }
            };
            self.pruned_by(selection, candidates, &|_| true).await
        }
        .boxed()
    }

    /// Like `pruned`, for one layer. Statistics are requested only if the predicate names variables
    /// that have them, and only those that decide something are compared with the store.
    async fn pruned_by(
        &self,
        selection: &RowSelection,
        mut candidates: Vec<Candidate>,
        is_meant: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Vec<Candidate>> {
        let summarised = self.config.summarised();
        let meant = selection.variables.iter().filter(|name| is_meant(name));
        let used = meant.filter(|name| summarised.contains(name));
        let used: Vec<&String> = used.collect();
        let is_open = |candidate: &Candidate| {
            // Statistics describe published objects; a partition with a pending commit has none
            // that apply.
            !candidate.whole
                && !self.pending.iter().any(|record| record.touches(&candidate.partition.path))
        };
        if used.is_empty() || !candidates.iter().any(is_open) {
            return Ok(candidates);
        }
        let mut known = self.known_statistics().await?;
        known.values_mut().for_each(|own| own.retain(|name, _| used.contains(&name)));
        let open: Vec<&Candidate> = candidates.iter().filter(|found| is_open(found)).collect();
        let decided = decide(selection, &open, &known, &self.config.partitioning)?;
        known.retain(|path, _| decided.contains_key(path));
        let number = |own: &PartitionStatistics| own.len();
        let asked: Vec<usize> = known.values().map(number).collect();
        self.retain_valid(&mut known).await?;
        let valid = known.iter().zip(asked).filter(|((_, own), asked)| own.len() == *asked);
        let valid: HashSet<&str> = valid.map(|((path, _), _)| path.as_str()).collect();
        candidates.retain_mut(|candidate| {
            let path = candidate.partition.path.as_str();
            match decided.get(path).filter(|_| valid.contains(path)) {
                Some(Decision::None) => false,
                Some(Decision::All) => {
                    candidate.whole = true;
                    true
                }
                None => true,
            }
        });
        Ok(candidates)
    }
}

/// How many rows of a partition match.
enum Decision {
    None,
    All,
}

/// The decisions that the statistics allow, by the paths of partitions.
fn decide(
    selection: &RowSelection,
    open: &[&Candidate],
    known: &Statistics,
    partitioning: &Partitioning,
) -> Result<HashMap<String, Decision>> {
    let nothing = PartitionStatistics::new();
    let own = open.iter().map(|found| known.get(&found.partition.path).unwrap_or(&nothing));
    let partitions: Vec<_> = open.iter().map(|found| found.partition.clone()).collect();
    let keys = keys(&partitions, partitioning)?;
    let facts = StatisticFacts { selection, keys, own: own.collect() };
    let (may, must) = selection.decide(&facts)?;
    let decisions = open.iter().zip(may.iter().zip(must.iter()));
    let decisions = decisions.filter_map(|(candidate, (may, must))| {
        let decision = match (may, must) {
            (Some(false), _) => Decision::None,
            (_, Some(true)) => Decision::All,
            _ => return None,
        };
        Some((candidate.partition.path.clone(), decision))
    });
    Ok(decisions.collect())
}

/// Facts about the rows of partitions that follow from their statistics.
struct StatisticFacts<'a> {
    selection: &'a RowSelection,
    keys: RecordBatch,
    own: Vec<&'a PartitionStatistics>,
}

impl Facts for StatisticFacts<'_> {
    fn len(&self) -> usize {
        self.own.len()
    }

    fn exact(&self, column: &str) -> Option<ArrayRef> {
        self.keys.column_by_name(column).cloned()
    }

    fn bounds(&self, column: &str) -> Option<Bounds> {
        let data_type = self.selection.column_type(column)?;
        let own = || self.own.iter().map(|own| own.get(column));
        let bound = |of: fn(&VariableStatistics) -> Option<&serde_json::Value>| {
            column_of_bounds(&data_type, own().map(|own| own.and_then(of))).ok()
        };
        let count = |of: fn(&VariableStatistics) -> u64| -> UInt64Array {
            own().map(|own| own.map(of)).collect()
        };
        let (min, max): (ArrayRef, ArrayRef) =
            (bound(|own| own.min.as_ref())?, bound(|own| own.max.as_ref())?);
        let (nulls, rows) = (count(|own| own.nulls), count(|own| own.rows));
        Some(Bounds { min, max, null_count: Some(nulls), rows: Some(rows) })
    }
}
