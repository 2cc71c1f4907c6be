//! Fill values: the items of an array where nothing was stored.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use half::f16;
use partita_core::{Error, Result};

use super::DType;
use super::dtype::NAT;
use crate::json::Json;

/// One item of a variable's type, as its bytes in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FillValue(Bytes);

impl FillValue {
    /// The fill value with these little-endian bytes.
    #[must_use]
    pub fn from_bytes(item: impl Into<Bytes>) -> Self {
        Self(item.into())
    }

    /// The value of a type that means missing, which is NaN or NaT; none for types without one.
    #[must_use]
    pub fn missing(dtype: DType) -> Option<Self> {
        let word = match dtype {
            DType::Float16 | DType::Float32 | DType::Float64 => "NaN".into(),
            DType::Complex64 | DType::Complex128 => Json::List(vec!["NaN".into(), "NaN".into()]),
            DType::DateTime(..) | DType::TimeDelta(..) => "NaT".into(),
            _ => return None,
        };
        Self::from_json(dtype, &word).ok().flatten()
    }

    /// The bytes of the item.
    #[must_use]
    pub fn item(&self) -> Bytes {
        self.0.clone()
    }

    /// Decodes the value from the metadata of either Zarr version: numbers, `"NaN"`, `"Infinity"`,
    /// `[real, imaginary]`, bits of a float as `"0x7fc00000"`, times as integers or `"NaT"`,
    /// fixed-length bytes in base64. `null` means that there is no fill value.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if it is not a value of
    /// `dtype`.
    pub fn from_json(dtype: DType, json: &Json) -> Result<Option<Self>> {
        if *json == Json::Null {
            return Ok(None);
        }
        let item = item_of(dtype, json).ok_or_else(|| {
            Error::invalid("the fill value is not a value of the variable's type")
                .with("dtype", dtype)
                .with("fill value", json.to_text(crate::json::Style::Compact))
        })?;
        Ok(Some(Self(item.into())))
    }

    /// Encodes the value as both Zarr versions do.
    #[must_use]
    pub fn to_json(&self, dtype: DType) -> Json {
        json_of(dtype, &self.0).unwrap_or(Json::Null)
    }
}

fn item_of(dtype: DType, json: &Json) -> Option<Vec<u8>> {
    Some(match dtype {
        DType::Bool => vec![match json {
            Json::Bool(value) => u8::from(*value),
            Json::Int(value @ (0 | 1)) => u8::try_from(*value).ok()?,
            _ => return None,
        }],
        DType::Int8 => i8::try_from(integer(json)?).ok()?.to_le_bytes().to_vec(),
        DType::Int16 => i16::try_from(integer(json)?).ok()?.to_le_bytes().to_vec(),
        DType::Int32 => i32::try_from(integer(json)?).ok()?.to_le_bytes().to_vec(),
        DType::Int64 => i64::try_from(integer(json)?).ok()?.to_le_bytes().to_vec(),
        DType::UInt8 => u8::try_from(integer(json)?).ok()?.to_le_bytes().to_vec(),
        DType::UInt16 => u16::try_from(integer(json)?).ok()?.to_le_bytes().to_vec(),
        DType::UInt32 => u32::try_from(integer(json)?).ok()?.to_le_bytes().to_vec(),
        DType::UInt64 => u64::try_from(integer(json)?).ok()?.to_le_bytes().to_vec(),
        DType::Float16 | DType::Float32 | DType::Float64 => float_item(dtype, json)?,
        DType::Complex64 => complex_item(DType::Float32, json)?,
        DType::Complex128 => complex_item(DType::Float64, json)?,
        DType::DateTime(..) | DType::TimeDelta(..) => match json.as_text() {
            Some("NaT") => NAT,
            _ => i64::try_from(integer(json)?).ok()?,
        }
        .to_le_bytes()
        .to_vec(),
        DType::FixedBytes(_) => {
            let bytes = match json {
                Json::Text(text) => STANDARD.decode(text).ok()?,
                // Zarr v2 stores 0 as the fill value of arrays of empty texts.
                Json::Int(0) => Vec::new(),
                _ => return None,
            };
            padded(bytes, dtype.item_size()?)?
        }
        DType::FixedText(_) => {
            let text = match json {
                Json::Text(text) => text.as_str(),
                Json::Int(0) => "",
                _ => return None,
            };
            let bytes = text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
            padded(bytes, dtype.item_size()?)?
        }
        DType::Text => match json {
            Json::Int(0) => Vec::new(),
            _ => json.as_text()?.as_bytes().to_vec(),
        },
        DType::Bytes => match json {
            Json::Int(0) => Vec::new(),
            _ => STANDARD.decode(json.as_text()?).ok()?,
        },
    })
}

