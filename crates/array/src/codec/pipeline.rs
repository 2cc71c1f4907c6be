//! The sequence of codecs between the items of a chunk and its stored object.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::num::NonZeroU64;

use bytes::Bytes;
use partita_core::store::{LARGEST, Opened};
use partita_core::{Error, Result, guarded};
use zarrs::array::codec::api::ArrayToBytesCodecTraits;
use zarrs::array::{ArrayBytes, ArrayBytesOffsets, CodecChain, DataType};
use zarrs::metadata::v3::MetadataV3;

use super::bounded::Packed;
use super::compressor::options;
use super::filter::{Filter, copy_decoded, damaged, filter, most_stored};
use super::numbers::swap;
use super::vlen;
use super::zstd::Zstd;
use crate::buffer_pool::BufferPool;
use crate::dataset::{Buffer, ByteOrder, DType};
use crate::json::Json;

/// The encoding of the chunks of one array.
#[derive(Debug)]
pub(crate) struct Pipeline {
    dtype: DType,
    shape: Vec<usize>,
    items: usize,
    steps: Steps,
}

#[derive(Debug)]
enum Steps {
    V2 {
        filters: Vec<Step>,
        order: ByteOrder,
        fortran: bool,
    },
    V3 {
        chain: Box<CodecChain>,
        /// `decoding` is the chain without the last codecs, which are in `packed` in the order of
        /// encoding; these are decoded here, with a limit on the size of the result.
        decoding: Box<CodecChain>,
        packed: Vec<Packed>,
        data_type: DataType,
        fill: zarrs::array::FillValue,
    },
}

/// A filter or compressor, and the size of the items that it encodes.
#[derive(Debug)]
struct Step {
    filter: Box<dyn Filter>,
    item_size: usize,
}

/// The most bytes that checksums and headers add to a chunk.
const OVERHEAD: usize = 256;
/// The limit for decompressed texts: this multiple of their stored size, or `SMALL` bytes if that
/// is more.
const BEST_RATIO: usize = 1024;
const SMALL: usize = 64 << 20;

impl Pipeline {
    /// The Zarr v2 pipeline for chunks of `shape`: filters, then the compressor, as numcodecs
    /// configurations. `fortran` stands for order `F`.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a codec that is not
    /// supported, or not for this type.
    pub fn v2(
        dtype: DType,
        shape: Vec<usize>,
        filters: &[Json],
        compressor: Option<&Json>,
        order: ByteOrder,
        fortran: bool,
    ) -> Result<Self> {
        let mut configs = filters;
        let mut item_size = dtype.item_size().unwrap_or(1);
        if dtype.item_size().is_none() {
            let wanted = if dtype == DType::Text { "vlen-utf8" } else { "vlen-bytes" };
            match filters.split_first() {
                Some((first, rest)) if first.get("id").and_then(Json::as_text) == Some(wanted) => {
                    configs = rest;
                }
                _ => {
                    return Err(Error::invalid(
                        "arrays of Python objects are only supported as text (vlen-utf8) or bytes \
                         (vlen-bytes)",
                    ));
                }
            }
        }
        let mut steps = Vec::new();
        for config in configs.iter().chain(compressor) {
            let step = Step { filter: filter(config, item_size)?, item_size };
            item_size = step.filter.item_size(item_size);
            steps.push(step);
        }
        let items = crate::dataset::count(&shape)?;
        Ok(Self { dtype, shape, items, steps: Steps::V2 { filters: steps, order, fortran } })
    }

    /// The Zarr v3 pipeline for chunks of `shape`; `fill` is the fill value of the array.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a codec that is not
    /// supported.
    pub fn v3(dtype: DType, shape: Vec<usize>, codecs: &[Json], fill: &[u8]) -> Result<Self> {
        if matches!(dtype, DType::FixedText(_)) && is_big_endian(codecs) {
            return Err(Error::invalid("text of fixed length is only supported as little-endian"));
        }
        let items = crate::dataset::count(&shape)?;
        if let Some(filters) = plain_steps(dtype, codecs) {
            let steps = Steps::V2 { filters, order: ByteOrder::Little, fortran: false };
            return Ok(Self { dtype, shape, items, steps });
        }
        let chain = Box::new(zarrs_chain(codecs)?);
        let (inner, packed) = split_packed(codecs);
        let decoding = Box::new(zarrs_chain(inner)?);
        let data_type = zarrs_data_type(dtype)?;
        let fill = zarrs::array::FillValue::new(fill.to_vec());
        let steps = Steps::V3 { chain, decoding, packed, data_type, fill };
        Ok(Self { dtype, shape, items, steps })
    }

