//! Storing new values of some rows of a partition, by writing only the objects that hold them.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use partita_core::{Error, Result};

use crate::collection::Partition;
use crate::commit::{Change, PartitionFacts, Snapshot};
use crate::conform::build;
use crate::dataset::{Array, Dataset, VariableSchema};
use crate::layout::{GroupPlan, StoredArray, open_group, read_listing};
use crate::options::{ReadOptions, Work};
use crate::read::{Wanted, read};
use crate::selection::common;
use crate::statistics::{PartitionStatistics, summarise};

/// New values of selected rows of a partition.
pub(crate) struct Patch<'a> {
    pub snapshot: &'a Snapshot,
    pub partition: &'a Partition,
    /// The rows, as runs.
    pub runs: &'a [Range<usize>],
    /// The variables, with the values of these rows only.
    pub dataset: &'a Dataset,
}

impl Patch<'_> {
    /// Writes the objects that change, and returns the change, which names the objects that it
    /// replaces.
    pub async fn stage(&self, stage: String, work: &Work) -> Result<Change> {
        let (config, path) = (&self.snapshot.config, self.partition.path.as_str());
        let schema = self.dataset.schema();
        let opened = open_group(&self.snapshot.store, config, path, &schema).await?;
        let mut whole = HashSet::new();
        let mut rows = Vec::new();
        for (name, array) in opened.into_iter().flatten() {
            let fits = |array: &StoredArray| {
                let own = schema.variable(&name);
                own.is_some_and(|own| {
                    own.dtype == array.schema.dtype
                        && own.dimensions == array.schema.dimensions
                        && own.axis(&config.dimension) == Some(0)
                })
            };
            match array.filter(fits) {
                Some(array) => rows.extend(self.objects(&name, Arc::new(array), work).await?),
                // The variable is not stored yet, or its partitioned dimension is not the first, so
                // that all objects change.
                None => drop(whole.insert(name)),
            }
        }
        let mut plan = match whole.is_empty() {
            true => GroupPlan::default(),
            false => {
                let dataset = self.wholes(&whole, work).await?;
                let listing = read_listing(&self.snapshot.store, config, path).await?;
                GroupPlan::variables(config, path, &dataset, listing.as_deref(), &[])?
            }
        };
        for (array, start, data) in rows {
            plan.add_rows(array, start, data);
        }
        let replaced = plan.replaced(path, &[]);
        let work = work.quiet();
        let statistics = self.statistics(&work).await?;
        let facts = PartitionFacts { statistics, ..PartitionFacts::default() };
        self.snapshot.stage_patch(stage, path, plan, replaced, facts, &work).await
    }

    /// The new statistics of the changed variables that have statistics.
    async fn statistics(&self, work: &Work) -> Result<PartitionStatistics> {
        let config = &self.snapshot.config;
        let is_new = |name: &String| self.dataset.variable(name).is_some();
        let names: HashSet<String> = config.summarised().into_iter().filter(is_new).collect();
        match names.is_empty() {
            true => Ok(PartitionStatistics::new()),
            false => summarise(config, &self.wholes(&names, work).await?),
        }
    }

    /// The new rows of each object that holds selected rows, with the first row of the object.
    /// Objects of which only some rows are selected are read first.
    async fn objects(
        &self,
        name: &str,
        array: Arc<StoredArray>,
        work: &Work,
    ) -> Result<Vec<(Arc<StoredArray>, usize, Array)>> {
        let new = self.dataset.require(name)?.data();
        let (bands, partial) = self.bands(&array);
        let old = match partial.is_empty() {
            true => None,
            false => Some(self.read(name, Some(partial), work).await?),
        };
        let mut patched = Vec::with_capacity(bands.len());
        let (mut from, mut taken) = (0, 0);
        for Band { rows, chosen } in bands {
            let count = chosen.iter().map(Range::len).sum::<usize>();
            let values = new.slice(0, taken..taken + count)?;
            taken += count;
            if count == rows.len() {
                patched.push((Arc::clone(&array), rows.start, values));
                continue;
            }
            let old = old
                .as_ref()
                .ok_or_else(|| Error::invalid("the old rows of an object were not read"))?;
            let before = old.slice(0, from..from + rows.len())?;
            from += rows.len();
            let shift = |run: &Range<usize>| run.start - rows.start..run.end - rows.start;
            let places: Vec<_> = chosen.iter().map(shift).collect();
            patched.push((Arc::clone(&array), rows.start, replaced(&before, 0, &places, &values)?));
        }
        Ok(patched)
    }

    /// The bands of objects with selected rows, and the rows of those bands that also have others.
    fn bands(&self, array: &StoredArray) -> (Vec<Band>, Vec<Range<usize>>) {
        let height = array.object_rows();
        let mut bands: Vec<Band> = Vec::new();
        for run in self.runs {
            let next = run.start / height;
            let known = bands.last().is_some_and(|last| last.rows.start / height == next);
            for number in next + usize::from(known)..run.end.div_ceil(height) {
                let rows = number * height..((number + 1) * height).min(array.rows());
                let from = self.runs.partition_point(|run| run.end <= rows.start);
                let to = self.runs.partition_point(|run| run.start < rows.end);
                let near = self.runs.get(from..to).unwrap_or_default();
                let chosen = common(near, std::slice::from_ref(&rows));
                bands.push(Band { rows, chosen });
            }
        }
        let partial =
            |band: &&Band| band.chosen.iter().map(Range::len).sum::<usize>() < band.rows.len();
        let partial = bands.iter().filter(partial).map(|band| band.rows.clone()).collect();
        (bands, partial)
    }

    /// These variables with all rows of the partition, in which the new values replace old ones.
    async fn wholes(&self, names: &HashSet<String>, work: &Work) -> Result<Dataset> {
        let config = &self.snapshot.config;
        let schema = config.schema.filtered(&|path, _| names.contains(path));
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let old = self.read(name, None, work).await?;
            let variable = self.dataset.require(name)?;
            let axis = variable.schema().axis(&config.dimension).unwrap_or(0);
            found.push((name, replaced(&old, axis, self.runs, variable.data())?));
        }
        build(&schema, "", &|path, own: &VariableSchema| {
            let array = found.iter().find(|(name, _)| *name == path);
            let variable = |(_, array): &(&String, Array)| {
                crate::dataset::Variable::new(own.clone(), array.clone())
            };
            array.map(variable).transpose()
        })
    }

    /// Reads stored rows of one variable.
    async fn read(
        &self,
        name: &str,
        rows: Option<Vec<Range<usize>>>,
        work: &Work,
    ) -> Result<Array> {
        let options = ReadOptions {
            variables: Some(vec![name.to_owned()]),
            work: work.quiet(),
            ..ReadOptions::default()
        };
        let (store, config) = (&self.snapshot.store, &self.snapshot.config);
        let wanted = Wanted { partition: self.partition, rows };
        let found = read(store, config, &[wanted], &options).await?;
        Ok(found.require(name)?.data().clone())
    }
}

/// The rows of one row of objects, and the selected ones among them.
struct Band {
    rows: Range<usize>,
    chosen: Vec<Range<usize>>,
}

/// Returns `old` with the items of `new` at the runs `runs` along an axis.
fn replaced(old: &Array, axis: usize, runs: &[Range<usize>], new: &Array) -> Result<Array> {
    let mut pieces = Vec::with_capacity(runs.len() * 2 + 1);
    let (mut end, mut taken) = (0, 0);
    for run in runs {
        pieces.push(old.slice(axis, end..run.start)?);
        pieces.push(new.slice(axis, taken..taken + run.len())?);
        (end, taken) = (run.end, taken + run.len());
    }
    let length = old.shape().get(axis).copied().unwrap_or(0);
    pieces.push(old.slice(axis, end..length)?);
    Array::concat(&pieces.iter().collect::<Vec<_>>(), axis)
}
