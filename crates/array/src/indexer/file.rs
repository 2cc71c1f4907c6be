//! The file of an index, in the formats of both generations of ZCollection.
//!
//! The older format names the slices `start` and `stop`, and has a column for each field of the
//! keys, of the types that ZCollection uses. The newer one names them `_start` and `_stop`, and has
//! the path of the partition in the column `_partition`. Both are read for either layout of the
//! collection, which determines the one that is written. Partita's own data about an index is in
//! the key-value metadata of the file, under a name of its own; entries of other programs are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{cast, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use partita_core::{Error, ErrorKind, Result, guarded};
use partita_parquet::{check_pages, check_seal, load, sealed};
use serde::{Deserialize, Serialize};

use super::entries::{Entries, START, STOP};
use crate::collection::Partition;
use crate::dataset::DType;
use crate::layout::{Config, Layout};
use crate::partitioning::{Key, Partitioning};

/// The column with the path of the partition.
pub(super) const PARTITION: &str = "_partition";
/// The key of Partita's own entry in the metadata.
const METADATA: &str = "partita";
/// The key of the entry that Arrow libraries write.
const ARROW_SCHEMA: &str = "ARROW:schema";
/// The version of the entry under [`METADATA`].
const FORMAT: u32 = 1;

/// Partita's own data about an index.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    format: u32,
    /// An id that is unique to each state of the file.
    pub id: String,
    /// The last commit of the collection that the index reflects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitName>,
    /// The variables that are indexed, if it is an index of variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<String>>,
    /// The variables that the function is given, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<String>>,
    /// The predicate on the partitions that are indexed, if not all are.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub predicate: Option<String>,
    /// The paths of partitions whose paths do not follow from their keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    paths: BTreeMap<String, String>,
}

impl About {
    /// For an index of variables, or of a function that is given some variables.
    pub fn of(
        variables: Option<Vec<String>>,
        inputs: Option<Vec<String>>,
        predicate: Option<String>,
    ) -> Self {
        Self { variables, inputs, predicate, ..Self::default() }
    }
}

/// The number of a commit, and its id, which distinguishes it from a commit of another collection
/// that was stored at the same place before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CommitName {
    pub number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The content of a file.
pub(super) struct Read {
    pub entries: Entries,
    /// None if Partita did not write the file.
    pub about: Option<About>,
    /// Metadata entries of other programs.
    pub others: Vec<(String, Option<String>)>,
}

