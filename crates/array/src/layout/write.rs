//! Writing the arrays of a group.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::{Error, Result, Store, cores};

use super::axis::{CHECKSUM, checksum_of, copy_schema};
use super::chunk::encode;
use super::joined::{ChunkRows, Joined, Rows};
use super::stored::grid;
use super::{Config, Layout, StoredArray, v2, v3};
use crate::dataset::{Array, Dataset, Schema, VariableSchema};
use crate::digest::ObjectEntry;
use crate::options::Work;
use crate::partitioning::Key;

/// Documents written at once.
const AT_ONCE: usize = 8;
/// Chunks on their way to a store that is far away, and their bytes before compression, which is
/// more than is sent. As many more may be encoded meanwhile, from rows that lie there too.
const MOST_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 64 << 20;
/// Chunks for each core, whose bytes before compression are no more than this, or one.
const MOST_PER_CORE: usize = 3;
const BYTES_PER_CORE: usize = 32 << 20;

/// Arrays and documents of a group, to be written.
#[derive(Debug, Default)]
pub(crate) struct GroupPlan {
    arrays: Vec<Planned>,
    /// Keys and texts. The last is written when all else is there.
    documents: Vec<(String, String)>,
}

/// An array, its rows from `start` on, and those of them that are written.
#[derive(Debug)]
struct Planned {
    array: Arc<StoredArray>,
    data: Rows,
    start: usize,
    written: Range<usize>,
    /// The array is written as a whole.
    whole: bool,
}

/// One object to be written.
struct Chunk {
    array: Arc<StoredArray>,
    rows: ChunkRows,
    place: Vec<usize>,
}

impl Chunk {
    /// The key and the bytes of the object; none if it need not be stored.
    async fn encode(self, work: &Work) -> Result<Option<(String, Bytes)>> {
        let Self { array, rows, place } = self;
        work.cancel.check()?;
        let key = array.key(&place);
        let name = array.schema.name.clone();
        let named = |error: Error| error.with("variable", &name);
        rows.load(&work.cores).await.map_err(named)?;
        let spare = work.cores.spare();
        let encode = move || {
            let encoded = encode(&array, &rows.pieces(), &place, &spare);
            rows.give_back(&spare);
            encoded
        };
        let (bytes, size) = work.cores.run(encode).await?.map_err(named)?;
        work.progress.advance(size as u64);
        Ok(bytes.map(|bytes| (key, bytes)))
    }
}

impl Planned {
    fn new(array: Arc<StoredArray>, data: Rows, start: usize, whole: bool) -> Self {
        let written = start..start + data.len();
        Self { array, data, start, written, whole }
    }

