//! The names of data types in Zarr v3.

use partita_core::partition::CalendarUnit;
use partita_core::{Error, Result};

use crate::dataset::DType;
use crate::json::Json;
use crate::layout::config::size_of;

/// Decodes the `data_type` of an array.
pub(super) fn decode(json: &Json) -> Result<DType> {
    let name = json.as_text().or_else(|| json.get("name").and_then(Json::as_text));
    let config = |key: &str| json.get("configuration").and_then(|config| config.get(key));
    let length = || u32::try_from(config("length_bytes").and_then(size_of)?).ok();
    let step = || {
        let unit = config("unit").and_then(Json::as_text)?;
        let multiple = config("scale_factor").map_or(Some(1), size_of)?;
        Some((unit, u32::try_from(multiple).ok().filter(|multiple| *multiple > 0)?))
    };
    let dtype = match name.unwrap_or_default() {
        "bool" => Some(DType::Bool),
        "int8" => Some(DType::Int8),
        "int16" => Some(DType::Int16),
        "int32" => Some(DType::Int32),
        "int64" => Some(DType::Int64),
        "uint8" => Some(DType::UInt8),
        "uint16" => Some(DType::UInt16),
        "uint32" => Some(DType::UInt32),
        "uint64" => Some(DType::UInt64),
        "float16" => Some(DType::Float16),
        "float32" => Some(DType::Float32),
        "float64" => Some(DType::Float64),
        "complex64" => Some(DType::Complex64),
        "complex128" => Some(DType::Complex128),
        "numpy.datetime64" => step().and_then(|(unit, multiple)| {
            Some(DType::DateTime(CalendarUnit::from_code(unit)?, multiple))
        }),
        "numpy.timedelta64" => step().and_then(|(unit, multiple)| match unit {
            "generic" => Some(DType::TimeDelta(None, multiple)),
            unit => Some(DType::TimeDelta(Some(CalendarUnit::from_code(unit)?), multiple)),
        }),
        "null_terminated_bytes" => length().map(DType::FixedBytes),
        "fixed_length_utf32" => {
            length().filter(|length| length % 4 == 0).map(|length| DType::FixedText(length / 4))
        }
        "string" => Some(DType::Text),
        "variable_length_bytes" | "bytes" => Some(DType::Bytes),
        _ => None,
    };
    dtype.ok_or_else(|| {
        Error::invalid("the data type of an array is not supported")
            .with("data type", json.to_text(crate::json::Style::Compact))
    })
}

/// Encodes the `data_type` of an array.
pub(super) fn encode(dtype: DType) -> Json {
    let configured =
        |name: &str, config: Json| Json::map([("name", name.into()), ("configuration", config)]);
    let step = |unit: &str, multiple: u32| {
        Json::map([("unit", unit.into()), ("scale_factor", Json::Int(multiple.into()))])
    };
    let length = || {
        let size = dtype.item_size().unwrap_or(0);
        Json::map([("length_bytes", Json::Int(i128::try_from(size).unwrap_or(0)))])
    };
    match dtype {
        DType::Bool => "bool".into(),
        DType::Int8 => "int8".into(),
        DType::Int16 => "int16".into(),
        DType::Int32 => "int32".into(),
        DType::Int64 => "int64".into(),
        DType::UInt8 => "uint8".into(),
        DType::UInt16 => "uint16".into(),
        DType::UInt32 => "uint32".into(),
        DType::UInt64 => "uint64".into(),
        DType::Float16 => "float16".into(),
        DType::Float32 => "float32".into(),
        DType::Float64 => "float64".into(),
        DType::Complex64 => "complex64".into(),
        DType::Complex128 => "complex128".into(),
        DType::DateTime(unit, multiple) => {
            configured("numpy.datetime64", step(unit.code(), multiple))
        }
        DType::TimeDelta(unit, multiple) => {
            let unit = unit.map_or("generic", CalendarUnit::code);
            configured("numpy.timedelta64", step(unit, multiple))
        }
        DType::FixedBytes(_) => configured("null_terminated_bytes", length()),
        DType::FixedText(_) => configured("fixed_length_utf32", length()),
        DType::Text => "string".into(),
        DType::Bytes => "variable_length_bytes".into(),
    }
}
