//! Files of rows as batches.

mod folder;

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::compute::cast;
use arrow::csv::reader::Format as CsvFormat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::reader::infer_json_schema;
use arrow::record_batch::{RecordBatch, RecordBatchReader};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;
use partita::{BatchSource, Error, ErrorKind};

use self::folder::Source;
use crate::failure::Failure;
use crate::output::Format;

/// Rows of a batch that is read from text.
const BATCH_ROWS: usize = 1 << 16;

type Arrow<T> = Result<T, ArrowError>;

/// Opens files as one source of batches, read one after the other; `-` is standard input.
///
/// A folder stands for the files in it, and folders named `column=value` add a column. Text has no
/// types: it is read with those of the table in `like`, or else with those that the whole of the
/// first file suggests.
pub(crate) fn open(
    paths: &[PathBuf],
    format: Option<Format>,
    like: Option<SchemaRef>,
) -> Result<BatchSource, Failure> {
    let mut files = folder::sources(paths, format)?.into_iter();
    let Some(source) = files.next() else {
        return Err(Failure::Usage("there is no file to read".into()));
    };
    let first = source.open(like.as_deref())?;
    let schema = first.schema();
    Ok(Box::new(Chain { schema, current: Some((source.path, first)), files }))
}

fn open_one(path: &Path, format: Format, like: Option<&Schema>) -> Result<BatchSource, Failure> {
    let unreadable = |error| Failure::io(format!("cannot read {}", path.display()), error);
    let source = if path.as_os_str() == "-" {
        // Finding out the types takes a second look, which a pipe does not give.
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(unreadable)?;
        match format {
            Format::Parquet => parquet(Bytes::from(bytes)),
            _ => text(Cursor::new(bytes), format, like),
        }
    } else {
        let file = File::open(path).map_err(unreadable)?;
        match format {
            Format::Parquet => parquet(file),
            _ => text(file, format, like),
        }
    };
    source.map_err(|error| {
        Error::invalid("the file cannot be read in this format")
            .with("file", path.display())
            .caused_by(error)
            .into()
    })
}

fn parquet(source: impl ChunkReader + 'static) -> Arrow<BatchSource> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(source)?;
    Ok(Box::new(builder.with_batch_size(BATCH_ROWS).build()?))
}

fn text<R>(mut source: R, format: Format, like: Option<&Schema>) -> Arrow<BatchSource>
where
    R: Read + Seek + Send + 'static,
{
    // The names and guessed types of all rows; with a table to go by, one row tells the names.
    let rows = like.map(|_| 1);
    let guessed = match format {
        Format::Csv => CsvFormat::default().with_header(true).infer_schema(&mut source, rows)?.0,
        _ => infer_json_schema(BufReader::new(&mut source), None)?.0,
    };
    source.rewind()?;
    let schema = Arc::new(match like {
        Some(like) => typed(&guessed, like),
        None => guessed,
    });
    Ok(match format {
        Format::Csv => Box::new(
            arrow::csv::ReaderBuilder::new(schema)
                .with_header(true)
                .with_batch_size(BATCH_ROWS)
                .build(source)?,
        ),
        _ => Box::new(
            arrow::json::ReaderBuilder::new(schema)
                .with_batch_size(BATCH_ROWS)
                .build(BufReader::new(source))?,
        ),
    })
}

/// The columns of a file with the types of the table. Columns that the table lacks keep theirs: to
/// say so is the table's business.
fn typed(found: &Schema, table: &Schema) -> Schema {
    let fields: Vec<Field> = found
        .fields()
        .iter()
        .map(|field| match table.field_with_name(field.name()) {
            Ok(known) => Field::new(field.name(), parsed_as(known.data_type()), true),
            Err(_) => field.as_ref().clone(),
        })
        .collect();
    Schema::new(fields)
}

/// The type to parse text as, for a column of the given type: the parsers know fewer types than
/// tables do, and the table converts strings of any width.
fn parsed_as(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, values) => parsed_as(values),
        other => other.clone(),
    }
}

/// Files one after the other, all with the columns of the first.
struct Chain {
    schema: SchemaRef,
    current: Option<(PathBuf, BatchSource)>,
    files: std::vec::IntoIter<Source>,
}