    /// The objects that hold the rows.
    fn chunks(self) -> Vec<Chunk> {
        let (rows, shape) = (&self.written, self.array.pipeline.shape());
        let mut extents: Vec<Range<usize>> =
            self.array.shape.iter().map(|extent| 0..*extent).collect();
        if let Some(first) = extents.first_mut() {
            *first = rows.clone();
        }
        let height = self.array.object_rows();
        let places = grid(&extents, shape);
        let first = |place: &Vec<usize>| place.first().copied().unwrap_or(0) * height;
        let starts: Vec<usize> = places.iter().map(first).collect();
        let cut = self.data.cut(self.start, rows, height, &starts);
        let chunk = |(place, rows)| Chunk { array: Arc::clone(&self.array), rows, place };
        places.into_iter().zip(cut).map(chunk).collect()
    }
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
        Self::joined_group(config, prefix, key, dataset, None)
    }

    /// As [`GroupPlan::group`], where the rows of the dataset may be joined with those that the
    /// group has: each chunk when it is encoded.
    pub fn joined_group(
        config: &Config,
        prefix: &str,
        key: Option<&Key>,
        dataset: &Dataset,
        joined: Option<&Joined<'_>>,
    ) -> Result<Self> {
        let mut plan = Self::default();
        plan.add_group(config, prefix, key, dataset, joined, &mut vec![&config.schema])?;
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
        plan.add_group(config, prefix, None, dataset, None, &mut vec![&config.schema])?;
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
        self.arrays.push(Planned::new(Arc::new(array), Rows::of(items.clone()), 0, true));
        Ok(())
    }

    fn add_group<'a>(
        &mut self,
        config: &Config,
        prefix: &str,
        key: Option<&Key>,
        dataset: &Dataset,
        joined: Option<&Joined<'_>>,
        schemas: &mut Vec<&'a Schema>,
    ) -> Result<()> {
        for variable in dataset.variables() {
            let own = variable.schema();
            let data = match joined {
                Some(joined) => joined.rows(prefix, variable, &config.dimension)?,
                None => Rows::of(variable.data().clone()),
            };
            let mut shape = data.shape().to_vec();
            if let Some(first) = shape.first_mut() {
                *first = data.len();
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
            self.arrays.push(Planned::new(array, data, 0, true));
        }
        for (name, group) in dataset.groups() {
            let schema: Option<&'a Schema> =
                schemas.last().and_then(|schema| schema.groups.get(name));
            schemas.extend(schema);
            self.add_group(config, &format!("{prefix}/{name}"), None, group, joined, schemas)?;
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
        self.arrays.push(Planned::new(array, Rows::of(data), start, false));
    }

    /// Leaves all rows but these as they are stored. Every array has the partitioned dimension first,
    /// and objects of all begin where the rows begin and end.
    pub fn keep_all_but(&mut self, rows: &Range<usize>) {
        for planned in &mut self.arrays {
            (planned.written, planned.whole) = (rows.clone(), false);
        }
    }

    /// The arrays.
    pub fn arrays(&self) -> impl Iterator<Item = &StoredArray> {
        self.arrays.iter().map(|planned| planned.array.as_ref())
    }

    /// The keys, relative to the group, of everything that this takes the place of: documents,
    /// arrays that are written as a whole, and the chunks of others. `old` are the arrays as they
    /// were.
    pub fn replaced(&self, prefix: &str, old: &[Arc<StoredArray>]) -> Vec<String> {
        let mut keys: Vec<String> = self.documents.iter().map(|(key, _)| key.clone()).collect();
        for planned in &self.arrays {
            if planned.whole {
                keys.push(planned.array.prefix.clone());
                continue;
            }
            let before = old.iter().find(|old| old.prefix == planned.array.prefix);
            let rows = planned.written.clone();
            // The last rows are written, or as many as before stay.
            let stay = rows.end < planned.array.rows();
            let end = |old: &StoredArray| if stay { rows.end } else { old.rows() };
            let before = before.map(|old| (old.as_ref(), rows.start..end(old)));
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
    pub async fn write(self, store: &Store, stage: &str, work: &Work) -> Result<u64> {
        self.write_beside(store, stage, work, None).await
    }

    /// As [`GroupPlan::write`]; together with the last document one more object is written that says
    /// what was written. `describe` gives its key and content from the objects, whose names are their
    /// keys without the stage.
    pub fn write_beside<'a>(
        self,
        store: &'a Store,
        stage: &'a str,
        work: &'a Work,
        describe: Option<Describe<'a>>,
    ) -> BoxFuture<'a, Result<u64>> {
        async move {
            let sizes = self.arrays().filter_map(|array| array.pipeline.num_bytes());
            let largest = sizes.max().unwrap_or(0);
            let chunks: Vec<Chunk> = self.arrays.into_iter().flat_map(Planned::chunks).collect();
            let spare = work.cores.spare();
            let put = async |encoded: Result<Option<(String, Bytes)>>| {
                let Some((key, bytes)) = encoded? else { return Ok(None) };
                store.put_deferred(&staged(stage, &key), bytes.clone()).await?;
                let written = ObjectEntry::of(key, &bytes);
                spare.give_object(bytes);
                Ok::<_, Error>(Some(written))
            };
            let (encodes, puts) = at_once(store.is_local(), largest, cores());
            // What is being written keeps no core from the next chunk.
            let encode = |chunk: Chunk| chunk.encode(work);
            let encoded = stream::iter(chunks).map(encode).buffer_unordered(encodes);
            let chunks = encoded.map(put).buffer_unordered(puts);
            let chunks = chunks.try_filter_map(async |written| Ok(written)).try_collect();
            let mut documents = self.documents;
            let last = documents.pop();
            let document = async |(key, text): (String, String)| {
                let written = ObjectEntry::of(key, text.as_bytes());
                store.put_deferred(&staged(stage, &written.name), text.into()).await?;
                Ok::<_, Error>(written)
            };
            let documents = stream::iter(documents).map(document).buffer_unordered(AT_ONCE);
            let (mut written, documents): (Vec<ObjectEntry>, Vec<ObjectEntry>) =
                futures::try_join!(chunks, documents.try_collect())?;
            written.extend(documents);
            if let Some((key, text)) = &last {
                written.push(ObjectEntry::of(key.clone(), text.as_bytes()));
            }
            let bytes = written.iter().map(|entry| entry.size).sum();
            let describe = async {
                let Some(describe) = describe else { return Ok(()) };
                let (key, content) = describe(written)?;
                store.put_deferred(&key, content).await
            };
            let last = async {
                match last {
                    Some(last) => document(last).await.map(drop),
                    None => Ok(()),
                }
            };
            futures::try_join!(last, describe)?;
            Ok(bytes)
        }
        .boxed()
    }
}

/// The key and the content of an object that says what was written.
pub(crate) type Describe<'a> =
    Box<dyn FnOnce(Vec<ObjectEntry>) -> Result<(String, Bytes)> + Send + 'a>;

/// How many chunks are encoded and how many are written at once, of which the largest has so many
/// bytes.
fn at_once(is_local: bool, largest: usize, cores: usize) -> (usize, usize) {
    let largest = largest.max(1);
    let near = cores * (BYTES_PER_CORE / largest).clamp(1, MOST_PER_CORE);
    if is_local {
        return (near, near.min(2 * cores));
    }
    let far = (BYTES_AT_ONCE / largest).clamp(near, MOST_AT_ONCE.max(near));
    (far, far)
}

fn staged(stage: &str, key: &str) -> String {
    if stage.is_empty() { key.to_owned() } else { format!("{stage}/{key}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cores_have_work_and_memory_is_bounded(
            is_local: bool, largest in 0..2usize << 30, cores in 1..300usize,
        ) {
            let (encodes, puts) = at_once(is_local, largest, cores);
            prop_assert!(encodes >= cores && puts >= cores);
            let bytes = BYTES_AT_ONCE.max(cores * BYTES_PER_CORE.max(largest));
            prop_assert!(encodes * largest <= bytes && puts * largest <= bytes);
        }
    }
}
