//! CSV files with a header line.
//!
//! An empty field is null, and a pair of quotes is the empty text. Spellings of missing values
//! (`NA`, `null`) are null in columns that are not text.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use arrow::array::{ArrayRef, LargeStringBuilder, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use partita::convert::{Suggestion, parse_column};
use partita::{Error, ErrorKind};

use super::json;
use super::{Arrow, BATCH_BYTES, BATCH_ROWS, Typed, external};

/// Spellings of missing values in columns that are not text.
const MISSING: [&str; 8] = ["NA", "N/A", "n/a", "#N/A", "#NA", "NULL", "null", "None"];

/// The most bytes and fields of a record. A compressed file of some megabytes may be a single record of
/// gigabytes.
const LONGEST: usize = 256 << 20;
const MOST_FIELDS: usize = 1 << 20;

/// The records of a file, one at a time.
struct Records<R> {
    source: R,
    /// The number of the last record read; the header is 0.
    number: u64,
    bytes: Vec<u8>,
    /// The end of each field in `bytes`, and whether it was quoted.
    fields: Vec<(usize, bool)>,
}

/// The position of the parser in a record.
#[derive(PartialEq)]
enum At {
    Start,
    Plain,
    Quoted,
    /// After a quote within a quoted field, which ends the field or is doubled.
    Closing,
}

impl<R: BufRead> Records<R> {
    fn new(source: R) -> Self {
        Self { source, number: 0, bytes: Vec::new(), fields: Vec::new() }
    }

    /// Reads the next record that is not an empty line; false at the end of the file.
    fn advance(&mut self) -> io::Result<bool> {
        loop {
            self.bytes.clear();
            self.fields.clear();
            if !self.record()? {
                return Ok(false);
            }
            if self.bytes.is_empty() && matches!(self.fields.as_slice(), [(0, false)]) {
                continue;
            }
            self.number += 1;
            return Ok(true);
        }
    }

    fn record(&mut self) -> io::Result<bool> {
        let (mut at, mut quoted, mut begun) = (At::Start, false, false);
        loop {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                if at == At::Quoted {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a quoted field has no end",
                    ));
                }
                if begun {
                    self.fields.push((self.bytes.len(), quoted));
                }
                return Ok(begun);
            }
            let mut used = 0;
            let mut ended = false;
            for &byte in chunk {
                used += 1;
                begun = true;
                match (&at, byte) {
                    (At::Quoted, b'"') => at = At::Closing,
                    (At::Quoted, _) => self.bytes.push(byte),
                    (At::Closing, b'"') => {
                        self.bytes.push(b'"');
                        at = At::Quoted;
                    }
                    (At::Start, b'"') => (at, quoted) = (At::Quoted, true),
                    (_, b',') => {
                        self.fields.push((self.bytes.len(), quoted));
                        (at, quoted) = (At::Start, false);
                    }
                    (_, b'\n') => {
                        if self.bytes.last() == Some(&b'\r') && !quoted {
                            self.bytes.pop();
                        }
                        self.fields.push((self.bytes.len(), quoted));
                        ended = true;
                        break;
                    }
                    // The end of a line in Windows format after a quoted field.
                    (At::Closing, b'\r') => {}
                    (_, _) => {
                        self.bytes.push(byte);
                        at = At::Plain;
                    }
                }
            }
            self.source.consume(used);
            if ended {
                return Ok(true);
            }
            if self.bytes.len() > LONGEST || self.fields.len() > MOST_FIELDS {
                let what = "a record is longer than any can be: a quote or a line break is missing";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
    }

    /// The fields of the record, and whether they were quoted.
    fn fields(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let starts = std::iter::once(0).chain(self.fields.iter().map(|(end, _)| *end));
        starts.zip(&self.fields).map(|(start, (end, quoted))| {
            (self.bytes.get(start..*end).unwrap_or_default(), *quoted)
        })
    }
}

type Text = io::BufReader<Box<dyn Read + Send>>;

/// Options for reading a file.
#[derive(Debug, Clone, Default)]
pub(super) struct CsvOptions {
    /// The texts that mean null, including text columns.
    pub null: Vec<String>,
    /// Read every column as text.
    pub strings: bool,
}

impl CsvOptions {
    fn is_null(&self, field: &[u8], quoted: bool, kind: &DataType) -> bool {
        let text = is_text(kind);
        let spelled = |spellings: &[&str]| spellings.iter().any(|one| one.as_bytes() == field);
        if quoted {
            return field.is_empty() && !text && !kind.is_binary();
        }
        if !self.null.is_empty() {
            return self.null.iter().any(|one| one.as_bytes() == field)
                || field.is_empty() && !text;
        }
        field.is_empty() || !text && spelled(&MISSING)
    }
}

fn names(records: &mut Records<Text>) -> Arrow<Vec<String>> {
    if !records.advance()? {
        return Err(ArrowError::CsvError("the file is empty and has no header line".into()));
    }
    let names = records.fields().enumerate().map(|(place, (name, _))| match utf8(name, "", 0)? {
        "" => Err(external(
            Error::invalid(
                "a column has no name in the header line, as pandas writes its index; name it, or \
                 leave it out (to_csv(index=False))",
            )
            .with("column", place + 1),
        )),
        name => Ok(name.to_owned()),
    });
    names.collect()
}

fn utf8<'a>(field: &'a [u8], column: &str, row: u64) -> Arrow<&'a str> {
    std::str::from_utf8(field).map_err(|_| {
        external(Error::invalid("a text is not UTF-8").with("column", column).with("row", row))
    })
}

