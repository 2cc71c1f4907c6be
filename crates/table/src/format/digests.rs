//! Digests of the parts of a data file, by which damage is noticed.
//!
//! The snapshot has the digest of the footer and that of what is neither footer nor column chunk.
//! The footer has those of the column chunks, so that the snapshot does not grow with them. They
//! count only where the snapshot has the digest of this very footer: other programs carry the
//! entries of a file that they read on to the files that they write.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hashbrown::HashMap;
use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};
use partita_core::{Digest, Error, Result};
use partita_parquet::TAIL;

use super::footer::length_of;

/// The entry of the footer with the digests of the column chunks: row group by row group, column by
/// column, as base64.
const ENTRY: &str = "partita.digests";

/// The digests of a data file in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileDigests {
    /// The digest of the footer, with the length and the magic number behind it.
    pub footer: Digest,
    /// The digest of all bytes before the footer that are in no column chunk: the magic number,
    /// bloom filters and the page index.
    pub rest: Digest,
}

impl FileDigests {
    /// Computes the digests of a whole file; none if it does not end as a Parquet file.
    #[must_use]
    pub fn of(file: &[u8], metadata: &ParquetMetaData) -> Option<Self> {
        let (before, footer) = split(file)?;
        Some(Self {
            footer: Digest::of(footer),
            rest: Digest::of_pieces(rest_of(before, metadata)),
        })
    }

    /// Refuses a footer, with what is behind it, that is not the one that was committed.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt).
    pub fn check_footer(&self, footer: &[u8]) -> Result<()> {
        match Digest::of(footer) == self.footer {
            true => Ok(()),
            false => Err(altered("the footer")),
        }
    }

    /// Refuses other bytes in the [gaps] than those that were committed.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt).
    pub fn check_rest<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<()> {
        match Digest::of_pieces(pieces) == self.rest {
            true => Ok(()),
            false => Err(altered("the page index, or a bloom filter,")),
        }
    }

    /// As [`FileDigests::check_footer`], of a whole file.
    ///
    /// # Errors
    /// As [`FileDigests::check_footer`].
    pub fn check_footer_of(&self, file: &[u8]) -> Result<()> {
        self.check_footer(split(file).map_or(&[], |(_, footer)| footer))
    }

    /// As [`FileDigests::check_rest`], of a whole file.
    ///
    /// # Errors
    /// As [`FileDigests::check_rest`].
    pub fn check_rest_of(&self, file: &[u8], metadata: &ParquetMetaData) -> Result<()> {
        self.check_rest(rest_of(split(file).map_or(&[], |(before, _)| before), metadata))
    }
}

/// The digests of the column chunks of one file.
#[derive(Debug)]
pub struct ChunkDigests(HashMap<Range<u64>, Chunk>);

#[derive(Debug)]
struct Chunk {
    digest: Digest,
    row_group: usize,
    column: String,
}

impl ChunkDigests {
    /// Reads the digests in a footer; none unless there is one for each column chunk.
    #[must_use]
    pub fn of(metadata: &ParquetMetaData) -> Option<Arc<Self>> {
        let entries = metadata.file_metadata().key_value_metadata()?;
        let text = entries.iter().find(|entry| entry.key == ENTRY)?.value.as_deref()?;
        let bytes = STANDARD.decode(text).ok()?;
        let mut digests = bytes.chunks(Digest::SIZE).map(Digest::from_bytes);
        let mut chunks = HashMap::new();
        for (row_group, group) in metadata.row_groups().iter().enumerate() {
            for column in group.columns() {
                let digest = digests.next()??;
                let name = column.column_path().string();
                chunks.insert(range(column), Chunk { digest, row_group, column: name });
            }
        }
        digests.next().is_none().then(|| Arc::new(Self(chunks)))
    }

    /// Refuses the bytes of a place in the file if it is a whole column chunk with another content
    /// than was committed. Of a part of one nothing is known.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) naming row group and column.
    pub fn check(&self, place: &Range<u64>, bytes: &[u8]) -> Result<()> {
        match self.0.get(place) {
            Some(chunk) if Digest::of(bytes) != chunk.digest => Err(altered("a column chunk")
                .with("row group", chunk.row_group)
                .with("column", &chunk.column)),
            _ => Ok(()),
        }
    }

    /// As [`ChunkDigests::check`], of a column chunk in a whole file.
    ///
    /// # Errors
    /// As [`ChunkDigests::check`].
    pub fn check_in(&self, place: &Range<u64>, file: &[u8]) -> Result<()> {
        self.check(place, slice(file, place).unwrap_or_default())
    }
}

/// The entry for a footer, from the digests of its column chunks.
#[must_use]
pub fn entry(digests: &[Digest]) -> KeyValue {
    let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.to_bytes()).collect();
    KeyValue::new(ENTRY.to_owned(), STANDARD.encode(bytes))
}

/// The digests of the column chunks of a row group, in a file that may still grow.
#[must_use]
pub fn of_group(file: &[u8], group: &RowGroupMetaData) -> Vec<Digest> {
    let chunks = group.columns().iter();
    chunks.map(|chunk| Digest::of(slice(file, &range(chunk)).unwrap_or_default())).collect()
}

/// The byte range of a column chunk in its file.
#[must_use]
pub fn range(chunk: &parquet::file::metadata::ColumnChunkMetaData) -> Range<u64> {
    let (start, length) = chunk.byte_range();
    start..start.saturating_add(length)
}

/// The places before `end` that are in no column chunk.
#[must_use]
pub fn gaps(metadata: &ParquetMetaData, end: u64) -> Vec<Range<u64>> {
    let groups = metadata.row_groups().iter();
    let mut chunks: Vec<Range<u64>> =
        groups.flat_map(|group| group.columns().iter().map(range)).collect();
    chunks.sort_by_key(|chunk| chunk.start);
    let mut gaps = Vec::new();
    let mut from = 0;
    for chunk in chunks.into_iter().chain(std::iter::once(end..end)) {
        if from < chunk.start.min(end) {
            gaps.push(from..chunk.start.min(end));
        }
        from = from.max(chunk.end);
    }
    gaps
}

/// A whole file before its footer, and from there on.
fn split(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = usize::try_from(length_of(file)?).ok()?.checked_add(TAIL)?;
    file.split_at_checked(file.len().checked_sub(end)?)
}

/// The bytes of a file that are in no column chunk; `before` are its bytes before the footer.
fn rest_of<'a>(before: &'a [u8], metadata: &ParquetMetaData) -> impl Iterator<Item = &'a [u8]> {
    let gaps = gaps(metadata, before.len() as u64).into_iter();
    gaps.filter_map(|gap| slice(before, &gap))
}

fn slice<'a>(file: &'a [u8], place: &Range<u64>) -> Option<&'a [u8]> {
    file.get(usize::try_from(place.start).ok()?..usize::try_from(place.end).ok()?)
}

fn altered(what: &str) -> Error {
    Error::corrupt(format!("{what} of a data file is not what was committed"))
}
