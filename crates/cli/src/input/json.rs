//! JSON lines.
//!
//! Numbers are parsed from their text without rounding. A missing key is null, and an unknown key
//! is an error.

use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use indexmap::IndexMap;
use partita::convert::parse_column;
use partita::{Error, ErrorKind};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::{Arrow, BATCH_ROWS, external};

type Text = BufReader<Box<dyn Read + Send>>;

/// The common type of all values at one position of the documents.
#[derive(Debug, Clone, Default, PartialEq)]
enum Shape {
    /// No value seen yet.
    #[default]
    Null,
    Bool,
    /// 64-bit integers.
    Signed,
    /// Non-negative integers, some beyond 63 bits.
    Unsigned,
    Float,
    Text,
    List(Box<Shape>),
    Struct(IndexMap<String, Shape>),
}

impl Shape {
    /// The common type of both; `None` if there is none.
    fn and(self, other: Self) -> Option<Self> {
        use Shape::{Float, List, Null, Signed, Struct, Unsigned};
        Some(match (self, other) {
            (Null, other) | (other, Null) => other,
            (a, b) if a == b => a,
            (Signed, Unsigned) | (Unsigned, Signed) => Unsigned,
            (Float, Signed | Unsigned) | (Signed | Unsigned, Float) => Float,
            (List(a), List(b)) => List(Box::new(a.and(*b)?)),
            (Struct(mut a), Struct(b)) => {
                for (name, shape) in b {
                    let known = a.entry(name).or_default();
                    *known = std::mem::take(known).and(shape)?;
                }
                Struct(a)
            }
            _ => return None,
        })
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Bool => DataType::Boolean,
            Self::Signed => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::List(items) => {
                DataType::List(Arc::new(Field::new("element", items.data_type(), true)))
            }
            Self::Struct(fields) => DataType::Struct(
                fields
                    .iter()
                    .map(|(name, shape)| Field::new(name, shape.data_type(), true))
                    .collect(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;

        impl<'de> Visitor<'de> for Look {
            type Value = Shape;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Shape, E> {
                Ok(Shape::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
                Ok(Shape::Bool)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
                Ok(Shape::Signed)
            }

            fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
                Ok(if i64::try_from(value).is_ok() { Shape::Signed } else { Shape::Unsigned })
            }

            fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
                Ok(Shape::Float)
            }

            fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
                Ok(Shape::Text)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
                let mut shape = Shape::Null;
                while let Some(item) = items.next_element::<Shape>()? {
                    shape = shape
                        .and(item)
                        .ok_or_else(|| A::Error::custom("the items of a list differ in type"))?;
                }
                Ok(Shape::List(Box::new(shape)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Shape, A::Error> {
                let mut shapes = IndexMap::new();
                while let Some((name, shape)) = fields.next_entry::<String, Shape>()? {
                    if shapes.insert(name.clone(), shape).is_some() {
                        return Err(A::Error::custom(format!("the key {name:?} comes twice")));
                    }
                }
                Ok(Shape::Struct(shapes))
            }
        }

        deserializer.deserialize_any(Look)
    }
}

/// The columns of a file and the types of their values.
pub(super) fn look(text: Text) -> Arrow<Vec<(String, DataType)>> {
    let mut columns: IndexMap<String, Shape> = IndexMap::new();
    for (row, line) in serde_json::Deserializer::from_reader(text).into_iter::<Shape>().enumerate()
    {
        let shape = line.map_err(|error| ArrowError::JsonError(error.to_string()))?;
        let Shape::Struct(fields) = shape else {
            return Err(ArrowError::JsonError(format!("row {row} is not an object")));
        };
        for (name, shape) in fields {
            let known = columns.entry(name.clone()).or_default();
            *known = std::mem::take(known).and(shape).ok_or_else(|| {
                external(
                    Error::new(ErrorKind::SchemaMismatch, "the values of a key differ in type")
                        .with("column", &name)
                        .with("row", row),
                )
            })?;
        }
    }
    Ok(columns.into_iter().map(|(name, shape)| (name, shape.data_type())).collect())
}

/// Reads a file with the types of `schema`. Columns missing in the file are null.
pub(super) fn read(
    text: Text,
    schema: SchemaRef,
) -> Arrow<impl Iterator<Item = Arrow<RecordBatch>> + Send + use<>> {
    let texts: Fields = schema.fields().iter().map(text_field).collect();
    let decoder = decoder(Schema::new(texts), BATCH_ROWS)?;
    let mut reader = Reader { text, decoder, schema, rows: 0, line: Vec::new() };
    Ok(std::iter::from_fn(move || reader.batch().transpose()))
}

fn decoder(schema: Schema, rows: usize) -> Arrow<arrow::json::reader::Decoder> {
    ReaderBuilder::new(Arc::new(schema))
        .with_batch_size(rows)
        .with_coerce_primitive(true)
        .with_strict_mode(true)
        .build_decoder()
}

struct Reader {
    text: Text,
    decoder: arrow::json::reader::Decoder,
    schema: SchemaRef,
    rows: u64,
    /// The bytes that the decoder has not consumed yet.
    line: Vec<u8>,
}

impl Reader {
    fn batch(&mut self) -> Arrow<Option<RecordBatch>> {
        let mut bytes = 0;
        loop {
            if self.line.is_empty() && self.text.read_until(b'\n', &mut self.line)? == 0 {
                break;
            }
            let taken = self.decoder.decode(&self.line)?;
            self.line.drain(..taken);
            bytes += taken;
            if !self.line.is_empty()
                || bytes >= super::BATCH_BYTES && !self.decoder.has_partial_record()
            {
                break;
            }
        }
        let Some(batch) = self.decoder.flush()? else { return Ok(None) };
        let columns: Arrow<Vec<ArrayRef>> = self
            .schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, texts)| {
                parse_column(field.name(), self.rows, texts, field.data_type()).map_err(external)
            })
            .collect();
        self.rows += batch.num_rows() as u64;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns?, &options).map(Some)
    }
}

/// Parses JSON texts into nested values of texts, in the shape of `data_type`.
pub(super) fn nested(texts: &ArrayRef, data_type: &DataType) -> Arrow<ArrayRef> {
    let field = Field::new("value", text_type(data_type), true);
    let mut decoder = decoder(Schema::new(vec![field]), texts.len().max(1))?;
    let texts = cast(texts, &DataType::LargeUtf8)?;
    for text in texts.as_string::<i64>() {
        let line = format!("{{\"value\":{}}}\n", text.unwrap_or("null"));
        if decoder.decode(line.as_bytes())? != line.len() || decoder.has_partial_record() {
            return Err(ArrowError::JsonError("the text is not a JSON value".into()));
        }
    }
    match decoder.flush()? {
        Some(batch) if batch.num_rows() == texts.len() => Ok(Arc::clone(batch.column(0))),
        _ => Err(ArrowError::JsonError("the text is not a JSON value".into())),
    }
}

/// The type with every leaf type replaced by text.
fn text_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => text_type(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(text_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(text_field).collect()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) => {
                let parts = DataType::Struct(
                    parts
                        .iter()
                        .enumerate()
                        .map(|(place, part)| {
                            Arc::new(text_field(part).as_ref().clone().with_nullable(place > 0))
                        })
                        .collect(),
                );
                DataType::Map(Arc::new(entries.as_ref().clone().with_data_type(parts)), false)
            }
            _ => DataType::LargeUtf8,
        },
        _ => DataType::LargeUtf8,
    }
}

fn text_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), text_type(field.data_type()), true))
}
