//! Bloom filters of Parquet files, which exclude row groups that lack a value.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt64Type};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::Type as PhysicalType;
use parquet::bloom_filter::Sbbf;
use parquet::data_type::AsBytes;
use partita_core::Result;

/// The location of the filter of a column chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilterPlace {
    column: String,
    /// The index of its row group among the examined ones.
    group: usize,
    /// Its byte range in the file.
    pub range: Range<u64>,
}

/// The filters of `columns` in the given row groups. Filters that are larger than the data that
/// they could exclude are left out, and so are those with an invalid location.
pub(super) fn places(
    metadata: &ArrowReaderMetadata,
    file_bytes: u64,
    groups: &[usize],
    columns: impl Iterator<Item = String>,
) -> Vec<FilterPlace> {
    let mut places = Vec::new();
    for column in columns {
        let Some(leaf) = leaf_of(metadata, &column) else { continue };
        for (position, group) in groups.iter().enumerate() {
            let chunk =
                metadata.metadata().row_groups().get(*group).and_then(|g| g.columns().get(leaf));
            let Some(chunk) = chunk else { continue };
            let place = chunk.bloom_filter_offset().zip(chunk.bloom_filter_length());
            let Some((Ok(start), Ok(length))) =
                place.map(|(start, length)| (u64::try_from(start), u64::try_from(length)))
            else {
                continue;
            };
            let size = u64::try_from(chunk.compressed_size()).unwrap_or(0);
            match start.checked_add(length) {
                Some(end) if end <= file_bytes && length < size => places.push(FilterPlace {
                    column: column.clone(),
                    group: position,
                    range: start..end,
                }),
                _ => {}
            }
        }
    }
    places
}

/// The single leaf of a column that is not nested.
fn leaf_of(metadata: &ArrowReaderMetadata, column: &str) -> Option<usize> {
    let leaves = metadata.parquet_schema().columns();
    leaves.iter().position(|leaf| {
        leaf.path().parts().first().is_some_and(|name| name == column)
            && leaf.path().parts().len() == 1
            && leaf.max_rep_level() == 0
    })
}

/// Bloom filters of some row groups, by column.
#[derive(Debug, Default)]
pub(super) struct Filters {
    columns: BTreeMap<String, Column>,
    groups: usize,
}

#[derive(Debug)]
struct Column {
    physical: PhysicalType,
    /// The Arrow type that follows from the Parquet type alone.
    natural: DataType,
    /// One filter per examined row group.
    filters: Vec<Option<Sbbf>>,
}

impl Filters {
    /// Decodes the filters at `places` from the bytes `fetched`. Those that cannot be read are
    /// ignored.
    pub fn read(
        metadata: &ArrowReaderMetadata,
        groups: usize,
        places: &[FilterPlace],
        fetched: Vec<Bytes>,
    ) -> Self {
        let mut columns: BTreeMap<String, Column> = BTreeMap::new();
        let natural = parquet_to_arrow_schema(metadata.parquet_schema(), None);
        for (place, bytes) in places.iter().zip(fetched) {
            let name = &place.column;
            let Some(leaf) = leaf_of(metadata, name) else { continue };
            let field = natural.as_ref().ok().and_then(|schema| schema.field_with_name(name).ok());
            let Some(field) = field else { continue };
            let column = columns.entry(name.clone()).or_insert_with(|| Column {
                physical: metadata.parquet_schema().column(leaf).physical_type(),
                natural: field.data_type().clone(),
                filters: vec![None; groups],
            });
            // A filter without blocks cannot be queried.
            let filter = Sbbf::from_bytes(&bytes).ok().filter(|filter| filter.num_blocks() > 0);
            if let Some(slot) = column.filters.get_mut(place.group) {
                *slot = filter;
            }
        }
        Self { columns, groups }
    }

    /// The row groups that may contain one of `values`, which have the type of the table.
    pub fn holding(&self, column: &str, values: &ArrayRef) -> Result<Option<BooleanArray>> {
        let Some(column) = self.columns.get(column) else { return Ok(None) };
        let Some(stored) = column.stored(values) else { return Ok(None) };
        debug_assert_eq!(column.filters.len(), self.groups, "a filter for each row group");
        let may = |filter: &Option<Sbbf>| match filter {
            Some(filter) => stored.iter().any(|value| filter.check(value.as_slice())),
            None => true,
        };
        Ok(Some(column.filters.iter().map(|filter| Some(may(filter))).collect()))
    }
}

impl Column {
    /// The values in Parquet's byte representation, without those that the file's type cannot
    /// represent; `None` for unsupported types.
    fn stored(&self, values: &ArrayRef) -> Option<Vec<Vec<u8>>> {
        let natural = &self.natural;
        match (values.data_type(), self.physical) {
            (given, PhysicalType::INT32 | PhysicalType::INT64)
                if given.is_integer() && natural.is_integer() =>
            {
                self.integers(&cast(values, natural).ok()?)
            }
            (DataType::Date32, PhysicalType::INT32) if *natural == DataType::Date32 => {
                self.integers(&cast(values, &DataType::Int32).ok()?)
            }
            (DataType::Timestamp(_, zone), PhysicalType::INT64) => match natural {
                DataType::Timestamp(unit, _) => {
                    let unit = DataType::Timestamp(*unit, zone.clone());
                    let counts = cast(&cast(values, &unit).ok()?, &DataType::Int64).ok()?;
                    self.integers(&counts)
                }
                _ => None,
            },
            (given, PhysicalType::FLOAT | PhysicalType::DOUBLE) if given.is_floating() => {
                self.floats(values)
            }
            (given, PhysicalType::BYTE_ARRAY)
                if (given.is_string() || given.is_binary())
                    && (natural.is_string() || natural.is_binary()) =>
            {
                let values = cast(values, &DataType::LargeBinary).ok()?;
                Some(values.as_binary::<i64>().iter().flatten().map(<[u8]>::to_vec).collect())
            }
            _ => None,
        }
    }

    fn integers(&self, values: &ArrayRef) -> Option<Vec<Vec<u8>>> {
        // Unsigned numbers are stored with the same bits as signed ones.
        let bits: Vec<[u8; 8]> = if values.data_type().is_unsigned_integer() {
            let values = cast(values, &DataType::UInt64).ok()?;
            values.as_primitive::<UInt64Type>().iter().flatten().map(u64::to_le_bytes).collect()
        } else {
            let values = cast(values, &DataType::Int64).ok()?;
            values.as_primitive::<Int64Type>().iter().flatten().map(i64::to_le_bytes).collect()
        };
        let width = if self.physical == PhysicalType::INT32 { 4 } else { 8 };
        Some(bits.iter().filter_map(|bits| bits.get(..width).map(<[u8]>::to_vec)).collect())
    }

    /// Both signs of zero are looked up: they are equal, but stored as different bits.
    fn floats(&self, values: &ArrayRef) -> Option<Vec<Vec<u8>>> {
        let mut stored = Vec::with_capacity(values.len());
        if self.physical == PhysicalType::FLOAT {
            let values = cast(values, &DataType::Float32).ok()?;
            for value in values.as_primitive::<Float32Type>().iter().flatten() {
                stored.push(value.as_bytes().to_vec());
                if value == 0.0 {
                    stored.push((-value).as_bytes().to_vec());
                }
            }
        } else {
            let values = cast(values, &DataType::Float64).ok()?;
            for value in values.as_primitive::<Float64Type>().iter().flatten() {
                stored.push(value.as_bytes().to_vec());
                if value == 0.0 {
                    stored.push((-value).as_bytes().to_vec());
                }
            }
        }
        Some(stored)
    }
}