/// The table as it is stored.
pub(super) fn table(entries: &Entries, config: &Config) -> Result<RecordBatch> {
    let own = entries.rows.schema();
    let mut fields: Vec<Field> = own.fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut columns = entries.rows.columns().to_vec();
    let partitions = || {
        let all = entries.partitions.iter();
        all.flat_map(|(partition, range)| std::iter::repeat_n(partition, range.len()))
    };
    match config.layout {
        Layout::ZarrV3 => {
            let paths = StringArray::from_iter_values(partitions().map(|found| &found.path));
            fields.push(Field::new(PARTITION, DataType::Utf8, true));
            columns.push(Arc::new(paths));
        }
        Layout::ZarrV2 => {
            for (field, name) in fields.iter_mut().zip(["start", "stop"]) {
                *field = field.clone().with_name(name);
            }
            for (at, name) in config.partitioning.fields().iter().enumerate() {
                let data_type = key_type(&config.partitioning, name, config);
                let value = |found: &Partition| found.key.values().get(at).copied().unwrap_or(0);
                let column = numbers(partitions().map(value), &data_type)?;
                fields.push(Field::new(*name, data_type, true));
                columns.push(column);
            }
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The type of the column for a field of the keys, as ZCollection chooses it: 64 bits for a
/// sequence, whose type it does not store.
fn key_type(partitioning: &Partitioning, name: &str, config: &Config) -> DataType {
    let dtype = config.schema.variable(name).map(|variable| variable.dtype);
    match (partitioning, name) {
        (Partitioning::Date { .. }, "year") => DataType::UInt16,
        (Partitioning::Date { .. }, _) => DataType::UInt8,
        _ if dtype == Some(DType::UInt64) => DataType::UInt64,
        _ => DataType::Int64,
    }
}

fn numbers(values: impl Iterator<Item = i128>, data_type: &DataType) -> Result<ArrayRef> {
    if *data_type == DataType::UInt64 {
        let values: UInt64Array = values.map(|value| u64::try_from(value).ok()).collect();
        return Ok(Arc::new(values));
    }
    let values: Int64Array = values.map(|value| i64::try_from(value).ok()).collect();
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    Ok(cast_with_options(&values, data_type, &options)?)
}

/// Encodes the file.
pub(super) fn encode(
    entries: &Entries,
    mut about: About,
    others: &[(String, Option<String>)],
    config: &Config,
) -> Result<Bytes> {
    about.format = FORMAT;
    let digits = config.layout.digits();
    about.paths = entries
        .partitions
        .iter()
        .map(|(found, _)| (config.partitioning.path(&found.key, digits), found.path.clone()))
        .filter(|(expected, path)| expected != path)
        .collect();
    let failed = |error: parquet::errors::ParquetError| {
        Error::invalid("the index cannot be written as Parquet").caused_by(error)
    };
    let text = serde_json::to_string(&about).map_err(|error| {
        Error::invalid("the metadata of the index cannot be encoded").caused_by(error)
    })?;
    let mut metadata: Vec<KeyValue> =
        others.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    metadata.push(KeyValue::new(METADATA.to_owned(), text));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(metadata))
        .build();
    let table = table(entries, config)?;
    // pyarrow reads the metadata of a file with an Arrow schema from that schema alone. Partita's
    // entry is not part of it, so that it is lost when another library writes the file: it is then
    // unknown which commit the index reflects.
    let known = others.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
    let schema = table.schema().as_ref().clone().with_metadata(known.collect::<BTreeMap<_, _>>());
    let table = table.with_schema(Arc::new(schema))?;
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, table.schema(), Some(properties)).map_err(failed)?;
    writer.write(&table).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(sealed(bytes).into())
}

/// Reads a file of either format.
pub(super) fn decode(bytes: Bytes, config: &Config) -> Result<Read> {
    guarded(|| decode_checked(bytes, config))
}

fn decode_checked(bytes: Bytes, config: &Config) -> Result<Read> {
    let damaged = |error: parquet::errors::ParquetError| {
        Error::corrupt("the index is not a readable Parquet file").caused_by(error)
    };
    let checked = check_seal(&bytes).and_then(|()| {
        let metadata = load(&bytes, ArrowReaderOptions::new())?;
        check_pages(&bytes, metadata.metadata())?;
        Ok(metadata)
    });
    let metadata = checked.map_err(|error| {
        Error::corrupt("the index is not a readable Parquet file").caused_by(error)
    })?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let metadata = builder.metadata().file_metadata().key_value_metadata().cloned();
    let schema = builder.schema().clone();
    let batches = builder.build().map_err(damaged)?.collect::<Result<Vec<_>, _>>();
    let batches =
        batches.map_err(|error| Error::corrupt("the index cannot be read").caused_by(error))?;
    // The metadata of the schema repeat those of the file, which are handled separately.
    let schema = Arc::new(Schema::new(schema.fields().clone()));
    let plain = batches.iter().map(|batch| batch.clone().with_schema(Arc::clone(&schema)));
    let plain = plain.collect::<Result<Vec<_>, _>>()?;
    let table = concat_batches(&schema, &plain)?;
    let mut about: Option<About> = None;
    let mut others = Vec::new();
    for KeyValue { key, value } in metadata.unwrap_or_default() {
        match key.as_str() {
            ARROW_SCHEMA => {}
            METADATA => about = value.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            _ => others.push((key, value)),
        }
    }
    let about = about.filter(|about| about.format == FORMAT);
    let paths = about.as_ref().map(|about| about.paths.clone()).unwrap_or_default();
    let entries = entries(&table, &paths, config)?;
    Ok(Read { entries, about, others })
}

fn entries(
    table: &RecordBatch,
    paths: &BTreeMap<String, String>,
    config: &Config,
) -> Result<Entries> {
    let fields = config.partitioning.fields();
    let newer = table.column_by_name(PARTITION).is_some();
    let slices = if newer { [START, STOP] } else { ["start", "stop"] };
    let taken: Vec<&str> = if newer { vec![PARTITION] } else { fields.clone() };
    let foreign = |name: &str| {
        Error::new(
            ErrorKind::Corrupt,
            "this is not an index of this collection: a column is missing",
        )
        .with("column", name)
    };
    let require = |name: &str| table.column_by_name(name).ok_or_else(|| foreign(name));
    let partitions: Vec<Partition> = if newer {
        let column = cast(require(PARTITION)?, &DataType::Utf8)?;
        let column = column.as_any().downcast_ref::<StringArray>();
        let column = column.ok_or_else(|| foreign(PARTITION))?;
        let partition = |path: Option<&str>| {
            let path = path.unwrap_or_default();
            let key = config.partitioning.parse(path).ok_or_else(|| {
                Error::corrupt(
                    "the index names a path that is not that of a partition of this collection",
                )
                .with("partition", path)
            })?;
            Ok(Partition { key, path: path.to_owned() })
        };
        column.iter().map(partition).collect::<Result<_>>()?
    } else {
        let columns = fields.iter().map(|name| integers(require(name)?));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let names = config.partitioning.key_fields();
        let partition = |row: usize| {
            let values = columns.iter().map(|column| column.get(row).copied().unwrap_or(0));
            let key = Key::new(Arc::clone(&names), values.collect());
            let path = config.partitioning.path(&key, config.layout.digits());
            Partition { path: paths.get(&path).cloned().unwrap_or(path), key }
        };
        (0..table.num_rows()).map(partition).collect()
    };
    let mut columns = Vec::with_capacity(table.num_columns());
    let mut schema = Vec::with_capacity(table.num_columns());
    for (name, own) in slices.iter().zip([START, STOP]) {
        columns.push(cast(require(name)?, &DataType::Int64)?);
        schema.push(Field::new(own, DataType::Int64, true));
    }
    for (field, column) in table.schema().fields().iter().zip(table.columns()) {
        let name = field.name().as_str();
        if !slices.contains(&name) && !taken.contains(&name) {
            columns.push(Arc::clone(column));
            schema.push(field.as_ref().clone().with_nullable(true));
        }
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(schema)), columns)?;
    Entries::of(&rows, partitions)
}

/// The values of the column of a key field.
fn integers(column: &ArrayRef) -> Result<Vec<i128>> {
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    let missing = || Error::corrupt("the index has a partition without a key");
    if *column.data_type() == DataType::UInt64 {
        let values = column.as_any().downcast_ref::<UInt64Array>().ok_or_else(missing)?;
        return values.iter().map(|value| value.map(i128::from).ok_or_else(missing)).collect();
    }
    let values = cast_with_options(column, &DataType::Int64, &options)
        .map_err(|error| missing().caused_by(error))?;
    let values = values.as_any().downcast_ref::<Int64Array>().ok_or_else(missing)?;
    values.iter().map(|value| value.map(i128::from).ok_or_else(missing)).collect()
}
