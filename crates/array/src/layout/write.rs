//! Writing the arrays of a group.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Cancel, Error, Progress, Result, Store};
use tokio::task::spawn_blocking;

use super::region::Region;
use super::stored::grid;
use super::{Config, Layout, StoredArray, v2, v3};
use crate::dataset::{Array, Buffer, Dataset, Schema};
use crate::partitioning::Key;

/// Writes a dataset as the group at `prefix`, chunks first and last of all the document that makes
/// the group complete. `key` is that of the partition that the group is. Chunks and dimensions are
/// those of the collection's schema. Not atomic; idempotent. Returns the keys that were written.
pub(crate) async fn write_group(
    store: &Store,
    config: &Config,
    prefix: &str,
    key: Option<&Key>,
    dataset: &Dataset,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<String>> {
    let mut arrays = Vec::new();
    let mut documents = Vec::new();
    match config.layout {
        Layout::ZarrV2 => {
            for variable in dataset.variables() {
                let array = v2::array(prefix, variable, &config.schema)
                    .map_err(|error| error.with("variable", variable.name()))?;
                arrays.push((array, variable.data().clone()));
            }
            let stored = arrays.iter().map(|(array, _)| array);
            documents = v2::documents(prefix, stored)?;
        }
        Layout::ZarrV3 => {
            collect_v3(
                prefix,
                key,
                dataset,
                &mut vec![&config.schema],
                &mut arrays,
                &mut documents,
            )?;
        }
    }
    progress.start("write", Some(dataset.num_bytes() as u64));
    let mut chunks = Vec::new();
    for (array, data) in arrays {
        let array = Arc::new(array);
        let whole: Vec<_> = array.shape.iter().map(|extent| 0..*extent).collect();
        for place in grid(&whole, array.pipeline.shape()) {
            chunks.push((Arc::clone(&array), data.clone(), place));
        }
    }
    let run = async |(array, data, place): (Arc<StoredArray>, Array, Vec<usize>)| {
        cancel.check()?;
        let key = array.key(&place);
        let name = array.schema.name.clone();
        let encode = move || encode(&array, &data, &place);
        let encoded = spawn_blocking(encode).await.map_err(stopped)?;
        let Some((bytes, size)) = encoded.map_err(|error| error.with("variable", name))? else {
            return Ok(None);
        };
        store.put(&key, bytes).await?;
        progress.advance(size as u64);
        Ok::<_, Error>(Some(key))
    };
    let at_once = std::thread::available_parallelism().map_or(4, usize::from).saturating_mul(2);
    let written: Result<Vec<Option<String>>> =
        stream::iter(chunks).map(run).buffer_unordered(at_once).try_collect().await;
    progress.finish();
    let mut keys: Vec<String> = written?.into_iter().flatten().collect();
    for (key, text) in documents {
        store.put(&key, text.into()).await?;
        keys.push(key);
    }
    Ok(keys)
}

/// The arrays and documents of a group and those below it; the group's own document comes last.
fn collect_v3<'a>(
    prefix: &str,
    key: Option<&Key>,
    dataset: &Dataset,
    schemas: &mut Vec<&'a Schema>,
    arrays: &mut Vec<(StoredArray, Array)>,
    documents: &mut Vec<(String, String)>,
) -> Result<()> {
    for variable in dataset.variables() {
        let array = v3::array(prefix, variable, schemas)
            .map_err(|error| error.with("variable", variable.name()))?;
        documents.push(v3::array_document(&array)?);
        arrays.push((array, variable.data().clone()));
    }
    for (name, group) in dataset.groups() {
        let schema: Option<&'a Schema> = schemas.last().and_then(|schema| schema.groups.get(name));
        schemas.extend(schema);
        collect_v3(&format!("{prefix}/{name}"), None, group, schemas, arrays, documents)?;
        if schema.is_some() {
            schemas.pop();
        }
    }
    documents.push(v3::group_document(prefix, dataset.attributes(), key));
    Ok(())
}

/// The object at a place of the grid, and the bytes of its items; none if it need not be stored
/// because every item is the fill value.
fn encode(array: &StoredArray, data: &Array, place: &[usize]) -> Result<Option<(Bytes, usize)>> {
    let shape = array.pipeline.shape();
    let (mut extent, mut from) = (Vec::new(), Vec::new());
    for ((i, size), whole) in place.iter().zip(shape).zip(&array.shape) {
        from.push(i * size);
        extent.push((*size).min(whole.saturating_sub(i * size)));
    }
    let to = vec![0; shape.len()];
    let region =
        Region { extent: &extent, from_shape: &array.shape, from: &from, to_shape: shape, to: &to };
    let chunk = match data.buffer() {
        // The chunk is the whole array.
        buffer if array.shape == shape => buffer.clone(),
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
    // Without a fill value Zarr v2 leaves open what an object that is missing means.
    let may_be_missing = array.schema.fill.is_some() || array.is_v3();
    if is_fill && may_be_missing {
        return Ok(None);
    }
    let size = chunk.num_bytes();
    let encoded = array.pipeline.encode(chunk)?;
    Ok(Some((encoded, size)))
}

fn stopped(error: tokio::task::JoinError) -> Error {
    Error::new(partita_core::ErrorKind::Interrupted, "encoding was stopped").caused_by(error)
}