    /// The shape of a chunk.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The size of the items of a chunk in bytes; none for items of variable length.
    pub fn num_bytes(&self) -> Option<usize> {
        self.items.checked_mul(self.dtype.item_size()?)
    }

    /// Decodes a chunk to its items in C order.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the bytes cannot be decoded, or hold
    /// another number of items.
    pub fn decode(&self, bytes: Bytes) -> Result<Buffer> {
        guarded(|| self.decode_checked(bytes))
    }

    fn decode_checked(&self, bytes: Bytes) -> Result<Buffer> {
        let buffer = match &self.steps {
            Steps::V2 { filters, order, fortran } => {
                self.decode_v2(bytes, filters, *order, *fortran)?
            }
            Steps::V3 { decoding, packed, data_type, fill, .. } => {
                let bytes = self.unpack(bytes, packed)?;
                self.decode_v3(&bytes, decoding, data_type, fill)?
            }
        };
        if !buffer.is_whole(self.items, self.dtype.item_size().unwrap_or(0)) {
            return Err(Error::corrupt(
                "a chunk holds another number of items than the metadata of its array say",
            )
            .with("expected", self.items));
        }
        Ok(buffer)
    }

    /// Decodes the chunk in an object into memory of exactly the decoded size, which is returned.
    ///
    /// # Errors
    /// The same as [`Pipeline::decode`]; [`Store`](partita_core::ErrorKind::Store) if the object
    /// cannot be read.
    pub fn decode_into<'a>(
        &self,
        object: Opened,
        pool: &BufferPool,
        out: &'a mut [MaybeUninit<u8>],
    ) -> Result<&'a mut [u8]> {
        if let Steps::V2 { filters, order: ByteOrder::Little, fortran: false } = &self.steps
            && let ([only], Some(_)) = (filters.as_slice(), self.dtype.item_size())
        {
            return guarded(move || only.filter.decode_into(object, self.items, pool, out));
        }
        match self.decode(object.read_all(pool.take(), self.most_stored())?)? {
            Buffer::Fixed(decoded) => copy_decoded(&decoded, out),
            Buffer::Variable { .. } => Err(damaged("vlen")),
        }
    }

    /// Encodes a chunk to the content of its object.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the items cannot be encoded.
    pub fn encode(&self, buffer: Buffer, pool: &BufferPool) -> Result<Bytes> {
        match &self.steps {
            Steps::V2 { filters, order, fortran } => {
                if let (Buffer::Fixed(bytes), false, ByteOrder::Little) = (&buffer, fortran, order)
                {
                    let Some((first, others)) = filters.split_first() else {
                        return Ok(bytes.clone());
                    };
                    let mut bytes = first.filter.encode_from(bytes, pool)?;
                    for step in others {
                        bytes = step.filter.encode(bytes)?;
                    }
                    return Ok(bytes.into());
                }
                let mut bytes = match &buffer {
                    Buffer::Fixed(bytes) => match fortran {
                        true => self.transpose(bytes, true),
                        false => bytes.to_vec(),
                    },
                    Buffer::Variable { .. } => vlen::encode(&buffer, self.items)?,
                };
                swap(&mut bytes, self.dtype.swapped_bytes(), *order);
                for step in filters {
                    bytes = step.filter.encode(bytes)?;
                }
                Ok(bytes.into())
            }
            Steps::V3 { chain, data_type, fill, .. } => {
                let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
                    Error::invalid("a chunk cannot be encoded").caused_by(error)
                };
                let array = match &buffer {
                    Buffer::Fixed(bytes) => ArrayBytes::new_flen(Cow::Borrowed(bytes.as_ref())),
                    Buffer::Variable { offsets, bytes } => {
                        let from = offsets.first().copied().unwrap_or(0);
                        let starts: Vec<usize> = offsets.iter().map(|end| end - from).collect();
                        let starts =
                            ArrayBytesOffsets::new(starts).map_err(|e| failed(e.into()))?;
                        let to = offsets.last().copied().unwrap_or(from);
                        let bytes = bytes.get(from..to).unwrap_or_default();
                        ArrayBytes::new_vlen(bytes, starts).map_err(|e| failed(e.into()))?
                    }
                };
                let shape = self.zarrs_shape()?;
                let bytes = chain.encode(array, &shape, data_type, fill, &options());
                let bytes = bytes.map_err(|error| failed(error.into()))?;
                Ok(bytes.into_owned().into())
            }
        }
    }

    fn decode_v2(
        &self,
        bytes: Bytes,
        filters: &[Step],
        order: ByteOrder,
        fortran: bool,
    ) -> Result<Buffer> {
        let fixed = self.dtype.item_size().is_some();
        if filters.is_empty() && fixed && order == ByteOrder::Little && !fortran {
            return Ok(Buffer::Fixed(bytes));
        }
        let stored = bytes.len();
        let mut bytes = Vec::from(bytes);
        for step in filters.iter().rev() {
            let most = self.most_unpacked(step.item_size, stored);
            bytes = step.filter.decode_within(bytes, self.items, most)?;
        }
        if !fixed {
            return vlen::decode(&bytes, self.dtype == DType::Text);
        }
        swap(&mut bytes, self.dtype.swapped_bytes(), order);
        if fortran {
            let expected = self.dtype.item_size().and_then(|size| size.checked_mul(self.items));
            if expected != Some(bytes.len()) {
                return Err(damaged("order F"));
            }
            bytes = self.transpose(&bytes, false);
        }
        Ok(Buffer::Fixed(bytes.into()))
    }

    fn decode_v3(
        &self,
        bytes: &Bytes,
        chain: &CodecChain,
        data_type: &DataType,
        fill: &zarrs::array::FillValue,
    ) -> Result<Buffer> {
        let shape = self.zarrs_shape()?;
        let decoded = chain
            .decode(Cow::Borrowed(bytes.as_ref()), &shape, data_type, fill, &options())
            .map_err(|error| Error::corrupt("a chunk cannot be decoded").caused_by(error))?;
        match decoded {
            // Bytes that no codec changed are still a slice of the object.
            ArrayBytes::Fixed(Cow::Borrowed(part)) => Ok(Buffer::Fixed(bytes.slice_ref(part))),
            ArrayBytes::Fixed(Cow::Owned(part)) => Ok(Buffer::Fixed(part.into())),
            ArrayBytes::Variable(items) => {
                let (bytes, offsets) = items.into_parts();
                if self.dtype == DType::Text && std::str::from_utf8(&bytes).is_err() {
                    return Err(damaged("vlen-utf8"));
                }
                let offsets = offsets.into_owned().to_vec().into();
                Ok(Buffer::Variable { offsets, bytes: bytes.into_owned().into() })
            }
            ArrayBytes::Optional(_) => Err(damaged("optional")),
        }
    }

    /// Decodes the last codecs of the chain, in reverse order.
    fn unpack(&self, bytes: Bytes, packed: &[Packed]) -> Result<Bytes> {
        let most = self.most_unpacked(self.dtype.item_size().unwrap_or(1), bytes.len());
        packed.iter().rev().try_fold(bytes, |bytes, step| Ok(step.unpack(&bytes, most)?.into()))
    }

    /// The largest decoded size of a step that encoded items of this size. For items of variable
    /// length it is estimated from the stored size.
    fn most_unpacked(&self, item_size: usize, stored: usize) -> usize {
        let known = self.items.saturating_mul(item_size).saturating_add(OVERHEAD);
        if self.dtype.item_size().is_some() {
            return known;
        }
        let lengths = self.items.saturating_mul(8).saturating_add(OVERHEAD);
        lengths.saturating_add(stored.saturating_mul(BEST_RATIO).max(SMALL))
    }

    /// The largest object that is read for decoding.
    pub fn most_stored(&self) -> u64 {
        self.num_bytes().map_or(LARGEST, most_stored)
    }

    fn zarrs_shape(&self) -> Result<Vec<NonZeroU64>> {
        let extent = |size: &usize| u64::try_from(*size).ok().and_then(NonZeroU64::new);
        let shape = self.shape.iter().map(extent).collect::<Option<Vec<_>>>();
        shape.ok_or_else(|| Error::corrupt("a chunk has no items along a dimension"))
    }

    /// Converts from C order to Fortran order, or back.
    fn transpose(&self, bytes: &[u8], towards_fortran: bool) -> Vec<u8> {
        let size = self.dtype.item_size().unwrap_or(1);
        let mut out = vec![0; bytes.len()];
        let mut index = vec![0; self.shape.len()];
        for row_major in 0..self.items {
            let column_major =
                index.iter().zip(&self.shape).rev().fold(0, |at, (i, extent)| at * extent + i);
            let (from, to) = match towards_fortran {
                true => (row_major, column_major),
                false => (column_major, row_major),
            };
            let item = bytes.get(from * size..(from + 1) * size);
            let place = out.get_mut(to * size..(to + 1) * size);
            if let (Some(item), Some(place)) = (item, place) {
                place.copy_from_slice(item);
            }
            for (i, extent) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *extent {
                    break;
                }
                *i = 0;
            }
        }
        out
    }
}

