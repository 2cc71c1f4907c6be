//! Limits of pages, checked before the library unpacks them.
//!
//! The library unpacks gzip, brotli and frames of LZ4 before it compares the size with the one that
//! the header of the page states, and asks for as much memory as the header states for all others.

use std::io::{self, Read};
use std::ops::Range;

use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use partita_core::Result;

use crate::damaged;
use crate::thrift::{STRUCT, Walk};

/// Pages that unpack to fewer bytes are left to the library.
const HARMLESS: u64 = 128 << 20;
/// The field types of Thrift for a 32-bit integer, and for true and false.
const I32: u8 = 5;
const TRUE: u8 = 1;
const FALSE: u8 = 2;

/// The column chunks of a file, in the order of their places, with the limits of their pages.
#[derive(Debug)]
pub struct PageLimits(Vec<(Range<u64>, Limit)>);

impl PageLimits {
    /// The limits by the footer of a file, of which the [places](crate::check_places) were checked.
    #[must_use]
    pub fn of(metadata: &ParquetMetaData) -> Self {
        let groups = metadata.row_groups().iter();
        let mut chunks: Vec<_> = groups
            .flat_map(|group| group.columns())
            .map(|chunk| (place_of(chunk), Limit::of(chunk)))
            .collect();
        chunks.sort_by_key(|(place, _)| place.start);
        Self(chunks)
    }

    /// Checks the pages in fetched bytes, which begin with a page if they lie in a column chunk.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a page is larger than it may be.
    pub fn check(&self, place: &Range<u64>, bytes: &[u8]) -> Result<()> {
        let next = self.0.partition_point(|(chunk, _)| chunk.start <= place.start);
        match next.checked_sub(1).and_then(|number| self.0.get(number)) {
            Some((chunk, limit)) if place.start < chunk.end => {
                limit.check(bytes, chunk.start == place.start)
            }
            _ => Ok(()),
        }
    }
}

/// Checks the pages of a column chunk of a file in memory.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a page is larger than it may be.
pub fn check_chunk(file: &[u8], chunk: &ColumnChunkMetaData) -> Result<()> {
    let place = place_of(chunk);
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let bytes = file.get(index(place.start)..index(place.end)).unwrap_or_default();
    Limit::of(chunk).check(bytes, true)
}

/// Checks all pages of a file in memory.
///
/// # Errors
/// The errors are those of [`check_chunk`].
pub fn check_pages(file: &[u8], metadata: &ParquetMetaData) -> Result<()> {
    let mut chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    chunks.try_for_each(|chunk| check_chunk(file, chunk))
}

fn place_of(chunk: &ColumnChunkMetaData) -> Range<u64> {
    let (start, length) = chunk.byte_range();
    start..start.saturating_add(length)
}

/// The limit of the pages of one column chunk.
#[derive(Debug)]
struct Limit {
    compression: Compression,
    /// The most bytes that a page may say to have.
    most: u64,
}

impl Limit {
    fn of(chunk: &ColumnChunkMetaData) -> Self {
        let stated = u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
        // Some writers leave out a part of what they count.
        Self { compression: chunk.compression(), most: stated.saturating_mul(4).max(HARMLESS) }
    }

    /// Checks pages up to the first that cannot be read, of which the library will say so.
    /// `is_first` means that the bytes are known to begin with a page.
    fn check(&self, bytes: &[u8], is_first: bool) -> Result<()> {
        let mut rest = bytes;
        while let Ok((page, behind)) = Page::read(rest) {
            if is_first && page.unpacked > self.most {
                return Err(damaged("has a page that says to be larger than its column")
                    .with("bytes", page.unpacked));
            }
            let Some((packed, next)) = behind.split_at_checked(page.packed) else { break };
            page.check(self.compression, packed)?;
            rest = next;
        }
        Ok(())
    }
}

/// The fields of the header of a page.
struct Page {
    unpacked: u64,
    packed: usize,
    /// The bytes before those that are packed.
    levels: usize,
    is_packed: bool,
}

impl Page {
    /// Reads a header; returns it with the bytes behind it.
    fn read(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let mut walk = Walk::new(bytes);
        let (mut unpacked, mut packed) = (None, None);
        let (mut levels, mut is_packed) = (0, true);
        let mut before = 0;
        while let Some((id, kind)) = walk.field(&mut before)? {
            match (id, kind) {
                (2, I32) => unpacked = u64::try_from(walk.signed()?).ok(),
                (3, I32) => packed = usize::try_from(walk.signed()?).ok(),
                (8, STRUCT) => (levels, is_packed) = read_levels(&mut walk)?,
                _ => walk.skip(kind)?,
            }
        }
        match (unpacked, packed) {
            (Some(unpacked), Some(packed)) => {
                Ok((Self { unpacked, packed, levels, is_packed }, walk.rest()))
            }
            _ => Err(damaged("has a page without a size")),
        }
    }

