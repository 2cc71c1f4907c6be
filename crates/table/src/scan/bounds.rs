//! How many bytes the rows of a file take, before they are decoded.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::Type;
use parquet::column::page::{Page, PageReader};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use partita_core::{Error, Result};

/// The target size of a column of bytes in a batch. The margin to the 2 GiB that an array can have
/// is for rows that are larger than others.
const BATCH: u64 = 256 << 20;
/// Files that take less memory are decoded without asking whether there is so much.
const SMALL: u64 = 1 << 30;
/// The most memory for the rows of a small file whose footer says that they take less.
const MOST: u64 = 4 << 30;

/// The number of rows for which a column of bytes stays below the limit of an array, assuming
/// rows of similar size.
pub(super) fn rows_within_bounds(metadata: &ArrowReaderMetadata) -> usize {
    let groups = metadata.metadata().row_groups().iter();
    let most = groups.filter(|group| group.num_rows() > 0).flat_map(|group| {
        let rows = rows_of(group);
        let bytes = group.columns().iter().map(bytes_of);
        bytes.map(move |bytes| rows.saturating_mul(BATCH) / bytes.max(1))
    });
    usize::try_from(most.min().unwrap_or(u64::MAX)).unwrap_or(usize::MAX).max(1)
}

/// The number of rows of which no column takes more than the bytes of a batch, by the longest value
/// in the dictionaries of a file in memory. A dictionary may hold one long value for all rows, and
/// footers need not tell.
pub(super) fn rows_by_dictionaries(
    file: &Bytes,
    columns: &[(&RowGroupMetaData, &ColumnChunkMetaData)],
) -> ParquetResult<usize> {
    let mut most = usize::MAX;
    for (group, column) in columns {
        let stated = u64::try_from(column.uncompressed_size()).unwrap_or(0);
        let is_large = rows_of(group).saturating_mul(stated) > SMALL;
        if column.column_type() != Type::BYTE_ARRAY
            || column.dictionary_page_offset().is_none()
            || !is_large
        {
            continue;
        }
        let rows = usize::try_from(rows_of(group)).unwrap_or(usize::MAX);
        let mut pages = SerializedPageReader::new(Arc::new(file.clone()), column, rows, None)?;
        if let Some(Page::DictionaryPage { buf, .. }) = pages.get_next_page()? {
            let rows = BATCH / longest(&buf).max(1);
            most = most.min(usize::try_from(rows).unwrap_or(usize::MAX).max(1));
        }
    }
    Ok(most)
}

/// The longest of plainly encoded values: each has its length before it, in four bytes.
fn longest(mut values: &[u8]) -> u64 {
    let mut longest = 0;
    while let Some((length, rest)) = values.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        longest = longest.max(u64::from(length));
        let next = usize::try_from(length).ok().and_then(|length| rest.get(length..));
        values = next.unwrap_or_default();
    }
    longest
}

/// The memory that rows take, compared with what is there.
pub(super) struct Room {
    /// The most bytes that the rows may take.
    most: u64,
    taken: u64,
}

impl Room {
    /// Room for some columns of some row groups, by what the footer says of them. `all` means that
    /// all of their rows are decoded.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if there is not so much
    /// memory.
    pub fn of<'a>(
        columns: impl Iterator<Item = (&'a RowGroupMetaData, &'a ColumnChunkMetaData)>,
        all: bool,
    ) -> Result<Self> {
        let (mut stated, mut most) = (0u64, MOST);
        for (group, column) in columns {
            stated = stated.saturating_add(bytes_of(column));
            // Repeated numbers take no bytes in a file, and each takes some in memory.
            let values = rows_of(group).max(u64::try_from(column.num_values()).unwrap_or(0));
            most = most.saturating_add(values.saturating_mul(32));
        }
        if all && stated > SMALL {
            reserve(stated)?;
        }
        Ok(Self { most: most.saturating_add(stated.saturating_mul(4)), taken: 0 })
    }

    /// Counts rows that were decoded.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if they take far more than the footer says;
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if there is no memory for
    /// more of them.
    pub fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let bytes = batch.get_array_memory_size() as u64;
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > self.most {
            return Err(Error::corrupt("a file has more bytes in its rows than its footer says")
                .with("bytes", self.taken));
        }
        if self.taken > SMALL { reserve(bytes) } else { Ok(()) }
    }
}

/// Whether there is so much memory. Decoders end the process if there is not.
fn reserve(bytes: u64) -> Result<()> {
    let size = usize::try_from(bytes).unwrap_or(usize::MAX);
    Vec::<u8>::new().try_reserve_exact(size).map_err(|_| {
        Error::invalid("there is not enough memory for the rows of a file; read fewer columns")
            .with("bytes", bytes)
    })
}

fn rows_of(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

fn bytes_of(column: &ColumnChunkMetaData) -> u64 {
    let bytes = column.unencoded_byte_array_data_bytes().unwrap_or(column.uncompressed_size());
    u64::try_from(bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
    use arrow::datatypes::Int32Type;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ArrowReaderOptions;
    use parquet::file::properties::WriterProperties;
    use partita_parquet::load;

    use super::*;

    #[test]
    fn the_longest_value_of_a_dictionary_bounds_the_rows() {
        let long = "x".repeat(1 << 20);
        let keys = Int32Array::from_iter_values((0..2_000).map(|row| i32::from(row % 700 == 0)));
        let values = StringArray::from_iter_values([long.as_str(), "short"]);
        let column = DictionaryArray::<Int32Type>::new(keys, Arc::new(values));
        let rows = RecordBatch::try_from_iter([("a", Arc::new(column) as ArrayRef)]).unwrap();
        // A larger dictionary would be given up for plain values.
        let properties = WriterProperties::builder().set_dictionary_page_size_limit(8 << 20);
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties.build())).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let file = Bytes::from(bytes);
        let metadata = load(&file, ArrowReaderOptions::new()).unwrap();
        let group = metadata.metadata().row_group(0);
        let columns = [(group, group.column(0))];
        assert_eq!(rows_by_dictionaries(&file, &columns).unwrap(), 256);
        assert_eq!(longest(b"\x02\0\0\0ab\x01\0\0\0c"), 2);
        assert_eq!(longest(b"\xff\xff\xff\xffab"), u64::from(u32::MAX));
        assert_eq!(longest(b""), 0);
    }
}
