//! JSON encoding of values in forms that `append` reads back.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, MapArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Float64Type};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use partita::convert::to_texts;

/// Encoders for types without a JSON form: times and bytes as text, floats that are not finite as
/// `"NaN"` and `"inf"`, maps with their keys as text.
#[derive(Debug)]
pub(super) struct Forms;

/// The options of a writer with these encoders.
pub(super) fn options() -> EncoderOptions {
    EncoderOptions::default().with_encoder_factory(Arc::new(Forms))
}

impl EncoderFactory for Forms {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let data_type = array.data_type();
        let as_text = data_type.is_temporal()
            || data_type.is_binary()
            || matches!(data_type, DataType::FixedSizeBinary(_));
        let encoder: Box<dyn Encoder + 'a> = if as_text {
            Box::new(Texts(texts(array)?))
        } else if data_type.is_floating() {
            let wide = cast(array, &DataType::Float64)?;
            let finite = wide.as_primitive::<Float64Type>().iter();
            let finite = finite.map(|value| value.is_some_and(f64::is_finite)).collect();
            Box::new(Floats { texts: texts(array)?, finite })
        } else if let Some(map) = array.as_map_opt() {
            Box::new(Entries::new(map, options)?)
        } else {
            return Ok(None);
        };
        Ok(Some(NullableEncoder::new(encoder, array.logical_nulls())))
    }
}

fn texts(array: &dyn Array) -> Result<LargeStringArray, ArrowError> {
    let array: ArrayRef = array.slice(0, array.len());
    to_texts(&array).map_err(|error| ArrowError::ExternalError(Box::new(error)))
}

/// Texts that need no escapes.
struct Texts(LargeStringArray);

impl Encoder for Texts {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        quote(self.0.value(row), out);
    }
}

struct Floats {
    texts: LargeStringArray,
    finite: Vec<bool>,
}

impl Encoder for Floats {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        match self.finite.get(row) {
            Some(true) => out.extend_from_slice(self.texts.value(row).as_bytes()),
            _ => quote(self.texts.value(row), out),
        }
    }
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// The entries of maps, as objects.
struct Entries<'a> {
    map: &'a MapArray,
    keys: LargeStringArray,
    values: NullableEncoder<'a>,
}

impl<'a> Entries<'a> {
    fn new(map: &'a MapArray, options: &'a EncoderOptions) -> Result<Self, ArrowError> {
        let DataType::Map(entries, _) = map.data_type() else {
            return Err(ArrowError::JsonError("a map has no entries".into()));
        };
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(ArrowError::JsonError("a map has no entries".into()));
        };
        let field =
            fields.get(1).ok_or_else(|| ArrowError::JsonError("a map has no values".into()))?;
        let values = make_encoder(field, map.values().as_ref(), options)?;
        Ok(Self { map, keys: texts(map.keys().as_ref())?, values })
    }
}

impl Encoder for Entries<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let offsets = self.map.value_offsets();
        let place = |row: usize| offsets.get(row).map_or(0, |at| usize::try_from(*at).unwrap_or(0));
        out.push(b'{');
        for entry in place(row)..place(row + 1) {
            if entry > place(row) {
                out.push(b',');
            }
            out.extend_from_slice(serde_json::json!(self.keys.value(entry)).to_string().as_bytes());
            out.push(b':');
            match self.values.is_null(entry) {
                true => out.extend_from_slice(b"null"),
                false => self.values.encode(entry, out),
            }
        }
        out.push(b'}');
    }
}
