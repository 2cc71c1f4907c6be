//! Groups and arrays of Zarr v3.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use half::f16;
use partita_core::{Error, Result, Store, guarded};

use super::codecs::{Chain, sharding};
use super::{IMMUTABLE, PARTITION_KEY, dtype};
use crate::codec::Pipeline;
use crate::dataset::{Chunks, DType, FillValue, Schema, VariableSchema, fill_item};
use crate::json::{Attributes, Json, Style};
use crate::layout::config::{Document, damaged};
use crate::layout::shard::Shard;
use crate::layout::stored::{ArrayLayout, ChunkKeys, form_of};
use crate::layout::{KnownArrays, OpenGroup, StoredArray};
use crate::partitioning::Key;

/// The document of a group or an array.
pub(in crate::layout) const GROUP: &str = "zarr.json";

/// The members of an array's document that determine the encoding of its chunks.
const FORM: [&str; 5] = ["data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs"];

/// Requests of one group in flight.
const REQUESTS_IN_FLIGHT: usize = 32;

/// Opens a group; none if it has none of the variables. It costs one request per variable.
pub(in crate::layout) async fn open_group(
    store: &Store,
    prefix: &str,
    schema: &Schema,
    known: &KnownArrays,
) -> Result<Option<OpenGroup>> {
    let open = async |(path, variable): (String, &VariableSchema)| {
        let prefix = format!("{prefix}/{path}");
        let key = format!("{prefix}/{GROUP}");
        let Some(bytes) = store.get_opt(&key).await? else { return Ok::<_, Error>((path, None)) };
        let decode = || {
            let array = decode(prefix.clone(), variable, &Document(&Json::parse(&bytes)?))?;
            Ok(vec![(path.clone(), Some(array))])
        };
        let found = known.find(&path, &bytes, decode);
        let found = found.map_err(|error| error.with("variable", &path).with("key", &key))?;
        let array = found.first().and_then(|(_, array)| array.as_ref());
        Ok((path, array.map(|array| array.moved_to(prefix))))
    };
    let arrays: OpenGroup =
        stream::iter(schema.paths()).map(open).buffered(REQUESTS_IN_FLIGHT).try_collect().await?;
    Ok(arrays.iter().any(|(_, array)| array.is_some()).then_some(arrays))
}

/// The array that its document describes.
pub(in crate::layout) fn array_of(
    prefix: &str,
    variable: &VariableSchema,
    document: &[u8],
) -> Result<StoredArray> {
    let prefix = format!("{prefix}/{}", variable.name);
    decode(prefix, variable, &Document(&Json::parse(document)?))
}

fn decode(
    prefix: String,
    variable: &VariableSchema,
    document: &Document<'_>,
) -> Result<StoredArray> {
    // The library builds codecs of the configurations in the document.
    guarded(|| decode_checked(prefix, variable, document))
}

fn decode_checked(
    prefix: String,
    variable: &VariableSchema,
    document: &Document<'_>,
) -> Result<StoredArray> {
    if document.text("node_type")? != "array" {
        return Err(damaged("node_type"));
    }
    let dtype = dtype::decode(document.get("data_type")?)?;
    let fill = FillValue::from_json(dtype, document.get("fill_value")?)?;
    let fill_item = fill_item(dtype, fill.as_ref())?;
    let shape = document.sizes("shape")?;
    let grid = document.get("chunk_grid")?;
    if grid.get("name").and_then(Json::as_text) != Some("regular") {
        return Err(Error::invalid("only regular chunk grids are supported"));
    }
    let chunks = grid.get("configuration").ok_or_else(|| damaged("chunk_grid"))?;
    let chunks = Document(chunks).sizes("chunk_shape")?;
    let codecs = document.list("codecs")?;
    let shard = match codecs {
        [only] if only.get("name").and_then(Json::as_text) == Some("sharding_indexed") => {
            let config = only.get("configuration").ok_or_else(|| damaged("codecs"))?;
            Some(Shard::new(dtype, &chunks, config, &fill_item)?)
        }
        _ => None,
    };
    let attributes = document.0.get("attributes").and_then(Json::as_map);
    let dimensions = match document.0.get("dimension_names") {
        Some(Json::List(names)) => {
            let text = |json: &Json| json.as_text().map(str::to_owned);
            let names = names.iter().map(text).collect::<Option<Vec<_>>>();
            names.unwrap_or_else(|| variable.dimensions.clone())
        }
        _ => variable.dimensions.clone(),
    };
    ArrayLayout {
        pipeline: Pipeline::v3(dtype, chunks, codecs, &fill_item)?,
        shape,
        shard,
        keys: chunk_keys(document)?,
        fill: fill_item,
        form: form_of(document.0, &FORM),
        schema: VariableSchema {
            dtype,
            dimensions,
            // The value that marks missing items is that of the collection, not the array's fill
            // value.
            fill: variable.fill.clone(),
            attributes: attributes.cloned().unwrap_or_default(),
            ..variable.clone()
        },
    }
    .at(prefix)
}

