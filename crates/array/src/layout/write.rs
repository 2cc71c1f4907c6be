//! Writing the arrays of a group.

use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Error, Result, Store, cores};

use super::axis::{CHECKSUM, checksum_of, copy_schema};
use super::chunk::{Piece, encode};
use super::stored::grid;
use super::{Config, Layout, StoredArray, v2, v3};
use crate::dataset::{Array, Dataset, Schema, VariableSchema};
use crate::options::Work;
use crate::partitioning::Key;

/// Documents written at once.
const AT_ONCE: usize = 8;
/// Chunks on their way to a store that is far away, and their bytes before compression, which is
/// more than is sent.
const MOST_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 128 << 20;

/// Arrays and documents of a group, to be written.
#[derive(Debug, Default)]
pub(crate) struct GroupPlan {
    arrays: Vec<Planned>,
    /// Keys and texts. The last is written when all else is there.
    documents: Vec<(String, String)>,
}

/// Rows that are stored already, and stay.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kept {
    /// So many before those that are written.
    pub before: usize,
    /// So many after them.
    pub after: usize,
}

/// An array, and the data of its rows from `start` on, in pieces that follow each other.
#[derive(Debug)]
struct Planned {
    array: Arc<StoredArray>,
    data: Vec<Array>,
    start: usize,
    /// The data are those of the whole array.
    whole: bool,
}

impl Planned {
    /// The rows of the data.
    fn rows(&self) -> Range<usize> {
        self.start..self.start + self.data.iter().map(length).sum::<usize>()
    }

    /// The pieces with some of these rows.
    fn pieces(&self, rows: &Range<usize>) -> Vec<Piece> {
        let mut next = self.start;
        let pieces = self.data.iter().map(|data| {
            let start = next;
            next += length(data);
            (start, data)
        });
        let touch = |(start, data): &(usize, &Array)| {
            *start < rows.end && rows.start < start + length(data)
        };
        pieces.filter(touch).map(|(start, data)| (start, data.clone())).collect()
    }
}

/// The rows of an array; one without dimensions is one row.
fn length(array: &Array) -> usize {
    array.shape().first().copied().unwrap_or(1)
}

impl GroupPlan {
    /// A whole group at `prefix`; `key` is that of the partition that it is. Chunks and dimensions
    /// are those of the collection's schema.
    pub fn group(
        config: &Config,
        prefix: &str,
        key: Option<&Key>,
        dataset: &Dataset,
    ) -> Result<Self> {
        Self::joined_group(config, prefix, key, std::slice::from_ref(dataset), Kept::default())
    }

    /// As [`GroupPlan::group`], of datasets that follow each other along the partitioned dimension:
    /// each chunk is joined when it is encoded. Where rows are kept, every variable must have that
    /// dimension first, and chunks of all of them begin where the written rows begin and end.
    pub fn joined_group(
        config: &Config,
        prefix: &str,
        key: Option<&Key>,
        datasets: &[Dataset],
        kept: Kept,
    ) -> Result<Self> {
        let mut plan = Self::default();
        let datasets: Vec<&Dataset> = datasets.iter().collect();
        plan.add_group(config, prefix, key, &datasets, kept, &mut vec![&config.schema])?;
        if config.layout == Layout::ZarrV2 {
            let arrays = plan.arrays.iter().map(|planned| planned.array.as_ref());
            plan.documents = match config.view {
                Some(_) => v2::array_documents(prefix, arrays)?,
                None => v2::documents(prefix, arrays)?,
            };
        }
        Ok(plan)
    }

    /// Some variables of the group at `prefix`, which has others too. `old` is the document that
    /// makes it complete, where the layout has one; `removed` are variables that are no more.
    pub fn variables(
        config: &Config,
        prefix: &str,
        dataset: &Dataset,
        old: Option<&[u8]>,
        removed: &[String],
    ) -> Result<Self> {
        let mut plan = Self::default();
        plan.add_group(
            config,
            prefix,
            None,
            &[dataset],
            Kept::default(),
            &mut vec![&config.schema],
        )?;
        match config.layout {
            Layout::ZarrV2 if config.view.is_some() => {
                let arrays = plan.arrays.iter().map(|planned| planned.array.as_ref());
                plan.documents = v2::array_documents(prefix, arrays)?;
            }
            Layout::ZarrV2 => {
                let arrays = plan.arrays.iter().map(|planned| planned.array.as_ref());
                let old = old.ok_or_else(|| {
                    Error::corrupt("the partition is not complete").with("partition", prefix)
                })?;
                plan.documents = v2::edited_documents(prefix, old, arrays, removed)?;
            }
            // The document of the group itself stays as it is.
            Layout::ZarrV3 => drop(plan.documents.pop()),
        }
        Ok(plan)
    }

