//! The `pandas` entry of Parquet key-value metadata.
//!
//! plateau rejects a schema without it, and pandas restores its nullable types from it.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde_json::{Value, json};

use super::json;

/// The key under which the entry is stored.
pub const KEY: &str = "pandas";

/// Pandas extension types by column, for types that the Arrow type does not determine: `Int64`,
/// `boolean`, `string`, …
pub type ExtensionTypes = BTreeMap<String, String>;

/// The entry that describes the fields of `schema`.
#[must_use]
pub fn describe(schema: &Schema, extensions: &ExtensionTypes) -> String {
    let columns: Vec<Value> =
        schema.fields().iter().map(|field| column(field, extensions.get(field.name()))).collect();
    let document = json!({
        "attributes": {},
        "column_indexes": [{
            "field_name": null, "metadata": {"encoding": "UTF-8"}, "name": null,
            "numpy_type": "object", "pandas_type": "unicode",
        }],
        "columns": columns,
        "creator": {"library": "partita", "version": env!("CARGO_PKG_VERSION")},
        "index_columns": [],
        "pandas_version": "2.0.0",
    });
    json::to_vec(&document)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| document.to_string())
}

/// The extension types that the entry of an incoming schema names; empty if the entry is damaged.
#[must_use]
pub fn extension_types(schema: &Schema) -> ExtensionTypes {
    let Some(text) = schema.metadata().get(KEY) else { return ExtensionTypes::new() };
    let Ok(document) = serde_json::from_str::<Value>(text) else { return ExtensionTypes::new() };
    let columns = document.get("columns").and_then(Value::as_array);
    columns
        .into_iter()
        .flatten()
        .filter_map(|column| {
            let name = column.get("field_name").or_else(|| column.get("name"))?.as_str()?;
            let numpy = column.get("numpy_type")?.as_str()?;
            is_extension(numpy).then(|| (name.to_owned(), numpy.to_owned()))
        })
        .collect()
}

fn is_extension(numpy: &str) -> bool {
    matches!(numpy, "string" | "boolean")
        || numpy.starts_with("string[")
        || numpy.starts_with("Int")
        || numpy.starts_with("UInt")
        || numpy.starts_with("Float")
}

fn column(field: &Field, extension: Option<&String>) -> Value {
    let (pandas, numpy, metadata) = types(field.data_type());
    json!({
        "field_name": field.name(),
        "metadata": metadata,
        "name": field.name(),
        "numpy_type": extension.cloned().unwrap_or(numpy),
        "pandas_type": pandas,
    })
}

/// The pandas type, the numpy type and the type's parameters, in the notation of pandas.
fn types(data_type: &DataType) -> (String, String, Value) {
    let plain = |pandas: &str, numpy: &str| (pandas.to_owned(), numpy.to_owned(), Value::Null);
    match data_type {
        DataType::LargeUtf8 => plain("object", "str"),
        DataType::Utf8 => plain("unicode", "object"),
        DataType::Boolean => plain("bool", "bool"),
        DataType::Binary | DataType::LargeBinary => plain("bytes", "object"),
        DataType::Date32 => plain("date", "object"),
        DataType::Null => plain("empty", "object"),
        DataType::Float16 => plain("float16", "float16"),
        DataType::Float32 => plain("float32", "float32"),
        DataType::Float64 => plain("float64", "float64"),
        DataType::Time32(_) | DataType::Time64(_) => plain("time", "object"),
        DataType::Duration(unit) => plain("object", &format!("timedelta64[{}]", unit_name(*unit))),
        DataType::Timestamp(_, None) => plain("datetime", "datetime64[ns]"),
        DataType::Timestamp(_, Some(zone)) => {
            ("datetimetz".into(), "datetime64[ns]".into(), json!({"timezone": zone.as_ref()}))
        }
        DataType::Decimal128(precision, scale) => {
            ("decimal".into(), "object".into(), json!({"precision": precision, "scale": scale}))
        }
        DataType::List(item) => {
            let (inner, _, _) = types(item.data_type());
            let inner = if inner == "object" { "unicode".to_owned() } else { inner };
            plain(&format!("list[{inner}]"), "object")
        }
        DataType::Dictionary(index, _) => {
            let index = index.to_string().to_lowercase();
            ("categorical".into(), index, json!({"num_categories": 0, "ordered": false}))
        }
        other if other.is_integer() => {
            let name = other.to_string().to_lowercase();
            plain(&name, &name)
        }
        _ => plain("object", "object"),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}