/// The steps of the most common Zarr v3 chain, plain bytes and then zstd or nothing; none for
/// another chain.
fn plain_steps(dtype: DType, codecs: &[Json]) -> Option<Vec<Step>> {
    let item_size = dtype.item_size()?;
    let (bytes, rest) = codecs.split_first()?;
    let name =
        |codec: &Json, wanted: &str| codec.get("name").and_then(Json::as_text) == Some(wanted);
    if !name(bytes, "bytes") || is_big_endian(codecs) {
        return None;
    }
    match rest {
        [] => Some(Vec::new()),
        [codec] if name(codec, "zstd") => {
            let value = |key: &str| codec.get("configuration")?.get(key);
            let zstd = Zstd::new(value("level").and_then(Json::as_int));
            Some(vec![Step { filter: Box::new(zstd), item_size }])
        }
        _ => None,
    }
}

/// Splits the codecs into those for the library and the last ones, which are decoded here. A chain
/// with nested shards is not split: a shard contains an index, so that the decoded size of the
/// outer codecs is not known.
fn split_packed(codecs: &[Json]) -> (&[Json], Vec<Packed>) {
    let name = |codec: &Json| codec.get("name").and_then(Json::as_text).map(str::to_owned);
    if codecs.iter().any(|codec| name(codec).as_deref() == Some("sharding_indexed")) {
        return (codecs, Vec::new());
    }
    let is_packed = |codec: &Json| Packed::named(&name(codec)?);
    let packed = codecs.iter().rev().map_while(is_packed).count();
    let (inner, outer) = codecs.split_at(codecs.len() - packed);
    let outer: Vec<Packed> = outer.iter().filter_map(is_packed).collect();
    // A checksum alone does not compress, and the library computes it faster.
    match outer.iter().all(|step| *step == Packed::Crc32c) {
        true => (codecs, Vec::new()),
        false => (inner, outer),
    }
}

