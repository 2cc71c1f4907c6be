//! Partitions in CSV, which plateau can write: fields separated by semicolons, text only,
//! optionally compressed with gzip. They are read, never written.

use std::io::{self, Read};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatch, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use partita_core::partition::values_of;
use partita_core::store::LARGEST;
use partita_core::{Error, Result, Store};

use super::assemble::{Assemble, project};
use super::decode::{Decoder, FileTask};

/// The limit for unpacked text: this multiple of its stored size, or `SMALL` bytes if that is more.
const BEST_RATIO: u64 = 256;
const SMALL: u64 = 256 << 20;

/// The texts that pandas reads as missing, except in text columns.
const MISSING: [&str; 17] = [
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan",
];

/// True for the key of a CSV file.
pub(crate) fn is_csv(key: &str) -> bool {
    key.ends_with(".csv") || key.ends_with(".csv.gz")
}

impl Decoder {
    /// The rows of a CSV file that pass the test.
    pub(super) fn decode_csv(&self, bytes: &Bytes, task: &FileTask) -> Result<Vec<RecordBatch>> {
        let wrong = |error: ArrowError| {
            Error::corrupt("a CSV file cannot be read").with("key", &task.key).caused_by(error)
        };
        let names = heading(bytes, &task.key).map_err(wrong)?;
        let tested = match &self.test {
            Some(test) => project(&self.table, test.columns().into_iter())?,
            None => Arc::new(Schema::empty()),
        };
        let assemble = Assemble::new(Arc::clone(&self.schema), task.partition.clone());
        let for_test = Assemble::new(tested, task.partition.clone());
        let wanted: Vec<&str> = assemble.file_columns().chain(for_test.file_columns()).collect();
        let columns: Vec<usize> = (0..names.fields().len())
            .filter(|i| names.fields().get(*i).is_some_and(|f| wanted.contains(&f.name().as_str())))
            .collect();
        let texts = names.fields().iter().map(|f| Field::new(f.name(), DataType::Utf8, true));
        let texts: SchemaRef = Arc::new(Schema::new(texts.collect::<Vec<_>>()));
        // Without columns there would be no rows, so one column is read if none is requested.
        let columns =
            if columns.is_empty() && !texts.fields().is_empty() { vec![0] } else { columns };
        let reader = ReaderBuilder::new(texts)
            .with_format(format())
            .with_projection(columns)
            .with_batch_size(self.batch_rows)
            .build_buffered(std::io::BufReader::new(text_of(bytes, &task.key)))
            .map_err(wrong)?;
        let mut batches = Vec::new();
        for batch in reader {
            self.cancel.check()?;
            let mut batch = self.typed(&batch.map_err(wrong)?)?;
            if let Some(test) = &self.test {
                let mask = test.test(&for_test.batch(batch.clone())?)?;
                batch = filter_record_batch(&batch, &mask)?;
            }
            if batch.num_rows() > 0 {
                batches.push(assemble.batch(batch)?);
            }
        }
        Ok(batches)
    }

    /// Converts the columns of the table to its types; others stay text.
    fn typed(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<(&str, ArrayRef)> = Vec::with_capacity(batch.num_columns());
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let name = field.name().as_str();
            columns.push(match self.table.field_with_name(name) {
                Ok(known) => (name, typed_column(name, column, known.data_type())?),
                Err(_) => (name, Arc::clone(column)),
            });
        }
        Ok(RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )?)
    }
}

/// The columns of a CSV file, in its order; their types are not known.
pub(crate) async fn csv_columns(store: &Store, key: &str) -> Result<Schema> {
    let bytes = store.get_within(key, LARGEST).await?.ok_or_else(|| store.missing(key))?;
    Ok(heading(&bytes, key)?)
}

fn heading(bytes: &Bytes, key: &str) -> Result<Schema, ArrowError> {
    Ok(format().infer_schema(text_of(bytes, key), Some(0))?.0)
}

fn format() -> Format {
    Format::default().with_header(true).with_delimiter(b';')
}

fn text_of<'a>(bytes: &'a Bytes, key: &str) -> Box<dyn Read + 'a> {
    let plain = bytes.as_ref().reader();
    if !key.ends_with(".gz") {
        return Box::new(plain);
    }
    let most = (bytes.len() as u64).saturating_mul(BEST_RATIO).max(SMALL);
    Box::new(Limited { text: MultiGzDecoder::new(plain), left: most })
}

/// A text that is refused once it is longer than a limit.
struct Limited<R> {
    text: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(into)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the text unpacks to more than it may")
        })?;
        Ok(count)
    }
}

fn typed_column(name: &str, texts: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::LargeUtf8)?;
    if *to == DataType::LargeUtf8 {
        return Ok(texts);
    }
    let texts: LargeStringArray = texts
        .as_string::<i64>()
        .iter()
        .map(|text| text.filter(|text| *text != "null" && !MISSING.contains(text)))
        .collect();
    if texts.null_count() == texts.len() {
        return Ok(new_null_array(to, texts.len()));
    }
    match values_of(name, &texts, to) {
        // pandas writes integer columns with missing values as floats.
        Err(error) if to.is_integer() => {
            let floats = values_of(name, &texts, &DataType::Float64).map_err(|_| error)?;
            let whole = floats.as_primitive::<Float64Type>().iter().flatten();
            if whole.clone().any(|float| float.fract() != 0.0) {
                return Err(Error::corrupt("a CSV file has a fraction in a column of integers")
                    .with("column", name));
            }
            Ok(cast(&floats, to)?)
        }
        typed => typed,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_text_that_unpacks_to_far_more_is_refused() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let part = vec![b'x'; 1 << 20];
        (0..300).for_each(|_| packed.write_all(&part).unwrap());
        let bomb = Bytes::from(packed.finish().unwrap());
        let mut text = text_of(&bomb, "a.csv.gz");
        let error = io::copy(&mut text, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("more than it may"), "{error}");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(b"a;b\n1;2\n").unwrap();
        let good = Bytes::from(packed.finish().unwrap());
        assert_eq!(io::copy(&mut text_of(&good, "a.csv.gz"), &mut io::sink()).unwrap(), 8);
    }
}