    /// Adds the copy of the axis of the base, in one chunk, to the partition of a view at `prefix`.
    pub fn add_axis(
        &mut self,
        config: &Config,
        prefix: &str,
        axis: &VariableSchema,
        items: &Array,
    ) -> Result<()> {
        let own = copy_schema(config.layout, axis);
        let own = own.with_attribute(CHECKSUM, checksum_of(items).as_str());
        let shape = items.shape().to_vec();
        let array = match config.layout {
            Layout::ZarrV2 => v2::array(prefix, &own, shape, &Schema::default())?,
            Layout::ZarrV3 => v3::array(prefix, &own, shape, &[])?,
        };
        match config.layout {
            Layout::ZarrV2 => {
                self.documents.extend(v2::array_documents(prefix, std::iter::once(&array))?);
            }
            Layout::ZarrV3 => self.documents.push(v3::array_document(&array)?),
        }
        self.arrays.push(Planned {
            array: Arc::new(array),
            data: vec![items.clone()],
            start: 0,
            whole: true,
        });
        Ok(())
    }

    fn add_group<'a>(
        &mut self,
        config: &Config,
        prefix: &str,
        key: Option<&Key>,
        datasets: &[&Dataset],
        kept: Kept,
        schemas: &mut Vec<&'a Schema>,
    ) -> Result<()> {
        let Some(dataset) = datasets.first() else { return Ok(()) };
        for variable in dataset.variables() {
            let own = variable.schema();
            let data = pieces(datasets, own, &config.dimension)?;
            let mut shape = data.first().map(|piece| piece.shape().to_vec()).unwrap_or_default();
            if let Some(first) = shape.first_mut() {
                *first = kept.before + data.iter().map(length).sum::<usize>() + kept.after;
            }
            let array = match config.layout {
                Layout::ZarrV2 => v2::array(prefix, own, shape, &config.schema),
                Layout::ZarrV3 => v3::array(prefix, own, shape, schemas),
            };
            let array = array.map_err(|error| error.with("variable", &own.name))?;
            if config.layout == Layout::ZarrV3 {
                self.documents.push(v3::array_document(&array)?);
            }
            let array = Arc::new(array);
            let whole = kept.before == 0 && kept.after == 0;
            self.arrays.push(Planned { array, data, start: kept.before, whole });
        }
        for (name, _) in dataset.groups() {
            let groups = datasets.iter().flat_map(|dataset| dataset.groups());
            let groups = groups.filter(|(other, _)| *other == name).map(|(_, group)| group);
            let groups: Vec<&Dataset> = groups.collect();
            let schema: Option<&'a Schema> =
                schemas.last().and_then(|schema| schema.groups.get(name));
            schemas.extend(schema);
            self.add_group(config, &format!("{prefix}/{name}"), None, &groups, kept, schemas)?;
            if schema.is_some() {
                schemas.pop();
            }
        }
        if config.layout == Layout::ZarrV3 {
            self.documents.push(v3::group_document(prefix, dataset.attributes(), key));
        }
        Ok(())
    }

    /// Adds rows of an array that is there and stays as it is otherwise: those of whole objects, from
    /// the row `start` on, with which an object begins.
    pub fn add_rows(&mut self, array: Arc<StoredArray>, start: usize, data: Array) {
        self.arrays.push(Planned { array, data: vec![data], start, whole: false });
    }

    /// The arrays.
    pub fn arrays(&self) -> impl Iterator<Item = &StoredArray> {
        self.arrays.iter().map(|planned| planned.array.as_ref())
    }

    /// The keys, relative to the group, of everything that this takes the place of: documents,
    /// arrays that are written as a whole, and the chunks of others. `old` are the arrays as they
    /// were.
    pub fn replaced(&self, prefix: &str, old: &[&StoredArray]) -> Vec<String> {
        let mut keys: Vec<String> = self.documents.iter().map(|(key, _)| key.clone()).collect();
        for planned in &self.arrays {
            if planned.whole {
                keys.push(planned.array.prefix.clone());
                continue;
            }
            let before = old.iter().find(|old| old.prefix == planned.array.prefix);
            let rows = planned.rows();
            // The last rows are written, or as many as before stay.
            let stay = rows.end < planned.array.rows();
            let end = |old: &StoredArray| if stay { rows.end } else { old.rows() };
            let before = before.map(|old| (*old, rows.start..end(old)));
            for (array, rows) in before.into_iter().chain([(planned.array.as_ref(), rows.clone())])
            {
                let places = array.objects(&rows);
                keys.extend(places.iter().map(|place| array.key(place)));
            }
        }
        let prefix = format!("{prefix}/");
        let relative = |key: String| key.strip_prefix(&prefix).map(str::to_owned);
        let mut keys: Vec<String> = keys.into_iter().filter_map(relative).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Writes everything, each key below the directory `stage` (or in its place, if that is empty),
    /// the document that makes the group complete last. Tells about bytes before
    /// compression; returns the bytes written.
    pub fn write<'a>(
        self,
        store: &'a Store,
        stage: &'a str,
        work: &'a Work,
    ) -> BoxFuture<'a, Result<u64>> {
        async move {
            let (mut chunks, mut largest) = (Vec::new(), 0);
            for planned in self.arrays {
                largest = largest.max(planned.array.pipeline.num_bytes().unwrap_or(0));
                let mut extents: Vec<Range<usize>> =
                    planned.array.shape.iter().map(|extent| 0..*extent).collect();
                if let Some(first) = extents.first_mut() {
                    *first = planned.rows();
                }
                let shape = planned.array.pipeline.shape();
                for place in grid(&extents, shape) {
                    let height = shape.first().copied().unwrap_or(1);
                    let first = place.first().copied().unwrap_or(0) * height;
                    let pieces = planned.pieces(&(first..first + height));
                    chunks.push((Arc::clone(&planned.array), pieces, place));
                }
            }
            let run = async |(array, pieces, place): (Arc<StoredArray>, Vec<Piece>, Vec<usize>)| {
                work.cancel.check()?;
                let key = staged(stage, &array.key(&place));
                let name = array.schema.name.clone();
                let spare = work.cores.spare();
                let own = Arc::clone(&spare);
                let encoded = work.cores.run(move || encode(&array, &pieces, &place, &own)).await?;
                let (bytes, size) = encoded.map_err(|error| error.with("variable", name))?;
                work.progress.advance(size as u64);
                let Some(bytes) = bytes else { return Ok(0) };
                let written = bytes.len() as u64;
                store.put_deferred(&key, bytes.clone()).await?;
                spare.give_object(bytes);
                Ok::<_, Error>(written)
            };
            let at_once = match store.is_local() {
                true => 2 * cores(),
                false => (BYTES_AT_ONCE / largest.max(1)).clamp(2 * cores(), MOST_AT_ONCE),
            };
            let chunks = stream::iter(chunks).map(run).buffer_unordered(at_once);
            let chunks = chunks.try_fold(0, async |sum, size| Ok(sum + size));
            let mut documents = self.documents;
            let last = documents.pop();
            let document = async |(key, text): (String, String)| {
                let size = text.len() as u64;
                store.put_deferred(&staged(stage, &key), text.into()).await?;
                Ok::<_, Error>(size)
            };
            let documents = stream::iter(documents).map(document).buffer_unordered(AT_ONCE);
            let documents = documents.try_fold(0, async |sum, size| Ok(sum + size));
            let (chunks, documents) = futures::try_join!(chunks, documents)?;
            let last = match last {
                Some(last) => document(last).await?,
                None => 0,
            };
            Ok(chunks + documents + last)
        }
        .boxed()
    }
}

fn staged(stage: &str, key: &str) -> String {
    if stage.is_empty() { key.to_owned() } else { format!("{stage}/{key}") }
}

/// The data of a variable of datasets that follow each other along a dimension: of each, if they
/// lie one after the other.
fn pieces(datasets: &[&Dataset], own: &VariableSchema, dimension: &str) -> Result<Vec<Array>> {
    let found = datasets.iter().map(|dataset| Ok(dataset.require(&own.name)?.data()));
    let found: Vec<&Array> = found.collect::<Result<_>>()?;
    match own.axis(dimension) {
        Some(0) => {
            let filled = found.iter().filter(|piece| length(piece) > 0);
            let filled: Vec<Array> = filled.map(|piece| (*piece).clone()).collect();
            let none = || found.into_iter().take(1).cloned().collect();
            Ok(if filled.is_empty() { none() } else { filled })
        }
        Some(axis) => Ok(vec![Array::concat(&found, axis)?]),
        None => Ok(found.into_iter().take(1).cloned().collect()),
    }
}