/// Makes frames of zstd, in shards too, end with a checksum whatever the document of the array says:
/// every decoder verifies it.
fn add_checksums(codec: &mut serde_json::Value) {
    use serde_json::Value;
    let is_zstd = codec.get("name").and_then(Value::as_str) == Some("zstd");
    let configuration = codec.get_mut("configuration").and_then(Value::as_object_mut);
    let Some(configuration) = configuration else { return };
    if is_zstd {
        configuration.insert("checksum".to_owned(), Value::Bool(true));
    }
    if let Some(inner) = configuration.get_mut("codecs").and_then(Value::as_array_mut) {
        inner.iter_mut().for_each(add_checksums);
    }
}

/// The chain of the `zarrs` crate for these Zarr v3 codecs.
fn zarrs_chain(codecs: &[Json]) -> Result<CodecChain> {
    let metadata = codecs
        .iter()
        .map(|codec| {
            let mut codec = codec.to_value();
            add_checksums(&mut codec);
            serde_json::from_value::<MetadataV3>(codec)
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            Error::corrupt("the codecs of an array cannot be read").caused_by(error)
        })?;
    CodecChain::from_metadata(&metadata)
        .map_err(|error| Error::invalid("a codec of an array is not supported").caused_by(error))
}

/// The type's name in the `zarrs` crate, which treats times as integers, and items of fixed length
/// as raw bits.
fn zarrs_data_type(dtype: DType) -> Result<DataType> {
    let bits;
    let name = match dtype {
        DType::Bool => "bool",
        DType::Int8 => "int8",
        DType::Int16 => "int16",
        DType::Int32 => "int32",
        DType::Int64 | DType::DateTime(..) | DType::TimeDelta(..) => "int64",
        DType::UInt8 => "uint8",
        DType::UInt16 => "uint16",
        DType::UInt32 => "uint32",
        DType::UInt64 => "uint64",
        DType::Float16 => "float16",
        DType::Float32 => "float32",
        DType::Float64 => "float64",
        DType::Complex64 => "complex64",
        DType::Complex128 => "complex128",
        DType::FixedBytes(_) | DType::FixedText(_) => {
            bits = format!("r{}", 8 * dtype.item_size().unwrap_or(0));
            &bits
        }
        DType::Text => "string",
        DType::Bytes => "bytes",
    };
    DataType::from_metadata(&MetadataV3::new(name)).map_err(|error| {
        Error::invalid("the type cannot be stored in Zarr v3").with("dtype", dtype).caused_by(error)
    })
}