fn chunk_keys(document: &Document<'_>) -> Result<ChunkKeys> {
    let encoding = document.get("chunk_key_encoding")?;
    let separator = encoding
        .get("configuration")
        .and_then(|config| config.get("separator"))
        .and_then(Json::as_text);
    match (encoding.get("name").and_then(Json::as_text), separator) {
        (Some("default"), Some("/") | None) => Ok(ChunkKeys::V3 { separator: '/' }),
        (Some("default"), Some(".")) => Ok(ChunkKeys::V3 { separator: '.' }),
        (Some("v2"), Some(".") | None) => Ok(ChunkKeys::V2 { separator: '.' }),
        (Some("v2"), Some("/")) => Ok(ChunkKeys::V2 { separator: '/' }),
        _ => Err(damaged("chunk_key_encoding")),
    }
}

/// The array of this shape that stores the variable `own` in the group at `prefix`. `schemas` are
/// those of the groups around it, the innermost last.
pub(in crate::layout) fn array(
    prefix: &str,
    own: &VariableSchema,
    shape: Vec<usize>,
    schemas: &[&Schema],
) -> Result<StoredArray> {
    let fill = fill_item(own.dtype, own.fill.as_ref())?;
    let declared = |name: &String| {
        let mut found = schemas.iter().rev().filter_map(|schema| schema.dimension(name));
        found.find_map(|dimension| dimension.chunks)
    };
    let chunk = |(name, extent): (&String, &usize)| match declared(name) {
        Some(Chunks::Size(size)) => size.max(1),
        Some(Chunks::Whole | Chunks::Auto) | None => (*extent).max(1),
    };
    let chunks: Vec<usize> = own.dimensions.iter().zip(&shape).map(chunk).collect();
    let chain = Chain::of(own)?;
    let size = own.dtype.item_size().unwrap_or(16);
    let shard_shape = match chain.shard_bytes {
        Some(target) => shard_shape(&shape, &chunks, size, target),
        None => chunks.clone(),
    };
    let codecs = array_codecs(&chain, &shard_shape, &chunks);
    let shard = match codecs.as_slice() {
        [only] if shard_shape != chunks => {
            let config = only.get("configuration").ok_or_else(|| damaged("codecs"))?;
            Some(Shard::new(own.dtype, &shard_shape, config, &fill)?)
        }
        _ => None,
    };
    let mut array = ArrayLayout {
        schema: own.clone(),
        pipeline: Pipeline::v3(own.dtype, shard_shape, &codecs, &fill)?,
        shape,
        shard,
        keys: ChunkKeys::V3 { separator: '/' },
        fill,
        form: Json::Null,
    };
    array.form = form_of(&document_of(&array)?, &FORM);
    array.at(format!("{prefix}/{}", own.name))
}

fn array_codecs(chain: &Chain, shard: &[usize], chunks: &[usize]) -> Vec<Json> {
    if shard == chunks { chain.codecs() } else { vec![sharding(chunks, chain.codecs())] }
}

/// The shape of a shard. It starts as one chunk, and the dimension with the largest extent is
/// doubled first, as long as the shard stays below `target` bytes and within the array. A shard is
/// a whole number of chunks, which may reach beyond the array.
fn shard_shape(shape: &[usize], chunks: &[usize], item: usize, target: u64) -> Vec<usize> {
    let target = usize::try_from(target).unwrap_or(usize::MAX);
    let mut shard = chunks.to_vec();
    loop {
        let bytes = shard.iter().fold(item, |size, extent| size.saturating_mul(*extent));
        let grows = |axis: &usize| {
            let (shard, extent) = (shard.get(*axis).copied(), shape.get(*axis).copied());
            shard.zip(extent).is_some_and(|(shard, extent)| shard.saturating_mul(2) <= extent)
        };
        let axis =
            (0..shape.len()).filter(grows).max_by_key(|axis| (shard.get(*axis), usize::MAX - axis));
        let Some(extent) = axis.and_then(|axis| shard.get_mut(axis)) else { return shard };
        if bytes.saturating_mul(2) > target {
            return shard;
        }
        *extent *= 2;
    }
}

/// The key and content of the document of an array.
pub(in crate::layout) fn array_document(array: &StoredArray) -> Result<(String, String)> {
    let text = document_of(array)?.to_text(Style::Indented(2));
    Ok((format!("{}/{GROUP}", array.prefix), text))
}

