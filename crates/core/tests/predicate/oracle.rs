//! A table of plain cells, and an evaluation of predicates that follows their definition literally.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use partita_core::Predicate;
use partita_core::predicate::{CompareOp, Literal};

/// A value; every column has cells of one kind and `Null`.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    /// Thousandths.
    Exact(i128),
    Float(f64),
    Single(f32),
    Bytes(Vec<u8>),
    /// Seconds since the epoch.
    Instant(i64),
}

/// Names and types of the columns.
pub const COLUMNS: [&str; 11] = [
    "small", "large", "single", "float", "cents", "flag", "text", "bytes", "day", "naive", "zoned",
];

pub fn type_of(column: &str) -> DataType {
    match column {
        "small" => DataType::Int8,
        "large" => DataType::UInt64,
        "single" => DataType::Float32,
        "float" => DataType::Float64,
        "cents" => DataType::Decimal128(9, 2),
        "flag" => DataType::Boolean,
        "text" => DataType::LargeUtf8,
        "bytes" => DataType::Binary,
        "day" => DataType::Date32,
        "naive" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "zoned" => DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Oslo".into())),
        _ => panic!("{column}"),
    }
}

/// Another type in which the same values may be stored.
fn other_layout(column: &str, choice: usize) -> DataType {
    let dictionary = |values| DataType::Dictionary(Box::new(DataType::Int16), Box::new(values));
    let layouts = match column {
        "small" => vec![DataType::Int64, dictionary(DataType::Int8), DataType::Decimal128(20, 3)],
        "large" => vec![DataType::UInt64, DataType::Int64],
        "cents" => vec![
            DataType::Decimal128(20, 4),
            DataType::Decimal256(40, 2),
            DataType::Decimal64(9, 2),
        ],
        "text" => vec![DataType::Utf8, DataType::Utf8View, dictionary(DataType::Utf8)],
        "bytes" => vec![DataType::LargeBinary, DataType::BinaryView, dictionary(DataType::Binary)],
        "day" => vec![DataType::Date64],
        "naive" => vec![
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Timestamp(TimeUnit::Second, None),
        ],
        "zoned" => vec![DataType::Timestamp(TimeUnit::Second, Some("UTC".into()))],
        _ => vec![type_of(column)],
    };
    layouts[choice % layouts.len()].clone()
}

#[derive(Debug, Clone)]
pub struct Table {
    pub rows: Vec<Vec<Cell>>,
    /// The layout of each column; zero is the type of the schema.
    pub layouts: Vec<usize>,
}

impl Table {
    pub fn schema() -> Schema {
        Schema::new(COLUMNS.map(|name| Field::new(name, type_of(name), true)).to_vec())
    }

    pub fn column(&self, name: &str) -> Vec<Cell> {
        let index = COLUMNS.iter().position(|column| *column == name).unwrap();
        self.rows.iter().map(|row| row[index].clone()).collect()
    }

    pub fn batch(&self) -> RecordBatch {
        let columns = COLUMNS.iter().zip(&self.layouts).map(|(name, layout)| {
            let array = array(name, &self.column(name));
            let array = match layout {
                0 => array,
                n => cast(&array, &other_layout(name, n - 1)).unwrap(),
            };
            (*name, array, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    pub fn answers(&self, predicate: &Predicate) -> Vec<Option<bool>> {
        self.rows.iter().map(|row| answer(predicate, row)).collect()
    }
}

/// An array of the type of `column`.
pub fn array(column: &str, cells: &[Cell]) -> ArrayRef {
    let data_type = type_of(column);
    let exact = |unit: i128| {
        cells.iter().map(move |cell| match cell {
            Cell::Exact(thousandths) => Some(thousandths / unit),
            _ => None,
        })
    };
    let instants = || {
        cells.iter().map(|cell| match cell {
            Cell::Instant(seconds) => Some(*seconds),
            _ => None,
        })
    };
    match column {
        "small" => {
            cast(&exact(1000).map(|v| v.map(|v| v as i64)).collect::<Int64Array>(), &data_type)
                .unwrap()
        }
        "large" => Arc::new(exact(1000).map(|v| v.map(|v| v as u64)).collect::<UInt64Array>()),
        "cents" => {
            let cents = exact(10).collect::<Decimal128Array>();
            Arc::new(cents.with_precision_and_scale(9, 2).unwrap())
        }
        "single" => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Single(value) => Some(*value),
                    _ => None,
                })
                .collect::<Float32Array>(),
        ),
        "float" => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Float(value) => Some(*value),
                    _ => None,
                })
                .collect::<Float64Array>(),
        ),
        "flag" => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Bool(value) => Some(*value),
                    _ => None,
                })
                .collect::<BooleanArray>(),
        ),
        "text" => cast(
            &cells
                .iter()
                .map(|cell| match cell {
                    Cell::Bytes(value) => Some(String::from_utf8(value.clone()).unwrap()),
                    _ => None,
                })
                .collect::<StringArray>(),
            &data_type,
        )
        .unwrap(),
        "bytes" => Arc::new(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Bytes(value) => Some(value.clone()),
                    _ => None,
                })
                .collect::<BinaryArray>(),
        ),
        "day" => {
            Arc::new(instants().map(|v| v.map(|v| (v / 86_400) as i32)).collect::<Date32Array>())
        }
        _ => {
            let micros = instants().map(|v| v.map(|v| v * 1_000_000));
            let micros = micros.collect::<TimestampMicrosecondArray>();
            match column {
                "zoned" => cast(&micros.with_timezone("UTC"), &data_type).unwrap(),
                _ => Arc::new(micros),
            }
        }
    }
}

