//! Groups and arrays of Zarr v2, with consolidated metadata.

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, Result, Store};

use super::codecs::Numcodecs;
use super::config::{fill_json, is_of_bytes};
use crate::codec::Pipeline;
use crate::dataset::{Chunks, Codecs, DType, FillValue, Schema, VariableSchema, fill_item};
use crate::json::{Attributes, Json, Style};
use crate::layout::axis::{AXIS, CHECKSUM};
use crate::layout::config::{Document, damaged};
use crate::layout::stored::{ArrayLayout, ChunkKeys, form_of};
use crate::layout::{KnownArrays, OpenGroup, StoredArray};

/// The document that makes a group complete.
pub(in crate::layout) const GROUP: &str = ".zmetadata";

/// The members of an array's document that determine the encoding of its chunks.
const FORM: [&str; 7] =
    ["chunks", "compressor", "dtype", "fill_value", "filters", "order", "dimension_separator"];

/// Requests of one partition in flight.
const REQUESTS_IN_FLIGHT: usize = 32;

/// The attribute in which xarray stores the dimensions.
const DIMENSIONS: &str = "_ARRAY_DIMENSIONS";

/// Opens a group; none if it does not exist or is incomplete. It costs one request.
pub(in crate::layout) async fn open_group(
    store: &Store,
    prefix: &str,
    schema: &Schema,
    known: &KnownArrays,
) -> Result<Option<OpenGroup>> {
    let key = format!("{prefix}/{GROUP}");
    let Some(bytes) = store.get_opt(&key).await? else { return Ok(None) };
    let decode = || decode_group(prefix, schema, &bytes);
    let group = known.find("", &bytes, decode).map_err(|error| error.with("key", &key))?;
    let place = |name: &str| format!("{prefix}/{name}");
    let moved = |(name, array): &(String, Option<StoredArray>)| {
        (name.clone(), array.as_ref().map(|array| array.moved_to(place(name))))
    };
    Ok(Some(group.iter().map(moved).collect()))
}