fn is_big_endian(codecs: &[Json]) -> bool {
    let endian = |codec: &Json| {
        let endian = codec.get("configuration").and_then(|config| config.get("endian"));
        endian.and_then(Json::as_text) == Some("big")
    };
    codecs.iter().any(endian)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(dtype: &str, filters: &str, compressor: &str, fortran: bool) -> Result<Pipeline> {
        let (dtype, order) = DType::parse(dtype).unwrap();
        let filters = Json::parse(filters.as_bytes()).unwrap();
        let compressor = Json::parse(compressor.as_bytes()).unwrap();
        let compressor = (compressor != Json::Null).then_some(&compressor);
        Pipeline::v2(dtype, vec![2, 3], filters.as_list().unwrap(), compressor, order, fortran)
    }

    fn bytes(buffer: &Buffer) -> &[u8] {
        let Buffer::Fixed(bytes) = buffer else { panic!("not of fixed size") };
        bytes
    }

    const COMPRESSORS: [&str; 12] = [
        "null",
        r#"{"id":"blosc","cname":"lz4","clevel":5,"shuffle":1,"blocksize":0}"#,
        r#"{"id":"blosc","cname":"zstd","clevel":3,"shuffle":-1,"blocksize":0}"#,
        r#"{"id":"blosc","cname":"blosclz","clevel":9,"shuffle":2,"blocksize":0}"#,
        r#"{"id":"zstd","level":3,"checksum":true}"#,
        r#"{"id":"zlib","level":1}"#,
        r#"{"id":"gzip","level":1}"#,
        r#"{"id":"zlib","level":-1}"#,
        r#"{"id":"gzip","level":-1}"#,
        r#"{"id":"bz2","level":1}"#,
        r#"{"id":"lz4","acceleration":1}"#,
        r#"{"id":"crc32c"}"#,
    ];

    proptest! {
        #[test]
        fn chunks_come_back(items in prop::collection::vec(any::<u64>(), 6), big in any::<bool>(), fortran in any::<bool>()) {
            let raw: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
            let dtype = if big { ">u8" } else { "<u8" };
            for compressor in COMPRESSORS {
                let delta = r#"[{"id":"delta","dtype":"<u8"}]"#;
                let [shuffle, nothing] = [8, 0].map(|size| format!(r#"[{{"id":"shuffle","elementsize":{size}}}]"#));
                for filters in ["[]", delta, &shuffle, &nothing] {
                    let pipeline = v2(dtype, filters, compressor, fortran).unwrap();
                    let stored = pipeline.encode(Buffer::Fixed(raw.clone().into()), &BufferPool::default()).unwrap();
                    let decoded = pipeline.decode(stored).unwrap();
                    prop_assert_eq!(bytes(&decoded), &raw);
                }
            }
        }

        #[test]
        fn damage_is_an_error_and_no_panic(stored in prop::collection::vec(any::<u8>(), 0..64)) {
            for compressor in COMPRESSORS {
                let pipeline = v2("|b1", r#"[{"id":"packbits"}]"#, compressor, false).unwrap();
                let _ = pipeline.decode(stored.clone().into());
            }
            let texts = v2("|O", r#"[{"id":"vlen-utf8"}]"#, "null", false).unwrap();
            let _ = texts.decode(stored.into());
        }
    }

    #[test]
    fn order_f_runs_down_the_columns() {
        let pipeline = v2("|u1", "[]", "null", true).unwrap();
        let stored = pipeline
            .encode(Buffer::Fixed(vec![1, 2, 3, 4, 5, 6].into()), &BufferPool::default())
            .unwrap();
        assert_eq!(stored.as_ref(), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn texts_of_any_length() {
        let texts = ["", "a", "ü", "long text", "", "z"];
        let pipeline = v2("|O", r#"[{"id":"vlen-utf8"}]"#, COMPRESSORS[4], false).unwrap();
        let stored =
            pipeline.encode(Buffer::of_items(texts).unwrap(), &BufferPool::default()).unwrap();
        let buffer = pipeline.decode(stored).unwrap();
        let found: Vec<&[u8]> = (0..6).map(|index| buffer.item(index, 0).unwrap()).collect();
        assert_eq!(found, texts.map(str::as_bytes));
    }

    #[test]
    fn unknown_codecs_are_refused_by_name() {
        for (filters, name) in [
            (r#"[{"id":"pickle"}]"#, "pickle"),
            (r#"[{"id":"lzma"}]"#, "lzma"),
            (r#"[{"id":"categorize","labels":[]}]"#, "categorize"),
        ] {
            let error = v2("<f4", filters, "null", false).unwrap_err();
            assert!(error.to_string().contains(&format!("codec: {name}")), "{error}");
        }
        assert!(v2("|O", r#"[{"id":"pickle"}]"#, "null", false).is_err());
        assert!(v2("|O", "[]", "null", false).is_err());
    }

    /// A compressed run of zeros, many times longer than a chunk of six items.
    fn bomb(codec: &str) -> Bytes {
        let pipeline = |items| {
            let (dtype, order) = DType::parse("|u1").unwrap();
            let codec = Json::parse(codec.as_bytes()).unwrap();
            Pipeline::v2(dtype, vec![items], &[], Some(&codec), order, false).unwrap()
        };
        let zeros = Buffer::Fixed(vec![0; 64 << 20].into());
        pipeline(64 << 20).encode(zeros, &BufferPool::default()).unwrap()
    }

    #[test]
    fn bombs_are_corrupt() {
        let filters = ["[]", r#"[{"id":"delta","dtype":"<u8"}]"#, r#"[{"id":"crc32"}]"#];
        for codec in COMPRESSORS.into_iter().filter(|codec| !codec.contains("null")) {
            let stored = bomb(codec);
            for filters in filters {
                let pipeline = v2("<u8", filters, codec, false).unwrap();
                let error = pipeline.decode(stored.clone()).unwrap_err();
                assert_eq!(error.kind(), partita_core::ErrorKind::Corrupt, "{codec}");
                let mut out = [MaybeUninit::uninit(); 48];
                let object = Opened::from(stored.clone());
                assert!(pipeline.decode_into(object, &BufferPool::default(), &mut out).is_err());
            }
        }
    }

    #[test]
    fn bombs_in_chains_are_corrupt() {
        for (name, config, bomb) in [
            ("gzip", r#"{"level":1}"#, bomb(COMPRESSORS[6])),
            ("zstd", r#"{"level":1,"checksum":false}"#, bomb(COMPRESSORS[4])),
        ] {
            let little = r#"{"name":"bytes","configuration":{"endian":"big"}}"#;
            let codecs = format!(r#"[{little},{{"name":"{name}","configuration":{config}}}]"#);
            let codecs = Json::parse(codecs.as_bytes()).unwrap();
            let codecs = codecs.as_list().unwrap();
            let pipeline = Pipeline::v3(DType::UInt64, vec![6], codecs, &[0; 8]).unwrap();
            let error = pipeline.decode(bomb).unwrap_err();
            assert_eq!(error.kind(), partita_core::ErrorKind::Corrupt, "{name}");
            let numbers = Buffer::Fixed((0..48).collect::<Vec<u8>>().into());
            let stored = pipeline.encode(numbers.clone(), &BufferPool::default()).unwrap();
            assert_eq!(bytes(&pipeline.decode(stored).unwrap()), bytes(&numbers));
        }
    }

    #[test]
    fn a_chunk_of_another_length_is_corrupt() {
        let pipeline = v2("<f4", "[]", "null", false).unwrap();
        let error = pipeline.decode(vec![0; 23].into()).unwrap_err();
        assert_eq!(error.kind(), partita_core::ErrorKind::Corrupt);
    }
}
