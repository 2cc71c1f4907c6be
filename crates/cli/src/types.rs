//! The names of column types that `create` accepts, which are those that `schema` shows
//! ([`partita::type_name`]), and the names of types of variables.

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, Schema, TimeUnit,
};

const UNITS: [(&str, TimeUnit); 4] = [
    ("s", TimeUnit::Second),
    ("ms", TimeUnit::Millisecond),
    ("us", TimeUnit::Microsecond),
    ("ns", TimeUnit::Nanosecond),
];

const PLAIN: [(&str, DataType); 17] = [
    ("null", DataType::Null),
    ("bool", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float16", DataType::Float16),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("string", DataType::LargeUtf8),
    ("binary", DataType::LargeBinary),
    ("date", DataType::Date32),
    ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
];

/// The name of the type of texts of which there are few; of other values, their type follows.
const CATEGORY: &str = "category";

/// The name of a numpy type, given its array-protocol code: `float64` for `<f8`.
pub(crate) fn of_numpy(text: &str) -> String {
    let plain = text.trim_start_matches(['<', '>', '|', '=']);
    let (kind, rest) = plain.split_at_checked(1).unwrap_or((plain, ""));
    let bits = |name: &str| {
        rest.parse::<u32>().ok().map(|bytes| format!("{name}{}", u64::from(bytes) * 8))
    };
    let named = match kind {
        "b" => Some("bool".to_owned()),
        "i" => bits("int"),
        "u" => bits("uint"),
        "f" => bits("float"),
        "c" => bits("complex"),
        "M" => rest.strip_prefix('8').map(|unit| format!("datetime64{unit}")),
        "m" => rest.strip_prefix('8').map(|unit| format!("timedelta64{unit}")),
        _ => None,
    };
    let swapped = if text.starts_with('>') { ", big-endian" } else { "" };
    named.map_or_else(|| text.to_owned(), |name| format!("{name}{swapped}"))
}

/// The type with the given name.
pub(crate) fn parse(text: &str) -> Result<DataType, String> {
    let text = text.trim();
    if let Some((_, plain)) = PLAIN.iter().find(|(name, _)| *name == text) {
        return Ok(plain.clone());
    }
    if text == CATEGORY {
        return Ok(category(DataType::LargeUtf8));
    }
    parameters(text).ok_or_else(|| {
        format!(
            "{text} is not a type; known types are bool, int8 to int64, uint8 to uint64, float32, \
             float64, string, category, binary, date, timestamp[us], timestamp[us, tz=UTC], time[us], \
             duration[us], decimal(10, 2) and list<int64>"
        )
    })
}

fn category(values: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
}

fn parameters(text: &str) -> Option<DataType> {
    let (name, rest) = text.split_at_checked(text.find(['[', '(', '<'])?)?;
    let inner = rest.get(1..rest.len().checked_sub(1)?)?;
    let closed = |pair: &str| rest.starts_with(&pair[..1]) && rest.ends_with(&pair[1..]);
    match name {
        "timestamp" if closed("[]") => {
            let (unit, zone) = inner.split_once(',').unwrap_or((inner, ""));
            let zone = match zone.trim() {
                "" => None,
                zone => Some(zone.strip_prefix("tz=")?.into()),
            };
            Some(DataType::Timestamp(unit_of(unit)?, zone))
        }
        "time" if closed("[]") => match unit_of(inner)? {
            unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Some(DataType::Time32(unit)),
            unit => Some(DataType::Time64(unit)),
        },
        "duration" if closed("[]") => Some(DataType::Duration(unit_of(inner)?)),
        "decimal" if closed("()") => {
            let (digits, scale) = inner.split_once(',').unwrap_or((inner, "0"));
            let (digits, scale) = (digits.trim().parse().ok()?, scale.trim().parse().ok()?);
            match digits {
                1..=DECIMAL128_MAX_PRECISION => Some(DataType::Decimal128(digits, scale)),
                ..=DECIMAL256_MAX_PRECISION if digits > 0 => {
                    Some(DataType::Decimal256(digits, scale))
                }
                _ => None,
            }
        }
        CATEGORY if closed("<>") => Some(category(parse(inner).ok()?)),
        "list" if closed("<>") => {
            Some(DataType::LargeList(Field::new("item", parse(inner).ok()?, true).into()))
        }
        _ => None,
    }
}

/// Parses columns with their types: `id:int64,price:decimal(10, 2)`; `=` may replace the colon.
pub(crate) fn columns(text: &str) -> Result<Schema, String> {
    let column = |column: &str| {
        let (name, data_type) = column
            .split_once([':', '='])
            .ok_or_else(|| format!("expected NAME:TYPE, such as id:int64, in place of {column}"))?;
        Ok(Field::new(name.trim(), parse(data_type)?, true))
    };
    let fields = outside_of_brackets(text).into_iter().map(column);
    Ok(Schema::new(fields.collect::<Result<Vec<_>, String>>()?))
}

/// Splits a text at commas outside of brackets.
pub(crate) fn outside_of_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c| {
        match c {
            '(' | '[' | '<' => depth += 1,
            ')' | ']' | '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

fn unit_of(symbol: &str) -> Option<TimeUnit> {
    UNITS.iter().find(|(known, _)| *known == symbol.trim()).map(|(_, unit)| *unit)
}

#[cfg(test)]
mod tests {
    use partita::type_name;

    use super::*;

    #[test]
    fn what_is_shown_is_understood() {
        let shown = [
            "timestamp[ns]",
            "timestamp[us, tz=UTC]",
            "timestamp[s, tz=+02:00]",
            "time[ms]",
            "time[ns]",
            "duration[s]",
            "decimal(10, 2)",
            "decimal(60, 0)",
            "category",
            "category<int64>",
            "list<string>",
            "list<list<decimal(4, 1)>>",
        ];
        let plain = PLAIN.iter().map(|(name, _)| *name).filter(|name| *name != "timestamp");
        for text in shown.into_iter().chain(plain) {
            assert_eq!(type_name(&parse(text).unwrap()), text);
        }
        assert_eq!(type_name(&parse("timestamp").unwrap()), "timestamp[us]");
    }

    #[test]
    fn types_of_variables_have_the_names_of_numpy() {
        for (text, name) in [
            ("<f8", "float64"),
            (">i2", "int16, big-endian"),
            ("|b1", "bool"),
            ("|u1", "uint8"),
            ("<M8[us]", "datetime64[us]"),
            ("<m8[ns]", "timedelta64[ns]"),
            ("<U5", "<U5"),
            ("|S0", "|S0"),
            ("float64", "float64"),
            ("", ""),
            ("é", "é"),
        ] {
            assert_eq!(of_numpy(text), name);
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in
            ["", "text", "timestamp[m]", "timestamp[us", "decimal(0, 0)", "decimal(99)", "list<x>"]
        {
            assert!(parse(text).unwrap_err().contains("known types are bool"), "{text}");
        }
        assert!(columns("id").unwrap_err().contains("NAME:TYPE"));
    }

    #[test]
    fn columns_have_names_and_types() {
        let schema = columns("id:int64, price=decimal(10, 2),at:timestamp[us, tz=+02:00]").unwrap();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "price", "at"]);
    }
}
