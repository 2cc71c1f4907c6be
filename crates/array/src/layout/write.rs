//! Writing the arrays of a group.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Documents written concurrently.
const DOCUMENTS_IN_FLIGHT: usize = 32;
/// Upload window for remote stores: up to 64 chunks or 64 MiB (uncompressed) in flight, plus as
/// much being encoded.
const CHUNKS_IN_FLIGHT: usize = 64;
const BYTES_IN_FLIGHT: usize = 64 << 20;
/// Limits per core: up to this many chunks of at most this many bytes (uncompressed), and at least
/// one chunk.
const CHUNKS_PER_CORE: usize = 3;
const BYTES_PER_CORE: usize = 32 << 20;

/// The arrays and documents of a group to be written.
#[derive(Debug, Default)]
pub(crate) struct GroupPlan {
    arrays: Vec<Planned>,
    /// Keys and texts. The last document makes the group complete.
    documents: Vec<(String, String)>,
}

/// An array, its rows from `start` on, and the range of them that is written.
#[derive(Debug)]
struct Planned {
    array: Arc<StoredArray>,
    data: Rows,
    start: usize,
    written: Range<usize>,
    /// True if the array is written as a whole.
    whole: bool,
}

/// One object to be written.
struct Chunk {
    array: Arc<StoredArray>,
    rows: ChunkRows,
    place: Vec<usize>,
}

impl Chunk {
    /// Encodes the chunk. Returns the key and content of its object; none if it need not be stored.
    async fn encode(self, work: &Work) -> Result<Option<(String, Bytes)>> {
        let Self { array, rows, place } = self;
        work.cancel.check()?;
        let key = array.key(&place);
        let name = array.schema.name.clone();
        let named = |error: Error| error.with("variable", &name);
        rows.load(&work.cores).await.map_err(named)?;
        let pool = work.cores.buffers();
        let encode = move || {
            let encoded = encode(&array, &rows.pieces(), &place, &pool);
            rows.give_back(&pool);
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

    /// The chunks that hold the rows to be written.
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
    /// Plans a whole group at `prefix`; `key` is the key of the partition, if it is one. Chunks and
    /// dimensions are those of the collection's schema.
    pub fn group(
        config: &Config,
        prefix: &str,
        key: Option<&Key>,
        dataset: &Dataset,
    ) -> Result<Self> {
        Self::joined_group(config, prefix, key, dataset, None)
    }

    /// Like [`GroupPlan::group`], for rows that may be joined with existing rows of the group;
    /// these are read when each chunk is encoded.
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

    /// Plans some variables of the group at `prefix`, which also has others. `old` is the document
    /// that makes it complete, if the layout has one; `removed` are variables that are dropped.
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
                    Error::corrupt("the partition is incomplete: its metadata document is missing")
                        .with("partition", prefix)
                })?;
                plan.documents = v2::edited_documents(prefix, old, arrays, removed)?;
            }
            // The document of the group itself stays unchanged.
            Layout::ZarrV3 => drop(plan.documents.pop()),
        }
        Ok(plan)
    }

    /// Adds the copy of the base's axis, in one chunk, to the partition of a view at `prefix`.
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

    /// Adds rows of an existing array that otherwise stays unchanged: those of whole objects, from
    /// the row `start` on.
    pub fn add_rows(&mut self, array: Arc<StoredArray>, start: usize, data: Array) {
        self.arrays.push(Planned::new(array, Rows::of(data), start, false));
    }

    /// Restricts the plan to these rows; all others stay as they are stored. Every array must have
    /// the partitioned dimension first, and its objects must end where the range begins and ends.
    pub fn keep_all_but(&mut self, rows: &Range<usize>) {
        for planned in &mut self.arrays {
            (planned.written, planned.whole) = (rows.clone(), false);
        }
    }

    /// The planned arrays.
    pub fn arrays(&self) -> impl Iterator<Item = &StoredArray> {
        self.arrays.iter().map(|planned| planned.array.as_ref())
    }

    /// The keys, relative to the group, of all objects that the plan replaces: documents, arrays
    /// that are written as a whole, and chunks of others. `old` are the arrays as they were.
    pub fn replaced(&self, prefix: &str, old: &[Arc<StoredArray>]) -> Vec<String> {
        let mut keys: Vec<String> = self.documents.iter().map(|(key, _)| key.clone()).collect();
        for planned in &self.arrays {
            if planned.whole {
                keys.push(planned.array.prefix.clone());
                continue;
            }
            let before = old.iter().find(|old| old.prefix == planned.array.prefix);
            let rows = planned.written.clone();
            // Either the last rows are written, or the number of rows stays the same.
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

    /// Writes everything, each key below the directory `stage` (or at its final place, if that is
    /// empty), and the document that makes the group complete last. Reports progress in bytes
    /// before compression; returns the bytes written.
    pub async fn write(self, store: &Store, stage: &str, work: &Work) -> Result<u64> {
        self.write_beside(store, stage, work, None).await
    }

    /// Like [`GroupPlan::write`], and writes one more object that describes the written objects, as
    /// soon as all of them are encoded: none is written after the others then. `describe` returns
    /// its key and content from the entries of the objects, whose names are their keys without the
    /// stage.
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
            let mut documents = self.documents;
            let last = if describe.is_some() { None } else { documents.pop() };
            let entries = Entries::default();
            for (key, text) in &documents {
                entries.add(key.clone(), text.as_bytes());
            }
            let (encodes, puts) = windows(store.is_local(), largest, cores());
            // Uploading is a separate stage, so that it does not keep a core from encoding the next
            // chunk.
            let encode = |chunk: Chunk| chunk.encode(work);
            let encoded = stream::iter(chunks).map(encode).buffer_unordered(encodes);
            let listed = |encoded: Option<(String, Bytes)>| {
                let (key, bytes) = encoded?;
                let place = staged(stage, &key);
                entries.add(key, &bytes);
                Some((place, bytes))
            };
            let description = async {
                let Some(describe) = describe else { return Ok(None) };
                describe(entries.so_far()).map(Some)
            };
            let pool = work.cores.buffers();
            let put = async |object: Result<Option<(String, Bytes)>>| {
                let Some((place, bytes)) = object? else { return Ok(()) };
                store.put_deferred(&place, bytes.clone()).await?;
                pool.give_object(bytes);
                Ok::<_, Error>(())
            };
            let objects = encoded.map_ok(listed).chain(stream::once(description));
            let objects = objects.map(put).buffer_unordered(puts).try_collect::<()>();
            let document = async |(key, text): (String, String)| {
                store.put_deferred(&staged(stage, &key), text.into()).await
            };
            let documents =
                stream::iter(documents).map(document).buffer_unordered(DOCUMENTS_IN_FLIGHT);
            futures::try_join!(objects, documents.try_collect::<()>())?;
            if let Some((key, text)) = last {
                let place = staged(stage, &key);
                entries.add(key, text.as_bytes());
                store.put_deferred(&place, text.into()).await?;
            }
            Ok(entries.so_far().iter().map(|entry| entry.size).sum())
        }
        .boxed()
    }
}

