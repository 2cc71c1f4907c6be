//! Shards: objects that hold many chunks and an index of their byte ranges.

use std::ops::Range;

use bytes::Bytes;
use partita_core::store::LARGEST;
use partita_core::{Error, Result, Store};

use super::stored::{MAX_CHUNKS, grid};
use crate::buffer_pool::BufferPool;
use crate::codec::Pipeline;
use crate::dataset::{Buffer, DType, count};
use crate::json::Json;

/// The arrangement of the chunks in one object of an array.
#[derive(Debug)]
pub(crate) struct Shard {
    /// The codecs of one chunk.
    pub chunk: Pipeline,
    index: Pipeline,
    /// The size of the encoded index in bytes.
    index_size: usize,
    at_end: bool,
    /// The number of chunks along each dimension.
    places: Vec<usize>,
}

impl Shard {
    /// Reads the configuration of the codec `sharding_indexed`, for objects of `shape`.
    pub fn new(dtype: DType, shape: &[usize], config: &Json, fill: &[u8]) -> Result<Self> {
        let document = super::config::Document(config);
        let chunks = document.sizes("chunk_shape")?;
        let divides = |(extent, chunk): (&usize, &usize)| *chunk > 0 && extent % chunk == 0;
        if chunks.len() != shape.len() || !shape.iter().zip(&chunks).all(divides) {
            return Err(Error::corrupt("the shape of a shard is not a multiple of its chunks")
                .with("shard", format!("{shape:?}"))
                .with("chunk", format!("{chunks:?}")));
        }
        let places: Vec<usize> = shape.iter().zip(&chunks).map(|(e, chunk)| e / chunk).collect();
        let mut index_shape = places.clone();
        index_shape.push(2);
        let size = count(&index_shape)?;
        if size / 2 > MAX_CHUNKS {
            return Err(Error::corrupt(
                "the metadata of a shard claim more chunks than are supported",
            )
            .with("chunks", size / 2));
        }
        let nothing = u64::MAX.to_le_bytes();
        let index =
            Pipeline::v3(DType::UInt64, index_shape, document.list("index_codecs")?, &nothing)?;
        let blank = Buffer::Fixed(Buffer::zeroed(size.saturating_mul(8))?.freeze());
        Ok(Self {
            // The codecs of an index have a fixed output size, so that any content will do.
            index_size: index.encode(blank, &BufferPool::default())?.len(),
            index,
            chunk: Pipeline::v3(dtype, chunks, document.list("codecs")?, fill)?,
            at_end: config.get("index_location").and_then(Json::as_text) != Some("start"),
            places,
        })
    }

    /// Fetches the chunks that touch the box `wanted` of the object `key`: the place of each, and
    /// its bytes if it is stored. It costs one request if at least half of the object is wanted,
    /// else three.
    pub async fn fetch(
        &self,
        store: &Store,
        key: &str,
        wanted: &[Range<usize>],
    ) -> Result<Vec<(Vec<usize>, Option<Bytes>)>> {
        let places = grid(wanted, self.chunk.shape());
        let named = |error: Error| error.with("key", key);
        let cut_all = |bytes: Bytes| {
            let index = self.index_range(bytes.len()).map_err(named)?;
            let index = self.decode_index(bytes.slice(index)).map_err(named)?;
            let cut = |place: Vec<usize>| {
                let Some(range) = self.locate(&index, &place)? else { return Ok((place, None)) };
                if range.start > range.end || range.end > bytes.len() {
                    return Err(Error::corrupt(
                        "the index of a shard names bytes beyond the end of the shard",
                    ));
                }
                Ok((place, Some(bytes.slice(range))))
            };
            places.iter().cloned().map(cut).collect::<Result<_>>().map_err(named)
        };
        let missing = async || match store.fall_back(key).await? {
            Some(bytes) => cut_all(bytes),
            None => Ok(places.iter().map(|place| (place.clone(), None)).collect()),
        };
        if places.len() * 2 >= count(&self.places)? {
            return match store.get_within(key, LARGEST).await? {
                Some(bytes) => cut_all(bytes),
                None => missing().await,
            };
        }
        let Some(info) = store.head(key).await? else { return missing().await };
        let size = usize::try_from(info.size).unwrap_or(usize::MAX);
        let index = self.index_range(size).map_err(named)?;
        let index = self.decode_index(store.get_range(key, wide(&index)).await?).map_err(named)?;
        let ranges = places.iter().map(|place| self.locate(&index, place));
        let ranges = ranges.collect::<Result<Vec<_>>>().map_err(named)?;
        let stored: Vec<Range<u64>> = ranges.iter().flatten().map(wide).collect();
        let mut fetched = store.get_ranges(key, &stored).await?.into_iter();
        let pair = |(place, range): (Vec<usize>, Option<Range<usize>>)| {
            (place, range.and_then(|_| fetched.next()))
        };
        Ok(places.iter().cloned().zip(ranges).map(pair).collect())
    }

    fn index_range(&self, size: usize) -> Result<Range<usize>> {
        let start = size.checked_sub(self.index_size);
        let start = start.ok_or_else(|| Error::corrupt("a shard is shorter than its index"))?;
        Ok(if self.at_end { start..size } else { 0..self.index_size })
    }

    fn decode_index(&self, bytes: Bytes) -> Result<Buffer> {
        self.index.decode(bytes)
    }

    /// The byte range of a chunk in its object; none if the chunk is not stored.
    fn locate(&self, index: &Buffer, place: &[usize]) -> Result<Option<Range<usize>>> {
        let number = place.iter().zip(&self.places).fold(0, |at, (i, extent)| at * extent + i);
        let read = |item: usize| {
            let bytes = index.item(item, 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_le_bytes)
        };
        let outside =
            || Error::corrupt("the index of a shard names bytes beyond the end of the shard");
        let (start, length) = read(number * 2).zip(read(number * 2 + 1)).ok_or_else(outside)?;
        if start == u64::MAX && length == u64::MAX {
            return Ok(None);
        }
        let end = start.checked_add(length).ok_or_else(outside)?;
        let narrow = |value: u64| usize::try_from(value).map_err(|_| outside());
        Ok(Some(narrow(start)?..narrow(end)?))
    }
}

fn wide(range: &Range<usize>) -> Range<u64> {
    range.start as u64..range.end as u64
}