/// Like [`open_group`], for arrays in a directory that is not a group. It costs one request per
/// variable.
pub(in crate::layout) async fn open_arrays(
    store: &Store,
    prefix: &str,
    schema: &Schema,
    known: &KnownArrays,
) -> Result<Option<OpenGroup>> {
    let open = async |variable: &VariableSchema| {
        let (name, key) = (&variable.name, format!("{prefix}/{}/.zarray", variable.name));
        let Some(bytes) = store.get_opt(&key).await? else {
            return Ok::<_, Error>((name.clone(), None));
        };
        let decode = || Ok(vec![(name.clone(), Some(array_of(prefix, variable, &bytes, None)?))]);
        let found = known.find(name, &bytes, decode);
        let found = found.map_err(|error| error.with("variable", name).with("key", &key))?;
        let array = found.first().and_then(|(_, array)| array.as_ref());
        Ok((name.clone(), array.map(|array| array.moved_to(format!("{prefix}/{name}")))))
    };
    let arrays: OpenGroup = stream::iter(schema.variables.values())
        .map(open)
        .buffered(REQUESTS_IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(arrays.iter().any(|(_, array)| array.is_some()).then_some(arrays))
}

/// The array that its two documents describe.
pub(in crate::layout) fn array_of(
    prefix: &str,
    variable: &VariableSchema,
    array: &[u8],
    attributes: Option<&[u8]>,
) -> Result<StoredArray> {
    let attributes = attributes.map(Json::parse).transpose()?;
    decode(prefix, variable, &Document(&Json::parse(array)?), attributes.as_ref())
}

fn decode_group(prefix: &str, schema: &Schema, bytes: &[u8]) -> Result<OpenGroup> {
    let json = Json::parse(bytes)?;
    let metadata = Document(&json).get("metadata")?;
    let open = |variable: &VariableSchema| {
        let Some(document) = metadata.get(&format!("{}/.zarray", variable.name)) else {
            return Ok((variable.name.clone(), None));
        };
        let attributes = metadata.get(&format!("{}/.zattrs", variable.name));
        let array = decode(prefix, variable, &Document(document), attributes)
            .map_err(|error| error.with("variable", &variable.name))?;
        Ok((variable.name.clone(), Some(array)))
    };
    schema.variables.values().map(open).collect()
}

/// The array that `.zarray` and `.zattrs` describe.
fn decode(
    prefix: &str,
    variable: &VariableSchema,
    document: &Document<'_>,
    attributes: Option<&Json>,
) -> Result<StoredArray> {
    let compressor = document.0.get("compressor").filter(|json| **json != Json::Null).cloned();
    let filters = document.0.get("filters").and_then(Json::as_list).unwrap_or_default().to_vec();
    let (mut dtype, order) = DType::parse(document.text("dtype")?)?;
    if dtype == DType::Text && is_of_bytes(&filters) {
        dtype = DType::Bytes;
    }
    let fill = FillValue::from_json(dtype, document.get("fill_value")?)?;
    let fortran = document.0.get("order").and_then(Json::as_text) == Some("F");
    let separator = match document.0.get("dimension_separator").and_then(Json::as_text) {
        Some("/") => '/',
        _ => '.',
    };
    let shape = document.sizes("shape")?;
    let mut attributes = attributes.and_then(Json::as_map).cloned().unwrap_or_default();
    let dimensions = match attributes.shift_remove(DIMENSIONS) {
        Some(Json::List(names)) => {
            let text = |json: &Json| json.as_text().map(str::to_owned);
            names.iter().map(text).collect::<Option<_>>().ok_or_else(|| damaged(DIMENSIONS))?
        }
        _ => variable.dimensions.clone(),
    };
    // Collections written before 2023.3.2 keep the attributes in the partitions.
    attributes.extend(variable.attributes.clone());
    let chunks = document.sizes("chunks")?;
    let fill_item = fill_item(dtype, fill.as_ref())?;
    ArrayLayout {
        pipeline: Pipeline::v2(dtype, chunks, &filters, compressor.as_ref(), order, fortran)?,
        shape,
        shard: None,
        keys: ChunkKeys::V2 { separator },
        fill: fill_item,
        form: form_of(document.0, &FORM),
        schema: VariableSchema {
            dtype,
            dimensions,
            fill,
            attributes,
            codecs: Codecs::V2 { compressor, filters, order },
            ..variable.clone()
        },
    }
    .at(format!("{prefix}/{}", variable.name))
}

/// The array of this shape that stores the variable `own` in the group at `prefix`.
pub(in crate::layout) fn array(
    prefix: &str,
    own: &VariableSchema,
    shape: Vec<usize>,
    schema: &Schema,
) -> Result<StoredArray> {
    let codecs = Numcodecs::of(own)?;
    let chunks = chunk_shape(own, &shape, schema);
    let pipeline = Pipeline::v2(
        own.dtype,
        chunks,
        &codecs.filters,
        codecs.compressor.as_ref(),
        codecs.order,
        false,
    )?;
    let mut array = ArrayLayout {
        schema: own.clone(),
        shape,
        pipeline,
        shard: None,
        keys: ChunkKeys::V2 { separator: '.' },
        fill: fill_item(own.dtype, own.fill.as_ref())?,
        form: Json::Null,
    };
    array.form = form_of(&array_document(&array)?, &FORM);
    array.at(format!("{prefix}/{}", own.name))
}

/// The chunk shape: the declared sizes, limited to the size of the array; the whole extent if none
/// is declared.
fn chunk_shape(variable: &VariableSchema, shape: &[usize], schema: &Schema) -> Vec<usize> {
    let declared = |name: &String| schema.dimension(name).and_then(|dimension| dimension.chunks);
    let mut automatic = Vec::new();
    let mut chunks = Vec::with_capacity(shape.len());
    for (axis, (name, extent)) in variable.dimensions.iter().zip(shape).enumerate() {
        let chunk = match declared(name) {
            Some(Chunks::Size(size)) => size.min(*extent),
            Some(Chunks::Auto) => {
                automatic.push(axis);
                *extent
            }
            Some(Chunks::Whole) | None => *extent,
        };
        chunks.push(chunk.max(1));
    }
    let limit = usize::try_from(schema.chunk_bytes.unwrap_or(128 << 20)).unwrap_or(usize::MAX);
    let item = variable.dtype.item_size().unwrap_or(16).max(1);
    for axis in automatic {
        let size = chunks.iter().fold(item, |size, extent| size.saturating_mul(*extent));
        if size > limit
            && let Some(chunk) = chunks.get_mut(axis)
        {
            let row = (size / *chunk).max(1);
            *chunk = (limit / row).clamp(1, *chunk);
        }
    }
    chunks
}

/// The documents of a group that holds `arrays`, in the order in which they must be written: the
/// one that makes the group complete is last.
pub(in crate::layout) fn documents<'a>(
    prefix: &str,
    arrays: impl Iterator<Item = &'a StoredArray>,
) -> Result<Vec<(String, String)>> {
    let group = Json::map([("zarr_format", Json::Int(2))]);
    let attributes = Json::map([]);
    let mut named = vec![(".zattrs".to_owned(), attributes), (".zgroup".to_owned(), group)];
    named.extend(documents_of(arrays)?);
    let consolidated = consolidated(named.iter().cloned().collect());
    named.push(consolidated);
    Ok(texts(prefix, named))
}