/// The entries of the objects of a group that are encoded so far.
#[derive(Default)]
struct Entries(Mutex<Vec<ObjectEntry>>);

impl Entries {
    fn add(&self, key: String, content: &[u8]) {
        let entry = ObjectEntry::of(key, content);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    fn so_far(&self) -> Vec<ObjectEntry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Returns the key and content of an object that describes the written objects.
pub(crate) type Describe<'a> =
    Box<dyn FnOnce(Vec<ObjectEntry>) -> Result<(String, Bytes)> + Send + 'a>;

/// The numbers of chunks that are encoded and that are written concurrently, given the size of the
/// largest chunk in bytes.
fn windows(is_local: bool, largest: usize, cores: usize) -> (usize, usize) {
    let largest = largest.max(1);
    let near = cores * (BYTES_PER_CORE / largest).clamp(1, CHUNKS_PER_CORE);
    if is_local {
        return (near, near.min(2 * cores));
    }
    let far = (BYTES_IN_FLIGHT / largest).clamp(near, CHUNKS_IN_FLIGHT.max(near));
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
            let (encodes, puts) = windows(is_local, largest, cores);
            prop_assert!(encodes >= cores && puts >= cores);
            let bytes = BYTES_IN_FLIGHT.max(cores * BYTES_PER_CORE.max(largest));
            prop_assert!(encodes * largest <= bytes && puts * largest <= bytes);
        }
    }
}
