//! Writing the arrays of a group.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Cancel, Error, Progress, Result, Store};
use tokio::task::spawn_blocking;

use super::axis::{CHECKSUM, checksum_of, copy_schema};
use super::region::Region;
use super::stored::grid;
use super::{Config, Layout, StoredArray, v2, v3};
use crate::dataset::{Array, Buffer, Dataset, Schema, VariableSchema};
use crate::partitioning::Key;

/// Arrays and documents of a group, to be written.
#[derive(Debug, Default)]
pub(crate) struct GroupPlan {
    arrays: Vec<Planned>,
    /// Keys and texts, in the order in which they are to be written.
    documents: Vec<(String, String)>,
}

/// An array, and the data of its rows from `start` on.
#[derive(Debug)]
struct Planned {
    array: Arc<StoredArray>,
    data: Array,
    start: usize,
    /// The data are those of the whole array.
    whole: bool,
}

impl Planned {
    /// The rows of the data.
    fn rows(&self) -> Range<usize> {
        let rows = self.data.shape().first().copied().unwrap_or(1);
        self.start..self.start + rows
    }
}

impl GroupPlan {
    /// A whole group at `prefix`; `key` is that of the partition that it is. Chunks and dimensions
    /// are those of the collection's schema. With `start`, the first `start` rows of every array
    /// are there already, and `dataset` holds the others; every variable must have the partitioned
    /// dimension first then.
    pub fn group(
        config: &Config,
        prefix: &str,
        key: Option<&Key>,
        dataset: &Dataset,
        start: usize,
    ) -> Result<Self> {
        let mut plan = Self::default();
        plan.add_group(config, prefix, key, dataset, start, &mut vec![&config.schema])?;
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
        plan.add_group(config, prefix, None, dataset, 0, &mut vec![&config.schema])?;
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
            data: items.clone(),
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
        dataset: &Dataset,
        start: usize,
        schemas: &mut Vec<&'a Schema>,
    ) -> Result<()> {
        for variable in dataset.variables() {
            let mut shape = variable.data().shape().to_vec();
            if let Some(first) = shape.first_mut() {
                *first += start;
            }
            let own = variable.schema();
            let array = match config.layout {
                Layout::ZarrV2 => v2::array(prefix, own, shape, &config.schema),
                Layout::ZarrV3 => v3::array(prefix, own, shape, schemas),
            };
            let array = array.map_err(|error| error.with("variable", &own.name))?;
            if config.layout == Layout::ZarrV3 {
                self.documents.push(v3::array_document(&array)?);
            }
            let data = variable.data().clone();
            let array = Arc::new(array);
            self.arrays.push(Planned { array, data, start, whole: start == 0 });
        }
        for (name, group) in dataset.groups() {
            let schema: Option<&'a Schema> =
                schemas.last().and_then(|schema| schema.groups.get(name));
            schemas.extend(schema);
            self.add_group(config, &format!("{prefix}/{name}"), None, group, start, schemas)?;
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
        self.arrays.push(Planned { array, data, start, whole: false });
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
            let before = before.map(|old| (*old, planned.start..old.rows()));
            for (array, rows) in
                before.into_iter().chain([(planned.array.as_ref(), planned.rows())])
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

    /// Writes everything, each key below the directory `stage` (or in its place, if that is empty):
    /// chunks first, the document that
    /// makes the group complete last. Tells `progress` about bytes before compression; returns the
    /// bytes written.
    pub fn write<'a>(
        self,
        store: &'a Store,
        stage: &'a str,
        progress: &'a dyn Progress,
        cancel: &'a Cancel,
    ) -> BoxFuture<'a, Result<u64>> {
        async move {
            let mut chunks = Vec::new();
            for planned in self.arrays {
                let rows = planned.rows();
                let Planned { array, data, start, .. } = planned;
                let mut extents: Vec<Range<usize>> =
                    array.shape.iter().map(|extent| 0..*extent).collect();
                if let Some(first) = extents.first_mut() {
                    *first = rows;
                }
                for place in grid(&extents, array.pipeline.shape()) {
                    chunks.push((Arc::clone(&array), data.clone(), start, place));
                }
            }
            let run = async |(array, data, start, place): (
                Arc<StoredArray>,
                Array,
                usize,
                Vec<usize>,
            )| {
                cancel.check()?;
                let key = staged(stage, &array.key(&place));
                let name = array.schema.name.clone();
                let encode = move || encode(&array, &data, start, &place);
                let encoded = spawn_blocking(encode).await.map_err(stopped)?;
                let (bytes, size) = encoded.map_err(|error| error.with("variable", name))?;
                progress.advance(size as u64);
                let Some(bytes) = bytes else { return Ok(0) };
                let written = bytes.len() as u64;
                store.put_deferred(&key, bytes).await?;
                Ok::<_, Error>(written)
            };
            let at_once =
                std::thread::available_parallelism().map_or(4, usize::from).saturating_mul(2);
            let written = stream::iter(chunks).map(run).buffer_unordered(at_once);
            let mut bytes = written.try_fold(0, async |sum, size| Ok(sum + size)).await?;
            for (key, text) in self.documents {
                bytes += text.len() as u64;
                store.put_deferred(&staged(stage, &key), text.into()).await?;
            }
            Ok(bytes)
        }
        .boxed()
    }
}

