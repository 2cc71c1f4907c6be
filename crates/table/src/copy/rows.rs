//! Copying a subset of the rows of a table, partition by partition, so that memory does not grow
//! with the table.

use std::sync::Arc;

use arrow::array::UInt64Array;
use futures::{StreamExt, stream};
use indexmap::IndexMap;
use partita_core::partition::PartitionKey;
use partita_core::{NoProgress, Predicate, Result, Store};

use super::CopyOptions;
use crate::Table;
use crate::feed::feed;
use crate::options::WriteOptions;
use crate::prune::{Plan, plan};
use crate::rewrite::unit_schema;
use crate::scan::{BATCH_ROWS, Bound, Read};
use crate::stage::{Staged, Target, discard, stage};
use crate::state::State;

/// The target size of a unit in bytes. Small partitions are combined to share the overhead of
/// staging; the limit bounds the number of files being written.
const UNIT_BYTES: u64 = 16 << 20;

/// The maximum number of units in flight: one can be read while another waits for its last files.
const UNITS_IN_FLIGHT: usize = 2;

impl Table {
    /// Writes the rows of `state` that `scope` selects to files under another name, without adding
    /// them to a table.
    pub(super) async fn copied_rows(
        &self,
        state: &State,
        target: &Store,
        name: &str,
        scope: &Predicate,
        options: &CopyOptions,
    ) -> Result<Vec<Staged>> {
        let target = Target::of(target, name, state);
        let plan = plan(self.store(), state, Some(&state.bind(scope)?)).await?;
        options.progress.start("files copied", Some(plan.manifest.len() as u64));
        let mut units = units(&plan)?;
        if units.is_empty() {
            // An empty unit, so that a copy of no files takes the same path.
            units.push(plan);
        }
        // All units are awaited, even after a failure: their files must be deleted.
        let outcomes: Vec<Result<Staged>> = stream::iter(units)
            .map(|unit| {
                let target = &target;
                async move {
                    let staged = self.copied_unit(state, target, scope, &unit, options).await?;
                    options.progress.advance(unit.manifest.len() as u64);
                    Ok(staged)
                }
            })
            .buffered(UNITS_IN_FLIGHT)
            .collect()
            .await;
        options.progress.finish();
        let mut staged = Vec::with_capacity(outcomes.len());
        let mut failed = None;
        for outcome in outcomes {
            match outcome {
                Ok(one) => staged.push(one),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            discard(&target.store, staged.iter().flat_map(Staged::keys).collect()).await;
            return Err(error);
        }
        Staged::merge(staged)
    }

    async fn copied_unit(
        &self,
        state: &State,
        target: &Target,
        scope: &Predicate,
        unit: &Plan,
        options: &CopyOptions,
    ) -> Result<Staged> {
        options.cancel.check()?;
        let schema = unit_schema(self.store(), &state.schema, &state.extensions, unit).await?;
        let read = Read {
            store: self.store().clone(),
            table: Arc::clone(&state.schema),
            schema: Arc::clone(&schema),
            test: Bound::new(scope, state)?.row_test(),
            batch_rows: BATCH_ROWS,
            account: Arc::default(),
            progress: Arc::new(NoProgress),
            cancel: options.cancel.clone(),
        };
        let write = WriteOptions { cancel: options.cancel.clone(), ..WriteOptions::default() };
        stage(target, feed(schema, read.run(unit)), &write).await
    }
}

/// Groups the files into units of whole partitions, in the order of the table.
fn units(plan: &Plan) -> Result<Vec<Plan>> {
    let mut partitions: IndexMap<PartitionKey, (u64, Vec<u64>)> = IndexMap::new();
    let sizes = plan.manifest.bytes();
    for ((row, key), bytes) in (0..).zip(plan.partition_keys()?).zip(sizes) {
        let (size, rows) = partitions.entry(key).or_default();
        *size += bytes.unwrap_or(0);
        rows.push(row);
    }
    let mut units: Vec<Vec<u64>> = Vec::new();
    let mut room = 0;
    for (size, rows) in partitions.into_values() {
        match units.last_mut() {
            Some(unit) if size <= room => {
                unit.extend(rows);
                room -= size;
            }
            _ => {
                units.push(rows);
                room = UNIT_BYTES.saturating_sub(size);
            }
        }
    }
    units.into_iter().map(|rows| plan.rows(&UInt64Array::from(rows))).collect()
}
