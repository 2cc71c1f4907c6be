//! Shards: objects that hold many chunks, and an index of where each is.

use std::ops::Range;

use bytes::Bytes;
use partita_core::{Error, Result, Store};

use super::stored::{MOST_CHUNKS, grid};
use crate::codec::Pipeline;
use crate::dataset::{Buffer, DType, count};
use crate::json::Json;
use crate::spare::Spare;

/// How the chunks lie in one object of an array.
#[derive(Debug)]
pub(crate) struct Shard {
    /// How one chunk is encoded.
    pub chunk: Pipeline,
    index: Pipeline,
    /// Bytes of the index.
    index_size: usize,
    at_end: bool,
    /// Chunks along each dimension.
    places: Vec<usize>,
}

impl Shard {
    /// Reads the configuration of the codec `sharding_indexed`, for objects of `shape`.
    pub fn new(dtype: DType, shape: &[usize], config: &Json, fill: &[u8]) -> Result<Self> {
        let document = super::config::Document(config);
        let chunks = document.sizes("chunk_shape")?;
        let divides = |(extent, chunk): (&usize, &usize)| *chunk > 0 && extent % chunk == 0;
        if chunks.len() != shape.len() || !shape.iter().zip(&chunks).all(divides) {
            return Err(Error::corrupt("the chunks do not divide the shard")
                .with("shard", format!("{shape:?}"))
                .with("chunk", format!("{chunks:?}")));
        }
        let places: Vec<usize> = shape.iter().zip(&chunks).map(|(e, chunk)| e / chunk).collect();
        let mut index_shape = places.clone();
        index_shape.push(2);
        let size = count(&index_shape)?;
        if size / 2 > MOST_CHUNKS {
            return Err(Error::corrupt("a shard claims to have more chunks than can be handled")
                .with("chunks", size / 2));
        }
        let nothing = u64::MAX.to_le_bytes();
        let index =
            Pipeline::v3(DType::UInt64, index_shape, document.list("index_codecs")?, &nothing)?;
        let blank = Buffer::Fixed(Buffer::zeroed(size.saturating_mul(8))?.freeze());
        Ok(Self {
            // The codecs of an index give as many bytes whatever it says.
            index_size: index.encode(blank, &Spare::default())?.len(),
            index,
            chunk: Pipeline::v3(dtype, chunks, document.list("codecs")?, fill)?,
            at_end: config.get("index_location").and_then(Json::as_text) != Some("start"),
            places,
        })
    }

    /// The chunks that touch the box `wanted` of the object `key`: the place of each, and its bytes
    /// if it is stored. One request if at least half of the object is wanted, else three.
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
                    return Err(Error::corrupt("a chunk lies outside of its shard"));
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
            return match store.get_opt(key).await? {
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

    /// Where a chunk lies in its object.
    fn locate(&self, index: &Buffer, place: &[usize]) -> Result<Option<Range<usize>>> {
        let number = place.iter().zip(&self.places).fold(0, |at, (i, extent)| at * extent + i);
        let read = |item: usize| {
            let bytes = index.item(item, 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u64::from_le_bytes)
        };
        let outside = || Error::corrupt("a chunk lies outside of its shard");
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