impl Chain {
    fn advance(&mut self) -> Arrow<Option<RecordBatch>> {
        while let Some((path, source)) = &mut self.current {
            if let Some(batch) = source.next() {
                return fitted(&batch?, &self.schema, path).map(Some);
            }
            self.current = match self.files.next() {
                Some(file) => {
                    let source = file
                        .open(Some(&self.schema))
                        .map_err(|failure| external(failure.into_error(), &file.path))?;
                    Some((file.path, source))
                }
                None => None,
            };
        }
        Ok(None)
    }
}

impl Iterator for Chain {
    type Item = Arrow<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl RecordBatchReader for Chain {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// A batch with its columns in the order and of the types of `schema`.
fn fitted(batch: &RecordBatch, schema: &SchemaRef, path: &Path) -> Arrow<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let differs = |message: &str, column: &str| {
        let error = Error::new(ErrorKind::SchemaMismatch, message).with("column", column);
        external(error, path)
    };
    if let Some(surplus) =
        batch.schema_ref().fields().iter().find(|f| schema.field_with_name(f.name()).is_err())
    {
        return Err(differs("a file has a column that the first file lacks", surplus.name()));
    }
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let column = batch.column_by_name(field.name()).ok_or_else(|| {
                differs("a file lacks a column that the first file has", field.name())
            })?;
            cast(column, field.data_type())
        })
        .collect::<Arrow<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

fn external(error: Error, path: &Path) -> ArrowError {
    ArrowError::ExternalError(Box::new(error.with("file", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
        let path = directory.path().join(name);
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    #[test]
    fn files_of_different_formats_make_one_source() {
        let directory = tempfile::tempdir().unwrap();
        let csv = file(&directory, "a.csv", "id,name\n1,x\n2,\n");
        let json = file(&directory, "b.ndjson", "{\"name\": \"y\", \"id\": 3}\n");
        let source = open(&[csv, json], None, None).unwrap();
        assert_eq!(source.schema().field(0).data_type(), &DataType::Int64);
        let rows: usize = source.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 3);
    }

    #[test]
    fn folders_name_columns() {
        let directory = tempfile::tempdir().unwrap();
        for (year, city) in [("2025", "a b"), ("2026", "7")] {
            let folder =
                directory.path().join(format!("year={year}/city={}", city.replace(' ', "%20")));
            std::fs::create_dir_all(&folder).unwrap();
            file(&directory, &format!("{}/x.csv", folder.display()), "id\n1\n2\n");
            file(&directory, &format!("{}/_SUCCESS", folder.display()), "");
        }
        let source = open(&[directory.path().to_owned()], None, None).unwrap();
        let types: Vec<DataType> =
            source.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        assert_eq!(types, [DataType::Int64, DataType::Int64, DataType::Utf8]);
        let text: Vec<String> = source
            .map(|batch| {
                let batch = batch.unwrap();
                arrow::util::display::array_value_to_string(batch.column(2), 0).unwrap()
            })
            .collect();
        assert_eq!(text, ["a b", "7"]);
        let empty = directory.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        assert!(matches!(open(&[empty], None, None).err().unwrap(), Failure::Usage(_)));
    }

    #[test]
    fn a_differing_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let first = file(&directory, "a.csv", "id\n1\n");
        let second = file(&directory, "b.csv", "id,more\n1,2\n");
        let error = open(&[first, second], None, None).unwrap().find_map(Result::err).unwrap();
        assert!(error.to_string().contains("b.csv"), "{error}");
        assert!(error.to_string().contains("more"), "{error}");
    }

    #[test]
    fn unknown_endings_are_a_usage_error() {
        let failure = open(&[PathBuf::from("a.xls")], None, None).err().unwrap();
        assert!(matches!(failure, Failure::Usage(_)));
    }

    #[test]
    fn text_is_read_with_the_types_of_the_table() {
        let directory = tempfile::tempdir().unwrap();
        let csv = file(&directory, "a.csv", "id,name\n1,x\n");
        let table = Schema::new(vec![
            Field::new("id", DataType::Float64, true),
            Field::new("name", DataType::LargeUtf8, true),
        ]);
        let source = open(&[csv], None, Some(Arc::new(table))).unwrap();
        assert_eq!(source.schema().field(0).data_type(), &DataType::Float64);
    }
}