fn staged(stage: &str, key: &str) -> String {
    if stage.is_empty() { key.to_owned() } else { format!("{stage}/{key}") }
}

/// The object at a place of the grid, and the bytes of its items; none if it need not be stored
/// because every item is the fill value. `data` are the rows from `start` on.
fn encode(
    array: &StoredArray,
    data: &Array,
    start: usize,
    place: &[usize],
) -> Result<(Option<Bytes>, usize)> {
    let shape = array.pipeline.shape();
    let (mut extent, mut from) = (Vec::new(), Vec::new());
    for (axis, ((i, size), whole)) in place.iter().zip(shape).zip(&array.shape).enumerate() {
        let skipped = if axis == 0 { start } else { 0 };
        from.push((i * size).saturating_sub(skipped));
        extent.push((*size).min(whole.saturating_sub(i * size)));
    }
    let to = vec![0; shape.len()];
    let from_shape = data.shape();
    let region = Region { extent: &extent, from_shape, from: &from, to_shape: shape, to: &to };
    let chunk = match data.buffer() {
        // The chunk is the whole array.
        buffer if from_shape == shape => buffer.clone(),
        Buffer::Fixed(bytes) if is_run(shape, from_shape, &extent) => {
            let row = bytes.len().checked_div(from_shape.first().copied().unwrap_or(1));
            let (row, first) = (row.unwrap_or(0), from.first().copied().unwrap_or(0));
            let end = (first + extent.first().copied().unwrap_or(0)) * row;
            Buffer::Fixed(bytes.slice((first * row).min(bytes.len())..end.min(bytes.len())))
        }
        Buffer::Fixed(bytes) => {
            let blank =
                Array::full(array.schema.dtype, shape.to_vec(), array.schema.fill.as_ref())?;
            let mut chunk = blank.bytes().map(|bytes| bytes.to_vec()).unwrap_or_default();
            region.copy(bytes, &mut chunk, array.schema.dtype.item_size().unwrap_or(0));
            Buffer::Fixed(chunk.into())
        }
        buffer @ Buffer::Variable { .. } => {
            let mut items: Vec<&[u8]> = vec![&array.fill; crate::dataset::count(shape)?];
            region.runs(|source, target, length| {
                for (offset, item) in items.iter_mut().skip(target).take(length).enumerate() {
                    *item = buffer.item(source + offset, 0).unwrap_or_default();
                }
            });
            Buffer::of_items(items)?
        }
    };
    let is_fill = match &chunk {
        Buffer::Fixed(bytes) => {
            let size = array.fill.len().max(1);
            bytes.chunks(size).all(|item| item == array.fill)
        }
        Buffer::Variable { offsets, .. } => {
            (0..offsets.len().saturating_sub(1)).all(|i| chunk.item(i, 0) == Some(&array.fill))
        }
    };
    let size = chunk.num_bytes();
    // Without a fill value Zarr v2 leaves open what an object that is missing means.
    let may_be_missing = array.schema.fill.is_some() || array.is_v3();
    if is_fill && may_be_missing {
        return Ok((None, size));
    }
    Ok((Some(array.pipeline.encode(chunk)?), size))
}

/// True if the items of the chunk lie together in the data, and fill it.
fn is_run(shape: &[usize], from_shape: &[usize], extent: &[usize]) -> bool {
    shape == extent && !shape.is_empty() && shape.get(1..) == from_shape.get(1..)
}

fn stopped(error: tokio::task::JoinError) -> Error {
    Error::new(partita_core::ErrorKind::Interrupted, "encoding was stopped").caused_by(error)
}
