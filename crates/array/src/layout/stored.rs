//! A stored array: its shape, its chunks, and their keys.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;
use partita_core::{Error, Result};

use super::shard::Shard;
use crate::codec::Pipeline;
use crate::dataset::{VariableSchema, count};
use crate::json::Json;

/// The largest supported number of chunks of one array in one partition. Metadata that claim more
/// are damaged.
pub(super) const MAX_CHUNKS: usize = 1 << 22;

/// The naming of the objects of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkKeys {
    /// `ssh/0.1`
    V2 { separator: char },
    /// `ssh/c/0/1`
    V3 { separator: char },
}

/// An array in a store.
#[derive(Debug, Clone)]
pub(crate) struct StoredArray {
    /// The directory of its metadata.
    pub prefix: String,
    array: Arc<ArrayLayout>,
}

/// The content of an array's document, which does not depend on its location.
#[derive(Debug)]
pub(crate) struct ArrayLayout {
    pub schema: VariableSchema,
    pub shape: Vec<usize>,
    /// The codecs of one object, which has the shape of a chunk, or of a shard if there are shards.
    pub pipeline: Pipeline,
    /// The arrangement of chunks in an object, if one object holds many.
    pub shard: Option<Shard>,
    pub keys: ChunkKeys,
    /// The item for places where nothing is stored.
    pub fill: Bytes,
    /// The members of the document that determine the encoding and naming of chunks. Chunks can be
    /// copied between arrays for which these are equal.
    pub form: Json,
}

impl Deref for StoredArray {
    type Target = ArrayLayout;

    fn deref(&self) -> &ArrayLayout {
        &self.array
    }
}

/// The values of these members of a document.
pub(super) fn form_of(document: &Json, names: &[&str]) -> Json {
    let member = |name: &&str| document.get(name).cloned().unwrap_or(Json::Null);
    Json::List(names.iter().map(member).collect())
}

impl ArrayLayout {
    /// The array at `prefix`; refused if shape, chunks and dimensions do not match.
    pub fn at(self, prefix: String) -> Result<StoredArray> {
        let dimensions = self.shape.len();
        let chunks = self.pipeline.shape();
        let fits = chunks.len() == dimensions
            && self.schema.dimensions.len() == dimensions
            && chunks.iter().all(|extent| *extent > 0);
        if !fits {
            return Err(Error::corrupt(
                "the shape, chunks and dimensions of an array do not match",
            )
            .with("variable", &self.schema.name)
            .with("shape", format!("{:?}", self.shape))
            .with("chunks", format!("{chunks:?}"))
            .with("dimensions", self.schema.dimensions.join(", ")));
        }
        count(&self.shape)?;
        let chunks = self.shard.as_ref().map_or(chunks, |shard| shard.chunk.shape());
        let numbers = self.shape.iter().zip(chunks).map(|(extent, chunk)| extent.div_ceil(*chunk));
        let number = numbers.fold(1usize, |product, number| product.saturating_mul(number));
        if number > MAX_CHUNKS {
            return Err(Error::corrupt(
                "the metadata of an array claim more chunks than are supported",
            )
            .with("variable", &self.schema.name)
            .with("chunks", number));
        }
        Ok(StoredArray { prefix, array: Arc::new(self) })
    }
}

impl StoredArray {
    /// An array at another prefix with the same document.
    pub fn moved_to(&self, prefix: String) -> Self {
        Self { prefix, array: Arc::clone(&self.array) }
    }

    /// The number of items along a dimension; none if the array does not have it.
    pub fn size(&self, dimension: &str) -> Option<usize> {
        self.shape.get(self.schema.axis(dimension)?).copied()
    }

    /// The key of the object at a place of the chunk grid.
    pub fn key(&self, coordinates: &[usize]) -> String {
        let join = |separator: char| {
            let numbers: Vec<String> = coordinates.iter().map(ToString::to_string).collect();
            numbers.join(&separator.to_string())
        };
        match self.keys {
            ChunkKeys::V2 { .. } if coordinates.is_empty() => format!("{}/0", self.prefix),
            ChunkKeys::V2 { separator } => format!("{}/{}", self.prefix, join(separator)),
            ChunkKeys::V3 { .. } if coordinates.is_empty() => format!("{}/c", self.prefix),
            ChunkKeys::V3 { separator } => {
                format!("{}/c{separator}{}", self.prefix, join(separator))
            }
        }
    }

    /// The places in the chunk grid of the objects that hold these rows of the first dimension.
    pub fn objects(&self, rows: &Range<usize>) -> Vec<Vec<usize>> {
        let extents = self.shape.iter().enumerate().map(|(i, extent)| match i {
            0 => rows.clone(),
            _ => 0..*extent,
        });
        grid(&extents.collect::<Vec<_>>(), self.pipeline.shape())
    }

    /// The number of rows of the first dimension in a chunk.
    pub fn chunk_rows(&self) -> usize {
        let chunk = self.shard.as_ref().map_or(&self.pipeline, |shard| &shard.chunk);
        chunk.shape().first().copied().unwrap_or(1).max(1)
    }

    /// The number of rows of the first dimension in an object.
    pub fn object_rows(&self) -> usize {
        self.pipeline.shape().first().copied().unwrap_or(1).max(1)
    }

    /// Splits a range of rows of the first dimension at the boundaries of objects.
    pub fn bands(&self, rows: &Range<usize>) -> Vec<Range<usize>> {
        let Some(height) = self.pipeline.shape().first() else {
            return Vec::from([Range { start: 0, end: 1 }]);
        };
        let mut bands = Vec::new();
        let mut start = rows.start;
        while start < rows.end {
            let end = (start / height + 1).saturating_mul(*height).min(rows.end);
            bands.push(start..end);
            start = end;
        }
        bands
    }

    /// True if the array has Zarr v3 keys; a missing object then always means the fill value.
    pub fn is_v3(&self) -> bool {
        matches!(self.keys, ChunkKeys::V3 { .. })
    }

    /// The number of rows of the first dimension; one for an array without dimensions.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }
}

/// The places of the chunks of shape `shape` that touch the box `extents`.
pub(super) fn grid(extents: &[Range<usize>], shape: &[usize]) -> Vec<Vec<usize>> {
    let mut places = vec![Vec::new()];
    for (extent, height) in extents.iter().zip(shape) {
        let touched = match extent.is_empty() {
            true => 0..0,
            false => extent.start / height..extent.end.div_ceil(*height),
        };
        places = places
            .into_iter()
            .flat_map(|place: Vec<usize>| {
                touched.clone().map(move |number| {
                    let mut place = place.clone();
                    place.push(number);
                    place
                })
            })
            .collect();
    }
    places
}