fn json_of(dtype: DType, item: &[u8]) -> Option<Json> {
    Some(match dtype {
        DType::Bool => Json::Bool(*item.first()? != 0),
        DType::Float16 | DType::Float32 | DType::Float64 => float_json(dtype, item)?,
        DType::Complex64 | DType::Complex128 => {
            let (part, size) = match dtype {
                DType::Complex64 => (DType::Float32, 4),
                _ => (DType::Float64, 8),
            };
            let (real, imaginary) = item.split_at_checked(size)?;
            Json::List(vec![float_json(part, real)?, float_json(part, imaginary)?])
        }
        DType::FixedBytes(_) => {
            // NumPy ignores trailing padding.
            let length = item.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
            Json::Text(STANDARD.encode(item.get(..length)?))
        }
        DType::Bytes => Json::Text(STANDARD.encode(item)),
        DType::FixedText(_) => {
            let characters = item.as_chunks::<4>().0.iter();
            let text = characters.map(|c| char::from_u32(u32::from_le_bytes(*c)));
            Json::Text(text.take_while(|c| *c != Some('\0')).collect::<Option<String>>()?)
        }
        DType::Text => Json::Text(std::str::from_utf8(item).ok()?.to_owned()),
        _ => {
            let array = super::Array::from_bytes(dtype, vec![1], item.to_vec()).ok()?;
            Json::Int(*array.integers()?.first()?)
        }
    })
}

/// An integer, also one written as a float (`0.0`).
fn integer(json: &Json) -> Option<i128> {
    match json {
        Json::Float(value) if value.fract() == 0.0 && value.abs() < 1e18 => Some(*value as i128),
        _ => json.as_int(),
    }
}

fn float_item(dtype: DType, json: &Json) -> Option<Vec<u8>> {
    if let Some(bits) = json.as_text().and_then(|text| text.strip_prefix("0x")) {
        let bits = u64::from_str_radix(bits, 16).ok()?;
        let (item, rest) = (bits.to_le_bytes(), dtype.item_size()?);
        let (item, rest) = item.split_at_checked(rest)?;
        return rest.iter().all(|byte| *byte == 0).then(|| item.to_vec());
    }
    let value = json.as_float()?;
    Some(match dtype {
        DType::Float16 => f16::from_f64(value).to_le_bytes().to_vec(),
        DType::Float32 => (value as f32).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    })
}

fn float_json(dtype: DType, item: &[u8]) -> Option<Json> {
    let value = match dtype {
        DType::Float16 => f16::from_le_bytes(item.try_into().ok()?).to_f64(),
        DType::Float32 => f32::from_le_bytes(item.try_into().ok()?).into(),
        _ => f64::from_le_bytes(item.try_into().ok()?),
    };
    Some(match value.is_finite() {
        true => Json::Float(value),
        false => crate::json::word_of(value).into(),
    })
}

fn complex_item(part: DType, json: &Json) -> Option<Vec<u8>> {
    let [real, imaginary] = json.as_list()? else { return None };
    let mut item = float_item(part, real)?;
    item.extend(float_item(part, imaginary)?);
    Some(item)
}

fn padded(mut item: Vec<u8>, size: usize) -> Option<Vec<u8>> {
    (item.len() <= size).then(|| {
        item.resize(size, 0);
        item
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dtype: &str, json: &str) -> Option<FillValue> {
        let dtype = DType::parse(dtype).unwrap().0;
        FillValue::from_json(dtype, &Json::parse(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn values_come_back_as_written() {
        let cases = [
            ("<f4", "\"NaN\""),
            ("<f8", "\"-Infinity\""),
            ("<f8", "65.536"),
            ("<f2", "1.5"),
            ("<i8", "-9223372036854775808"),
            ("<u8", "18446744073709551615"),
            ("|b1", "true"),
            ("<c8", "[1.0,\"NaN\"]"),
            ("<M8[us]", "-9223372036854775808"),
            ("<m8[D]", "5"),
            ("|S3", "\"YWI=\""),
            ("<U4", "\"\\u00fcb\""),
            ("|O", "\"x\""),
        ];
        for (dtype, json) in cases {
            let fill = read(dtype, json).unwrap();
            let dtype = DType::parse(dtype).unwrap().0;
            assert_eq!(fill.to_json(dtype).to_text(crate::json::Style::Compact), json, "{dtype}");
        }
    }

    #[test]
    fn forms_that_mean_the_same() {
        assert_eq!(read("<f4", "NaN"), read("<f4", "\"NaN\""));
        assert_eq!(read("<f4", "\"0x7fc00000\""), read("<f4", "\"NaN\""));
        assert_eq!(read("<M8[s]", "\"NaT\""), read("<M8[s]", "-9223372036854775808"));
        assert_eq!(read("<i4", "3.0"), read("<i4", "3"));
        assert_eq!(read("<f4", "null"), None);
    }

    #[test]
    fn values_of_other_types_are_refused() {
        for (dtype, json) in
            [("|i1", "128"), ("|u1", "-1"), ("<i4", "1.5"), ("|S1", "\"YWI=\""), ("<f4", "[]")]
        {
            let dtype = DType::parse(dtype).unwrap().0;
            let json = Json::parse(json.as_bytes()).unwrap();
            assert!(FillValue::from_json(dtype, &json).is_err(), "{dtype} {json:?}");
        }
    }
}
