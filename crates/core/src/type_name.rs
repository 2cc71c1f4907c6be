//! The names of column types, the same in errors, in the command and in Python. They are those of
//! pyarrow, without details that users of a table need not choose (`large_`, `[day]`, the width of
//! decimals).

use arrow::datatypes::{DataType, FieldRef, IntervalUnit, TimeUnit};

/// The name of a type.
#[must_use]
pub fn type_name(data_type: &DataType) -> String {
    use DataType as T;
    let plain = match data_type {
        T::Null => "null",
        T::Boolean => "bool",
        T::Int8 => "int8",
        T::Int16 => "int16",
        T::Int32 => "int32",
        T::Int64 => "int64",
        T::UInt8 => "uint8",
        T::UInt16 => "uint16",
        T::UInt32 => "uint32",
        T::UInt64 => "uint64",
        T::Float16 => "float16",
        T::Float32 => "float32",
        T::Float64 => "float64",
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "string",
        T::Binary | T::LargeBinary | T::BinaryView => "binary",
        T::Date32 | T::Date64 => "date",
        T::Interval(IntervalUnit::YearMonth) => "month_interval",
        T::Interval(IntervalUnit::DayTime) => "day_time_interval",
        T::Interval(IntervalUnit::MonthDayNano) => "month_day_nano_interval",
        T::Union(..) => "union",
        T::FixedSizeBinary(bytes) => return format!("fixed_size_binary[{bytes}]"),
        T::Timestamp(unit, None) => return format!("timestamp[{}]", symbol(*unit)),
        T::Timestamp(unit, Some(zone)) => {
            return format!("timestamp[{}, tz={zone}]", symbol(*unit));
        }
        T::Time32(unit) | T::Time64(unit) => return format!("time[{}]", symbol(*unit)),
        T::Duration(unit) => return format!("duration[{}]", symbol(*unit)),
        T::Decimal32(digits, scale)
        | T::Decimal64(digits, scale)
        | T::Decimal128(digits, scale)
        | T::Decimal256(digits, scale) => return format!("decimal({digits}, {scale})"),
        T::Dictionary(_, values) if values.is_string() => "category",
        T::Dictionary(_, values) => return format!("category<{}>", type_name(values)),
        T::RunEndEncoded(_, values) => return type_name(values.data_type()),
        T::List(_)
        | T::LargeList(_)
        | T::ListView(_)
        | T::LargeListView(_)
        | T::FixedSizeList(..)
        | T::Struct(_)
        | T::Map(..) => return nested(data_type),
    };
    plain.to_owned()
}

/// The name of a type that holds values of others.
fn nested(data_type: &DataType) -> String {
    use DataType as T;
    let of = |field: &FieldRef| type_name(field.data_type());
    let members = |fields: &[FieldRef], name: fn(&str, String) -> String| {
        let named = fields.iter().map(|field| name(field.name(), of(field)));
        named.collect::<Vec<_>>().join(", ")
    };
    match data_type {
        T::FixedSizeList(item, size) => format!("fixed_size_list<{}>[{size}]", of(item)),
        T::Struct(fields) => {
            format!("struct<{}>", members(fields, |name, kind| format!("{name}: {kind}")))
        }
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(pair) => format!("map<{}>", members(pair, |_, kind| kind)),
            other => format!("map<{}>", type_name(other)),
        },
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) => {
            format!("list<{}>", of(item))
        }
        plain => type_name(plain),
    }
}

fn symbol(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Fields};

    use super::*;

    #[test]
    fn nested_types_are_named_by_what_they_hold() {
        let item = || Field::new("item", DataType::Utf8View, true).into();
        let number = || DataType::Decimal128(10, 2);
        let pair = [Field::new("key", DataType::Utf8, false), Field::new("value", number(), true)];
        let pair = DataType::Struct(Fields::from(pair.to_vec()));
        let category = |values| DataType::Dictionary(DataType::Int8.into(), Box::new(values));
        for (data_type, name) in [
            (DataType::List(item()), "list<string>"),
            (DataType::LargeListView(item()), "list<string>"),
            (DataType::FixedSizeList(item(), 3), "fixed_size_list<string>[3]"),
            (pair.clone(), "struct<key: string, value: decimal(10, 2)>"),
            (
                DataType::Map(Field::new("entries", pair, false).into(), false),
                "map<string, decimal(10, 2)>",
            ),
            (category(DataType::LargeUtf8), "category"),
            (category(DataType::Int64), "category<int64>"),
            (
                DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
                "timestamp[ns, tz=UTC]",
            ),
        ] {
            assert_eq!(type_name(&data_type), name);
        }
    }
}