pub fn selected(answers: &[Option<bool>]) -> Vec<usize> {
    (0..answers.len()).filter(|row| answers[*row] == Some(true)).collect()
}

fn answer(predicate: &Predicate, row: &[Cell]) -> Option<bool> {
    let cell = |name: &str| &row[COLUMNS.iter().position(|column| *column == name).unwrap()];
    match predicate {
        Predicate::Always(value) => Some(*value),
        Predicate::Not(inner) => answer(inner, row).map(|found| !found),
        Predicate::And(parts) => {
            let found: Vec<_> = parts.iter().map(|part| answer(part, row)).collect();
            if found.contains(&Some(false)) {
                Some(false)
            } else if found.contains(&None) {
                None
            } else {
                Some(true)
            }
        }
        Predicate::Or(parts) => {
            let found: Vec<_> = parts.iter().map(|part| answer(part, row)).collect();
            if found.contains(&Some(true)) {
                Some(true)
            } else if found.contains(&None) {
                None
            } else {
                Some(false)
            }
        }
        // No column has lists.
        Predicate::Contains { .. } => None,
        Predicate::IsNull { column, negated } => Some((*cell(column) == Cell::Null) != *negated),
        Predicate::Compare { column, op, value } => compare(cell(column), *op, value),
        Predicate::In { column, values, negated } => {
            let null_listed = values.contains(&Literal::Null);
            let found = match cell(column) {
                Cell::Null if null_listed => Some(true),
                Cell::Null => None,
                cell => Some(values.iter().any(|value| {
                    let nan = matches!(value, Literal::Float(value) if value.is_nan());
                    *value != Literal::Null && compare(cell, CompareOp::Eq, value) == Some(true)
                        || nan && is_nan(cell)
                })),
            };
            found.map(|found| found != *negated)
        }
    }
}

fn is_nan(cell: &Cell) -> bool {
    match cell {
        Cell::Float(value) => value.is_nan(),
        Cell::Single(value) => value.is_nan(),
        _ => false,
    }
}

fn compare(cell: &Cell, op: CompareOp, literal: &Literal) -> Option<bool> {
    if *literal == Literal::Null {
        return Some((*cell == Cell::Null) == (op == CompareOp::Eq));
    }
    let order = match cell {
        Cell::Null => return None,
        Cell::Bool(value) => match literal {
            Literal::Bool(other) => Some(value.cmp(other)),
            _ => panic!("{literal:?}"),
        },
        Cell::Exact(value) => thousandths(literal).map(|other| value.cmp(&other)),
        Cell::Float(value) => value.partial_cmp(&number(literal)),
        Cell::Single(value) => {
            let other = number(literal);
            match other as f32 {
                narrow if narrow.is_infinite() => f64::from(*value).partial_cmp(&other),
                narrow => value.partial_cmp(&narrow),
            }
        }
        Cell::Bytes(value) => match literal {
            Literal::String(other) => Some(value.as_slice().cmp(other.as_bytes())),
            Literal::Binary(other) => Some(value.as_slice().cmp(other)),
            _ => panic!("{literal:?}"),
        },
        Cell::Instant(seconds) => {
            let nanos = i128::from(*seconds) * 1_000_000_000;
            Some(nanos.cmp(&instant(literal)))
        }
    };
    Some(match (op, order) {
        (CompareOp::Ne, order) => order != Some(Ordering::Equal),
        (_, None) => false,
        (CompareOp::Eq, Some(order)) => order.is_eq(),
        (CompareOp::Lt, Some(order)) => order.is_lt(),
        (CompareOp::Le, Some(order)) => order.is_le(),
        (CompareOp::Gt, Some(order)) => order.is_gt(),
        (CompareOp::Ge, Some(order)) => order.is_ge(),
    })
}

/// Literals have at most three decimal places; those outside the range of every column are clamped.
fn thousandths(literal: &Literal) -> Option<i128> {
    match literal {
        Literal::Int(value) => Some(value.saturating_mul(1000)),
        Literal::Decimal { value, scale } => {
            Some(value.saturating_mul(10_i128.pow((3 - i32::from(*scale)) as u32)))
        }
        Literal::Float(value) if value.is_nan() => None,
        Literal::Float(value) => Some((value * 1000.0).round() as i128),
        _ => panic!("{literal:?}"),
    }
}

fn number(literal: &Literal) -> f64 {
    match literal {
        Literal::Int(value) => *value as f64,
        Literal::Float(value) => *value,
        Literal::Decimal { value, scale } => *value as f64 / 10_f64.powi(i32::from(*scale)),
        _ => panic!("{literal:?}"),
    }
}

fn instant(literal: &Literal) -> i128 {
    match literal {
        Literal::Date(days) => i128::from(*days) * 86_400_000_000_000,
        Literal::Timestamp { nanos, .. } => *nanos,
        Literal::String(text) => {
            let (date, time) = text.split_once(' ').unwrap();
            let date: jiff::civil::Date = date.parse().unwrap();
            let time: jiff::civil::Time = time.parse().unwrap();
            let zoned = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
            zoned.timestamp().as_nanosecond()
        }
        _ => panic!("{literal:?}"),
    }
}