fn document_of(array: &ArrayLayout) -> Result<Json> {
    let own = &array.schema;
    let chain = Chain::of(own)?;
    let grid = array.pipeline.shape();
    let chunks = array.shard.as_ref().map_or(grid, |shard| shard.chunk.shape());
    let sizes = |sizes: &[usize]| Json::ints(sizes.iter().map(|size| *size as u64));
    let configured = |name: &str, key: &str, value: Json| {
        Json::map([("name", name.into()), ("configuration", Json::map([(key, value)]))])
    };
    let fill = FillValue::from_bytes(array.fill.clone()).to_json(own.dtype);
    Ok(Json::map([
        ("shape", sizes(&array.shape)),
        ("data_type", dtype::encode(own.dtype)),
        ("chunk_grid", configured("regular", "chunk_shape", sizes(grid))),
        ("chunk_key_encoding", configured("default", "separator", "/".into())),
        ("fill_value", fill),
        ("codecs", Json::List(array_codecs(&chain, grid, chunks))),
        ("attributes", strict(Json::Map(shown_attributes(own)))),
        ("dimension_names", Json::texts(&own.dimensions)),
        ("zarr_format", Json::Int(3)),
        ("node_type", "array".into()),
        ("storage_transformers", Json::List(Vec::new())),
    ]))
}

/// The attributes of a variable, with the fill value if the schema has one, in the form in which
/// xarray reads it from Zarr v3: there the fill value of the array does not by itself mean that
/// items are missing.
fn shown_attributes(own: &VariableSchema) -> Attributes {
    let mut attributes = own.attributes.clone();
    if let Some(fill) = own.fill.as_ref().and_then(|fill| fill_attribute(own.dtype, fill)) {
        attributes.entry("_FillValue".to_owned()).or_insert(fill);
    }
    attributes
}

/// A fill value as xarray reads it in an attribute: integers as numbers, and floats as their bytes.
fn fill_attribute(dtype: DType, fill: &FillValue) -> Option<Json> {
    let item = fill.item();
    let value = match dtype {
        _ if dtype.is_integer() => return Some(fill.to_json(dtype)),
        DType::Float16 => f16::from_le_bytes(item.as_ref().try_into().ok()?).to_f64(),
        DType::Float32 => f32::from_le_bytes(item.as_ref().try_into().ok()?).into(),
        DType::Float64 => f64::from_le_bytes(item.as_ref().try_into().ok()?),
        _ => return None,
    };
    Some(Json::Text(STANDARD.encode(value.to_le_bytes())))
}

/// The document of a group; for a partition it holds the key. The attributes of the dataset are not
/// repeated in the group of variables that are stored once.
pub(in crate::layout) fn group_document(
    prefix: &str,
    attributes: &Attributes,
    key: Option<&Key>,
) -> (String, String) {
    let is_partition = prefix.split('/').next() != Some(IMMUTABLE);
    let mut attributes = if is_partition { attributes.clone() } else { Attributes::default() };
    if let Some(key) = key {
        let pair = |(field, value): (&str, i128)| Json::List(vec![field.into(), Json::Int(value)]);
        let pairs = Json::List(key.pairs().map(pair).collect());
        attributes.insert(PARTITION_KEY.to_owned(), pairs);
    }
    let document = Json::map([
        ("attributes", strict(Json::Map(attributes))),
        ("zarr_format", Json::Int(3)),
        ("node_type", "group".into()),
    ]);
    let key = if prefix.is_empty() { GROUP.to_owned() } else { format!("{prefix}/{GROUP}") };
    (key, document.to_text(Style::Indented(2)))
}

/// Replaces floats that JSON cannot represent with strings, since Zarr v3 requires plain JSON.
fn strict(json: Json) -> Json {
    match json {
        Json::Float(value) if !value.is_finite() => crate::json::word_of(value).into(),
        Json::List(values) => Json::List(values.into_iter().map(strict).collect()),
        Json::Map(map) => Json::Map(map.into_iter().map(|(key, v)| (key, strict(v))).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_whole_chunks() {
        let mib = 1 << 20;
        assert_eq!(shard_shape(&[6400, 3], &[4096, 3], 8, 128 * mib), [4096, 3]);
        assert_eq!(shard_shape(&[8192, 3], &[4096, 3], 8, 128 * mib), [8192, 3]);
        assert_eq!(shard_shape(&[10, 3], &[4, 2], 8, 128 * mib), [8, 2]);
        assert_eq!(shard_shape(&[2, 3], &[4096, 1], 8, 128 * mib), [4096, 2]);
        assert_eq!(shard_shape(&[100, 100], &[10, 10], 8, 3200), [40, 10]);
        assert_eq!(shard_shape(&[], &[], 8, 3200), Vec::<usize>::new());
    }
}