    /// Refuses packed bytes that unpack to more than the header says.
    fn check(&self, compression: Compression, packed: &[u8]) -> Result<()> {
        let packed = packed.get(self.levels..).unwrap_or_default();
        let stated = self.unpacked.saturating_sub(self.levels as u64).max(HARMLESS);
        // The largest factors by which these formats can unpack.
        let factor = match compression {
            _ if !self.is_packed => return Ok(()),
            Compression::GZIP(_) => 1032,
            Compression::LZ4 => 255,
            Compression::BROTLI(_) => u64::MAX,
            _ => return Ok(()),
        };
        if (packed.len() as u64).saturating_mul(factor) <= stated {
            return Ok(());
        }
        let size = match compression {
            Compression::GZIP(_) => unpacked_size(MultiGzDecoder::new(packed), stated),
            Compression::LZ4 => unpacked_size(FrameDecoder::new(packed), stated),
            _ => unpacked_size(brotli::Decompressor::new(packed, 64 << 10), stated),
        };
        match size > stated {
            true => Err(damaged("has a page that unpacks to more than it says")
                .with("bytes", self.unpacked)),
            false => Ok(()),
        }
    }
}

/// The bytes of levels, by the header of a data page of version 2, and whether the others are
/// packed.
fn read_levels(walk: &mut Walk<'_>) -> Result<(usize, bool)> {
    let (mut levels, mut is_packed) = (0usize, true);
    let mut before = 0;
    while let Some((id, kind)) = walk.field(&mut before)? {
        match (id, kind) {
            (5 | 6, I32) => {
                let length = usize::try_from(walk.signed()?).unwrap_or(0);
                levels = levels.saturating_add(length);
            }
            (7, TRUE | FALSE) => is_packed = kind == TRUE,
            _ => walk.skip(kind)?,
        }
    }
    Ok((levels, is_packed))
}

/// The size of unpacked bytes, counted up to one more than `most`. What cannot be unpacked counts
/// as nothing: the library refuses it at the same place.
fn unpacked_size(unpacked: impl Read, most: u64) -> u64 {
    io::copy(&mut unpacked.take(most.saturating_add(1)), &mut io::sink()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ArrowReaderOptions;
    use parquet::file::properties::{EnabledStatistics, WriterProperties};

    use super::*;
    use crate::load;

    fn file(compression: Compression) -> Vec<u8> {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..50_000).map(|n| n * n)));
        let rows = RecordBatch::try_from_iter([("a", values)]).unwrap();
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_statistics_enabled(EnabledStatistics::Page);
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties.build())).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn healthy_pages_pass() {
        let gzip = Compression::GZIP(Default::default());
        let brotli = Compression::BROTLI(Default::default());
        for compression in [gzip, brotli, Compression::LZ4, Compression::SNAPPY] {
            let bytes = bytes::Bytes::from(file(compression));
            let metadata = load(&bytes, ArrowReaderOptions::new()).unwrap();
            check_pages(&bytes, metadata.metadata()).unwrap();
            let chunk = metadata.metadata().row_group(0).column(0);
            let place = place_of(chunk);
            let index = |at: u64| usize::try_from(at).unwrap();
            let part = &bytes[index(place.start)..index(place.end)];
            let (page, _) = Page::read(part).unwrap();
            assert!(page.unpacked > 0 && page.packed > 0, "{compression}");
            let limits = PageLimits::of(metadata.metadata());
            limits.check(&place, part).unwrap();
            limits.check(&(0..4), b"PAR1").unwrap();
        }
    }

    /// The header of a dictionary page with these sizes.
    fn header(unpacked: u32, packed: usize) -> Vec<u8> {
        let number = |value: u64| {
            let (mut rest, mut bytes) = (value << 1, Vec::new());
            while rest >= 0x80 {
                bytes.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            bytes.push(rest.to_le_bytes()[0]);
            bytes
        };
        let fields = [2, u64::from(unpacked), packed as u64].map(|value| {
            let mut field = vec![0x15];
            field.extend(number(value));
            field
        });
        [fields.concat(), vec![0]].concat()
    }

    #[test]
    fn bombs_are_refused() {
        let zeros = vec![0u8; 1 << 20];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        (0..160).for_each(|_| gzip.write_all(&zeros).unwrap());
        let gzip = gzip.finish().unwrap();
        let limit = |compression| Limit { compression, most: HARMLESS };
        let bomb = [header(1000, gzip.len()), gzip.clone()].concat();
        let kind = Compression::GZIP(Default::default());
        for is_first in [true, false] {
            assert!(limit(kind).check(&bomb, is_first).is_err());
            limit(Compression::SNAPPY).check(&bomb, is_first).unwrap();
            limit(kind).check(&bomb[..bomb.len() - 1], is_first).unwrap();
        }
        let honest = [header(160 << 20, gzip.len()), gzip].concat();
        limit(kind).check(&honest, false).unwrap();
        assert!(limit(kind).check(&honest, true).is_err(), "larger than its column");
    }
}