fn check_length(records: &Records<Text>, columns: usize) -> Arrow<()> {
    if records.fields.len() == columns {
        return Ok(());
    }
    Err(external(
        Error::new(
            ErrorKind::InvalidArgument,
            "a record and the header line differ in their number of fields",
        )
        .with("row", records.number.saturating_sub(2))
        .with("expected", columns)
        .with("found", records.fields.len()),
    ))
}

/// The columns of a file; if `rows` is set, with the types inferred from their texts.
pub(super) fn look(text: Text, options: &CsvOptions, rows: bool) -> Arrow<Vec<(String, Typed)>> {
    let mut records = Records::new(text);
    let names = names(&mut records)?;
    if !rows || options.strings {
        let of = |name| match options.strings {
            true => (name, Typed::As(DataType::Utf8)),
            false => (name, Typed::Text(Suggestion::default())),
        };
        return Ok(names.into_iter().map(of).collect());
    }
    let mut found: Vec<(Suggestion, bool)> = vec![Default::default(); names.len()];
    while records.advance()? {
        check_length(&records, names.len())?;
        let row = records.number.saturating_sub(2);
        for (((field, quoted), (suggestion, spelled)), name) in
            records.fields().zip(&mut found).zip(&names)
        {
            if !options.is_null(field, quoted, &DataType::Null) {
                suggestion.see(utf8(field, name, row)?);
            } else if quoted || !field.is_empty() {
                *spelled = true;
            }
        }
    }
    let typed = found.into_iter().map(|(suggestion, spelled)| match suggestion.data_type() {
        // Only spellings such as `NA`, or only empty texts: the column is text.
        DataType::Null if spelled && options.null.is_empty() => Typed::As(DataType::Utf8),
        _ => Typed::Text(suggestion),
    });
    Ok(names.into_iter().zip(typed).collect())
}

/// Reads the columns of a file in the types of `schema`, in the order of the file.
pub(super) fn read(
    text: Text,
    options: CsvOptions,
    schema: &Schema,
) -> Arrow<impl Iterator<Item = Arrow<RecordBatch>> + Send + use<>> {
    let mut records = Records::new(text);
    let fields: Arrow<Vec<Field>> =
        names(&mut records)?.iter().map(|name| schema.field_with_name(name).cloned()).collect();
    let schema = Arc::new(Schema::new(fields?));
    let mut reader = Reader { records, options, schema, rows: 0 };
    Ok(std::iter::from_fn(move || reader.batch().transpose()))
}

struct Reader {
    records: Records<Text>,
    options: CsvOptions,
    schema: SchemaRef,
    rows: u64,
}

impl Reader {
    fn batch(&mut self) -> Arrow<Option<RecordBatch>> {
        let columns = self.schema.fields().len();
        let mut builders: Vec<LargeStringBuilder> =
            (0..columns).map(|_| LargeStringBuilder::new()).collect();
        let (mut rows, mut bytes) = (0, 0);
        while rows < BATCH_ROWS && bytes < BATCH_BYTES && self.records.advance()? {
            check_length(&self.records, columns)?;
            let columns = self.schema.fields().iter().zip(&mut builders);
            for ((field, quoted), (column, builder)) in self.records.fields().zip(columns) {
                if self.options.is_null(field, quoted, column.data_type()) {
                    builder.append_null();
                } else {
                    builder.append_value(utf8(field, column.name(), self.rows + rows as u64)?);
                }
            }
            rows += 1;
            bytes += self.records.bytes.len();
        }
        if rows == 0 {
            return Ok(None);
        }
        let parsed: Arrow<Vec<ArrayRef>> = self
            .schema
            .fields()
            .iter()
            .zip(builders)
            .map(|(field, mut builder)| {
                let texts: ArrayRef = Arc::new(builder.finish());
                self.parsed(field, texts)
            })
            .collect();
        self.rows += rows as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), parsed?, &options)?))
    }

    fn parsed(&self, field: &Field, texts: ArrayRef) -> Arrow<ArrayRef> {
        // Lists, structs and maps are stored as JSON.
        let texts = match field.data_type().is_nested() && !is_dictionary(field.data_type()) {
            true => json::nested(&texts, field.data_type()).map_err(|error| {
                external(
                    Error::new(ErrorKind::SchemaMismatch, "a nested value must be written as JSON")
                        .with("column", field.name())
                        .caused_by(error),
                )
            })?,
            false => texts,
        };
        parse_column(field.name(), self.rows, &texts, field.data_type()).map_err(external)
    }
}

fn is_dictionary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Dictionary(_, _))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Vec<Vec<(String, bool)>> {
        let boxed: Box<dyn Read + Send> = Box::new(io::Cursor::new(text.as_bytes().to_vec()));
        // A buffer of one byte tests every position of a buffer boundary.
        let mut records = Records::new(io::BufReader::with_capacity(1, boxed));
        let mut found = Vec::new();
        while records.advance().unwrap() {
            let fields = records.fields();
            found.push(fields.map(|(f, q)| (String::from_utf8(f.to_vec()).unwrap(), q)).collect());
        }
        found
    }

    #[test]
    fn a_record_without_an_end_is_refused() {
        for byte in [b'x', b','] {
            let endless = io::BufReader::with_capacity(1 << 20, io::repeat(byte));
            let error = Records::new(endless).advance().unwrap_err();
            assert!(error.to_string().contains("longer than any"), "{error}");
        }
    }

    #[test]
    fn quotes_keep_what_they_enclose() {
        let plain = |text: &str| (text.to_owned(), false);
        let quoted = |text: &str| (text.to_owned(), true);
        assert_eq!(
            records("a,b\r\n1,\"x,\n\"\"y\"\"\"\r\n\n,\"\"\n\"last\",2"),
            [
                [plain("a"), plain("b")],
                [plain("1"), quoted("x,\n\"y\"")],
                [plain(""), quoted("")],
                [quoted("last"), plain("2")],
            ]
        );
    }
}
