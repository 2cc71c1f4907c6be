//! The statistics of data files: what the manifest has of each, and the bounds in footers.

use arrow::array::{Array, ArrayRef, UInt64Array, new_null_array};
use arrow::compute::{SortOptions, cast, sort_to_indices, take};
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;

use super::digests::FileDigests;

/// Bounds of one column over some rows; each array has length one.
#[derive(Debug, Clone)]
pub struct ColumnBounds {
    /// The column.
    pub name: String,
    /// A lower bound of the values; null if unknown.
    pub min: ArrayRef,
    /// An upper bound of the values; null if unknown.
    pub max: ArrayRef,
    /// The number of null values; `None` if unknown.
    pub nulls: Option<u64>,
}

/// The metadata of one data file.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// The partition label.
    pub label: String,
    /// The key in the store.
    pub key: String,
    /// Number of rows.
    pub rows: Option<u64>,
    /// Size of the object.
    pub bytes: Option<u64>,
    /// Size of the Parquet footer.
    pub footer: Option<u64>,
    /// Number of row groups.
    pub groups: Option<u64>,
    /// The number of hash buckets that its partition key is based on; `None` if not known.
    pub buckets: Option<u64>,
    /// The digests of the file, where they are known.
    pub digests: Option<FileDigests>,
    /// Bounds per column.
    pub columns: Vec<ColumnBounds>,
}

impl FileFacts {
    /// A file of which at most the size is known.
    #[must_use]
    pub fn unknown(label: String, key: String, bytes: Option<u64>) -> Self {
        Self {
            label,
            key,
            rows: None,
            bytes,
            footer: None,
            groups: None,
            buckets: None,
            digests: None,
            columns: Vec::new(),
        }
    }
}

/// True if bounds are kept for columns of this type.
#[must_use]
pub fn has_bounds(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Date32
        | DataType::Timestamp(_, _)
        | DataType::Decimal128(_, _) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The bounds of the columns of a file, taken from its footer, in the types of `table`.
#[must_use]
pub fn of_file(metadata: &ParquetMetaData, file: &Schema, table: &Schema) -> Vec<ColumnBounds> {
    let groups = metadata.row_groups();
    table
        .fields()
        .iter()
        .filter(|field| has_bounds(field.data_type()))
        .filter_map(|field| {
            let converter = StatisticsConverter::try_new(
                field.name(),
                file,
                metadata.file_metadata().schema_descr(),
            )
            .ok()?
            .with_missing_null_counts_as_zero(false);
            let rows: Vec<u64> =
                groups.iter().map(|g| u64::try_from(g.num_rows()).unwrap_or(0)).collect();
            let nulls = converter.row_group_null_counts(groups).ok()?;
            let reduce = |values: ArrayRef, descending: bool| {
                let values = cast(&values, field.data_type()).ok()?;
                extreme(&values, &nulls, &rows, descending)
            };
            let unknown = || new_null_array(field.data_type(), 1);
            let min = converter.row_group_mins(groups).ok().and_then(|v| reduce(v, false));
            let max = converter.row_group_maxes(groups).ok().and_then(|v| reduce(v, true));
            Some(ColumnBounds {
                name: field.name().clone(),
                min: min.unwrap_or_else(unknown),
                max: max.unwrap_or_else(unknown),
                nulls: (nulls.null_count() == 0).then(|| nulls.values().iter().sum()),
            })
        })
        .collect()
}

/// The least (or greatest) bound over groups of rows, in an array of length one that is null if there
/// are no values; `None` if a group with values has no bound.
#[must_use]
pub fn extreme(
    bounds: &ArrayRef,
    nulls: &UInt64Array,
    rows: &[u64],
    descending: bool,
) -> Option<ArrayRef> {
    for (group, rows) in rows.iter().enumerate() {
        let all_null = nulls.is_valid(group) && nulls.value(group) == *rows;
        if bounds.is_null(group) && !all_null {
            return None;
        }
    }
    let options = SortOptions { descending, nulls_first: false };
    let first = sort_to_indices(bounds, Some(options), Some(1)).ok()?;
    (!first.is_empty()).then(|| take(bounds, &first, None).ok()).flatten()
}
