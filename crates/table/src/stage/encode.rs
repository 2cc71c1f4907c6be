//! Encoding row groups and assembling them into a Parquet file.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{BloomFilterPosition, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use partita_core::{Digest, Error, Result};

use crate::format::digests;
use crate::format::index::distinct;
use crate::format::pandas::ExtensionTypes;
use crate::format::schema::{cast_column, pandas_entry, with_pandas};
use crate::options::WriteOptions;

/// What names the writer in the footer of a data file; the version follows.
pub(crate) const CREATED_BY: &str = "partita version ";

/// The false-positive rate of bloom filters.
const WRONGLY_KEPT: f64 = 0.01;

/// The number of distinct values that a bloom filter is sized for before it is folded; more make it
/// less exact.
const FORESEEN: usize = 1 << 20;

/// A row group with encoded pages.
pub(super) struct EncodedGroup {
    chunks: Vec<ArrowColumnChunk>,
    /// Distinct values per indexed column.
    pub index: Vec<ArrayRef>,
}

/// A data file being written.
pub(super) struct OpenFile {
    writer: SerializedFileWriter<Vec<u8>>,
    factory: Arc<ArrowRowGroupWriterFactory>,
    pub schema: SchemaRef,
    /// The digests of the column chunks that were encoded so far.
    digests: Vec<Digest>,
}

/// Converts the values of a column to the type of its index.
fn indexed(name: &str, values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    cast_column(name, values, to).map_err(|error| match to {
        DataType::Timestamp(_, _) => Error::invalid(
            "a time with an index must lie between 1677-09-21 and 2262-04-11, which nanoseconds \
             reach; leave the index out",
        )
        .with("column", name)
        .caused_by(error),
        _ => error,
    })
}

fn cannot(error: parquet::errors::ParquetError) -> Error {
    Error::invalid("Parquet cannot hold this data").caused_by(error)
}

impl OpenFile {
    /// Begins a file with the columns of `schema`.
    pub fn new(
        schema: &SchemaRef,
        extensions: &ExtensionTypes,
        options: &WriteOptions,
    ) -> Result<Self> {
        let described = with_pandas(Schema::new(schema.fields().clone()), extensions);
        let entry = pandas_entry(&described);
        let schema = Arc::new(described);
        let mut properties = WriterProperties::builder()
            .set_compression(options.compression.to_parquet()?)
            .set_created_by(format!("{CREATED_BY}{}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(entry);
        for (column, compression) in &options.column_compression {
            let path = ColumnPath::from(vec![column.clone()]);
            properties = properties.set_column_compression(path, compression.to_parquet()?);
        }
        for column in options.bloom_filters.iter().flatten() {
            let path = ColumnPath::from(vec![column.clone()]);
            properties = properties
                .set_column_bloom_filter_fpp(path.clone(), WRONGLY_KEPT)
                .set_column_bloom_filter_max_ndv(path, options.row_group_rows.min(FORESEEN) as u64);
        }
        // All bloom filters are at the end of the file, so that one request reads them.
        let properties = properties.set_bloom_filter_position(BloomFilterPosition::End).build();
        let options = ArrowWriterOptions::new().with_properties(properties);
        let (writer, factory) =
            ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options)
                .and_then(ArrowWriter::into_serialized_writer)
                .map_err(cannot)?;
        Ok(Self { writer, factory: Arc::new(factory), schema, digests: Vec::new() })
    }

    /// An encoder of row groups of this file, usable on any thread.
    pub fn encoder(&self, index: &[(String, DataType)]) -> GroupEncoder {
        GroupEncoder {
            factory: Arc::clone(&self.factory),
            schema: Arc::clone(&self.schema),
            index: index.to_vec(),
        }
    }

    /// Appends an encoded row group.
    pub fn append(&mut self, group: EncodedGroup) -> Result<()> {
        let mut writer = self.writer.next_row_group().map_err(cannot)?;
        for chunk in group.chunks {
            chunk.append_to_row_group(&mut writer).map_err(cannot)?;
        }
        let written = writer.close().map_err(cannot)?;
        self.writer.flush().map_err(|error| cannot(error.into()))?;
        self.digests.extend(digests::of_group(self.writer.inner(), &written));
        Ok(())
    }

    /// Ends the file.
    pub fn finish(mut self) -> Result<(Bytes, ParquetMetaData)> {
        self.writer.append_key_value_metadata(digests::entry(&self.digests));
        let metadata = self.writer.finish().map_err(cannot)?;
        let bytes = std::mem::take(self.writer.inner_mut());
        Ok((Bytes::from(bytes), metadata))
    }
}

/// Encodes row groups of one file.
pub(super) struct GroupEncoder {
    factory: Arc<ArrowRowGroupWriterFactory>,
    schema: SchemaRef,
    index: Vec<(String, DataType)>,
}

impl GroupEncoder {
    /// Encodes `batches` as one row group.
    pub fn encode(&self, batches: &[RecordBatch]) -> Result<EncodedGroup> {
        let mut writers = self.factory.create_column_writers(0).map_err(cannot)?.into_iter();
        let mut chunks = Vec::new();
        for (position, field) in self.schema.fields().iter().enumerate() {
            let mut own = Vec::new();
            for batch in batches {
                let leaves = compute_leaves(field, batch.column(position)).map_err(cannot)?;
                for (i, leaf) in leaves.iter().enumerate() {
                    if own.len() == i {
                        own.extend(writers.next());
                    }
                    if let Some(writer) = own.get_mut(i) {
                        writer.write(leaf).map_err(cannot)?;
                    }
                }
            }
            for writer in own {
                chunks.push(writer.close().map_err(cannot)?);
            }
        }
        let index = self.index.iter().map(|(name, data_type)| {
            let columns: Result<Vec<ArrayRef>> = batches
                .iter()
                .filter_map(|batch| batch.column_by_name(name))
                .map(|column| distinct(&indexed(name, column, data_type)?))
                .collect();
            let columns = columns?;
            let columns: Vec<&dyn Array> = columns.iter().map(|c| c.as_ref()).collect();
            distinct(&concat(&columns)?)
        });
        Ok(EncodedGroup { chunks, index: index.collect::<Result<_>>()? })
    }
}