/// The documents of some arrays of a group, and the one that makes the group complete, which is
/// `old` without the arrays in `removed`.
pub(in crate::layout) fn edited_documents<'a>(
    prefix: &str,
    old: &[u8],
    arrays: impl Iterator<Item = &'a StoredArray>,
    removed: &[String],
) -> Result<Vec<(String, String)>> {
    let old = Json::parse(old)?;
    let mut metadata =
        old.get("metadata").and_then(Json::as_map).ok_or_else(|| damaged("metadata"))?.clone();
    let mut named = documents_of(arrays)?;
    for name in removed {
        metadata.shift_remove(&format!("{name}/.zarray"));
        metadata.shift_remove(&format!("{name}/.zattrs"));
    }
    metadata.extend(named.iter().cloned());
    metadata.sort_keys();
    named.push(consolidated(metadata));
    Ok(texts(prefix, named))
}

/// The documents of arrays in a directory that is not a group.
pub(in crate::layout) fn array_documents<'a>(
    prefix: &str,
    arrays: impl Iterator<Item = &'a StoredArray>,
) -> Result<Vec<(String, String)>> {
    Ok(texts(prefix, documents_of(arrays)?))
}

fn documents_of<'a>(arrays: impl Iterator<Item = &'a StoredArray>) -> Result<Vec<(String, Json)>> {
    let mut named = Vec::new();
    let mut sorted: Vec<&StoredArray> = arrays.collect();
    sorted.sort_by(|a, b| a.schema.name.cmp(&b.schema.name));
    for array in sorted {
        let name = &array.schema.name;
        named.push((format!("{name}/.zarray"), array_document(array)?));
        named.push((format!("{name}/.zattrs"), attributes_of(&array.schema)));
    }
    Ok(named)
}

/// The stored attributes of an array. Attributes of variables are only in the document of the
/// collection.
fn attributes_of(own: &VariableSchema) -> Json {
    match (own.attributes.get(CHECKSUM), own.dimensions.first()) {
        // For this array ZCollection stores the dimension as a string.
        (Some(checksum), Some(dimension)) if own.name == AXIS => {
            Json::map([(DIMENSIONS, dimension.as_str().into()), (CHECKSUM, checksum.clone())])
        }
        _ => Json::map([(DIMENSIONS, Json::texts(&own.dimensions))]),
    }
}

fn consolidated(metadata: Attributes) -> (String, Json) {
    let document =
        Json::map([("metadata", Json::Map(metadata)), ("zarr_consolidated_format", Json::Int(1))]);
    (GROUP.to_owned(), document)
}

fn texts(prefix: &str, named: Vec<(String, Json)>) -> Vec<(String, String)> {
    let text = |(name, json): (String, Json)| {
        (format!("{prefix}/{name}"), json.to_text(Style::Indented(4)))
    };
    named.into_iter().map(text).collect()
}

fn array_document(array: &ArrayLayout) -> Result<Json> {
    let codecs = Numcodecs::of(&array.schema)?;
    let sorted = |json: Json| match json {
        Json::Map(mut map) => {
            map.sort_keys();
            Json::Map(map)
        }
        other => other,
    };
    let filters = match codecs.filters.is_empty() {
        true => Json::Null,
        false => Json::List(codecs.filters.into_iter().map(sorted).collect()),
    };
    let sizes = |sizes: &[usize]| Json::ints(sizes.iter().map(|size| *size as u64));
    Ok(Json::map([
        ("chunks", sizes(array.pipeline.shape())),
        ("compressor", codecs.compressor.map_or(Json::Null, sorted)),
        ("dtype", Json::Text(array.schema.dtype.name_in(codecs.order))),
        ("fill_value", fill_json(&array.schema)),
        ("filters", filters),
        ("order", "C".into()),
        ("shape", sizes(&array.shape)),
        ("zarr_format", Json::Int(2)),
    ]))
}
