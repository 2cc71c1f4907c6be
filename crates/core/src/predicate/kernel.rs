//! Comparison kernels: conditions compiled for one Arrow type and run over whole arrays.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BinaryViewArray,
    BooleanArray, LargeBinaryArray, LargeStringArray, PrimitiveArray, Scalar, StringArray,
    StringViewArray, make_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{
    ArrowNativeType, DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

use super::CompareOp;
use super::lattice::{Asked, Place};
use super::points::{Points, is_bytes};
use super::set::{BytesSet, IntSet, ValueSet, WithLookup};
use super::value::Value;
use crate::{Error, ErrorKind, Result, type_name};

/// A condition on the values of a column.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Compare(CompareOp, Value),
    In(Vec<Value>),
}

/// A condition compiled for one type.
#[derive(Debug)]
pub(crate) enum Test {
    /// The result is the same for every value that is not null.
    Known(bool),
    /// The results for false and for true.
    Bool([bool; 2]),
    Int(CompareOp, i128),
    Wide(CompareOp, i256),
    Float(CompareOp, f64),
    Bytes(CompareOp, Box<[u8]>),
    IntIn(IntSet),
    Int128In(ValueSet<i128>),
    WideIn(ValueSet<i256>),
    /// Bit patterns of floats, with a single zero and a single NaN.
    FloatIn(ValueSet<u64>),
    BytesIn(BytesSet),
}

impl Test {
    /// Compiles the condition for values of `data_type`, which is not a dictionary. `None` if the
    /// two cannot be compared.
    pub(crate) fn new(question: &Question, data_type: &DataType) -> Option<Self> {
        match question {
            Question::Compare(op, value) => Self::compare(*op, value, data_type),
            Question::In(values) => Self::is_in(values, data_type),
        }
    }

    fn compare(op: CompareOp, value: &Value, data_type: &DataType) -> Option<Self> {
        Some(match (value, data_type) {
            (_, DataType::Null) => Self::Known(false),
            (Value::Bool(value), DataType::Boolean) => {
                Self::Bool([holds(op, &false, value), holds(op, &true, value)])
            }
            (Value::Number(number), other) if other.is_floating() => {
                Self::Float(op, number.to_f64())
            }
            (Value::Bytes(bytes), other) if is_bytes(other) => Self::Bytes(op, bytes.clone()),
            (Value::Number(_) | Value::Nanos(_), _) => match Place::of(value, data_type)?.ask(op) {
                Asked::Known(answer) => Self::Known(answer),
                Asked::Step(op, step) if matches!(data_type, DataType::Decimal256(_, _)) => {
                    Self::Wide(op, step)
                }
                Asked::Step(op, step) => Self::Int(op, step.to_i128()?),
            },
            _ => return None,
        })
    }

    fn is_in(values: &[Value], data_type: &DataType) -> Option<Self> {
        Some(match Points::new(values, data_type)? {
            Points::Steps(steps) if steps.is_empty() => Self::Known(false),
            Points::Steps(steps) if matches!(data_type, DataType::Decimal256(_, _)) => {
                Self::WideIn(ValueSet::new(steps.into_iter()))
            }
            Points::Steps(steps) => {
                let steps: Option<Vec<i128>> = steps.into_iter().map(i256::to_i128).collect();
                match data_type {
                    DataType::Decimal128(_, _) => Self::Int128In(ValueSet::new(steps?.into_iter())),
                    _ => Self::IntIn(IntSet::new(&steps?)?),
                }
            }
            Points::Floats(floats) => {
                Self::FloatIn(ValueSet::new(floats.into_iter().map(float_key)))
            }
            Points::Bytes(bytes) => Self::BytesIn(BytesSet::new(&bytes)),
            Points::Bools(found) => Self::Bool(found),
            Points::None => Self::Known(false),
        })
    }

    /// The result for each value; null if the value is null. `array` must have the type that the
    /// test was compiled for.
    pub(crate) fn run(&self, array: &ArrayRef) -> Result<BooleanArray> {
        let tested = match self {
            Self::Known(answer) => {
                let values = if *answer {
                    BooleanBuffer::new_set(array.len())
                } else {
                    BooleanBuffer::new_unset(array.len())
                };
                Some(BooleanArray::new(values, array.logical_nulls()))
            }
            Self::Bool([of_false, of_true]) => array.as_boolean_opt().map(|array| {
                BooleanArray::from_unary(array, |v| if v { *of_true } else { *of_false })
            }),
            Self::Float(op, value) => compare_floats(array, *op, *value)?,
            Self::FloatIn(set) => floats_in(array, set)?,
            Self::Int(op, value) => compare_integers(array, *op, *value)?,
            Self::Wide(op, value) => {
                array.as_primitive_opt::<Decimal256Type>().map(|a| compare(a, *op, *value))
            }
            Self::IntIn(set) => integers_in(array, set)?,
            Self::Int128In(set) => array
                .as_primitive_opt::<Decimal128Type>()
                .map(|a| BooleanArray::from_unary(a, |v| set.contains(&v))),
            Self::WideIn(set) => array
                .as_primitive_opt::<Decimal256Type>()
                .map(|a| BooleanArray::from_unary(a, |v| set.contains(&v))),
            Self::Bytes(op, value) => compare_bytes(array, *op, value)?,
            Self::BytesIn(set) => bytes_in(array, set),
        };
        tested.ok_or_else(|| mismatch(array.data_type()))
    }
}

fn mismatch(data_type: &DataType) -> Error {
    Error::new(
        ErrorKind::SchemaMismatch,
        "the data are of another type than the predicate was bound to",
    )
    .with("found", type_name(data_type))
}

/// The bit pattern that identifies a float in a set. Adding zero makes the negative zero positive.
fn float_key(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

fn holds<T: PartialOrd + ?Sized>(op: CompareOp, left: &T, right: &T) -> bool {
    match op {
        CompareOp::Eq => left == right,
        CompareOp::Ne => left != right,
        CompareOp::Lt => left < right,
        CompareOp::Le => left <= right,
        CompareOp::Gt => left > right,
        CompareOp::Ge => left >= right,
    }
}

/// Compares with Rust's operators, which follow IEEE 754 for floats.
fn compare<A>(array: A, op: CompareOp, value: A::Item) -> BooleanArray
where
    A: ArrayAccessor,
    A::Item: PartialOrd + Copy,
{
    compare_by(array, op, value, |v| v)
}

/// Like [`compare`], on values converted to the type of the literal. One loop per operator, so that
/// each is free of branches.
fn compare_by<A, T>(array: A, op: CompareOp, value: T, to: impl Fn(A::Item) -> T) -> BooleanArray
where
    A: ArrayAccessor,
    T: PartialOrd + Copy,
{
    match op {
        CompareOp::Eq => BooleanArray::from_unary(array, |v| to(v) == value),
        CompareOp::Ne => BooleanArray::from_unary(array, |v| to(v) != value),
        CompareOp::Lt => BooleanArray::from_unary(array, |v| to(v) < value),
        CompareOp::Le => BooleanArray::from_unary(array, |v| to(v) <= value),
        CompareOp::Gt => BooleanArray::from_unary(array, |v| to(v) > value),
        CompareOp::Ge => BooleanArray::from_unary(array, |v| to(v) >= value),
    }
}

/// Floats as an array of 32 or 64 bits; 16-bit floats are widened.
fn wide_enough(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float16 => cast(array, &DataType::Float32)?,
        _ => Arc::clone(array),
    })
}

fn compare_floats(array: &ArrayRef, op: CompareOp, value: f64) -> Result<Option<BooleanArray>> {
    let array = wide_enough(array)?;
    if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        return Ok(Some(compare(array, op, value)));
    }
    Ok(array.as_primitive_opt::<Float32Type>().map(|array| compare_by(array, op, value, f64::from)))
}

fn floats_in(array: &ArrayRef, set: &ValueSet<u64>) -> Result<Option<BooleanArray>> {
    let array = wide_enough(array)?;
    if let Some(array) = array.as_primitive_opt::<Float64Type>() {
        return Ok(Some(BooleanArray::from_unary(array, |v| set.contains(&float_key(v)))));
    }
    Ok(array
        .as_primitive_opt::<Float32Type>()
        .map(|a| BooleanArray::from_unary(a, |v| set.contains(&float_key(f64::from(v))))))
}

/// An array of a type that counts steps in at most 64 bits, as its underlying integers; shares the
/// memory.
pub(crate) fn as_integers(array: &ArrayRef) -> Result<ArrayRef> {
    let stored = match array.data_type() {
        DataType::Date32 | DataType::Time32(_) | DataType::Decimal32(_, _) => DataType::Int32,
        DataType::Date64
        | DataType::Time64(_)
        | DataType::Timestamp(_, _)
        | DataType::Decimal64(_, _) => DataType::Int64,
        _ => return Ok(Arc::clone(array)),
    };
    let data = array.to_data().into_builder().data_type(stored).build()?;
    Ok(make_array(data))
}

/// Runs `$run::<T>(array, …)` for the integer type that `array` has.
macro_rules! for_integers {
    ($array:expr, $run:ident ( $($argument:expr),* )) => {{
        let array = as_integers($array)?;
        match array.data_type() {
            DataType::Int8 => array.as_primitive_opt::<Int8Type>().map(|a| $run(a, $($argument),*)),
            DataType::Int16 => array.as_primitive_opt::<Int16Type>().map(|a| $run(a, $($argument),*)),
            DataType::Int32 => array.as_primitive_opt::<Int32Type>().map(|a| $run(a, $($argument),*)),
            DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(|a| $run(a, $($argument),*)),
            DataType::UInt8 => array.as_primitive_opt::<UInt8Type>().map(|a| $run(a, $($argument),*)),
            DataType::UInt16 => array.as_primitive_opt::<UInt16Type>().map(|a| $run(a, $($argument),*)),
            DataType::UInt32 => array.as_primitive_opt::<UInt32Type>().map(|a| $run(a, $($argument),*)),
            DataType::UInt64 => array.as_primitive_opt::<UInt64Type>().map(|a| $run(a, $($argument),*)),
            _ => None,
        }
    }};
}

fn compare_integers(array: &ArrayRef, op: CompareOp, value: i128) -> Result<Option<BooleanArray>> {
    if let Some(array) = array.as_primitive_opt::<Decimal128Type>() {
        return Ok(Some(compare(array, op, value)));
    }
    Ok(for_integers!(array, compare_narrow(op, value)).flatten())
}

fn compare_narrow<T>(array: &PrimitiveArray<T>, op: CompareOp, value: i128) -> Option<BooleanArray>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    Some(compare(array, op, T::Native::try_from(value).ok()?))
}

fn integers_in(array: &ArrayRef, set: &IntSet) -> Result<Option<BooleanArray>> {
    Ok(for_integers!(array, narrow_in(set)))
}

fn narrow_in<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, set: &IntSet) -> BooleanArray
where
    T::Native: Key,
{
    struct Loop<'a, T: ArrowPrimitiveType>(&'a PrimitiveArray<T>);

    impl<T: ArrowPrimitiveType> WithLookup<BooleanArray> for Loop<'_, T>
    where
        T::Native: Key,
    {
        fn run(self, contains: impl Fn(u64) -> bool) -> BooleanArray {
            BooleanArray::from_unary(self.0, |v| contains(v.key()))
        }
    }

    set.contains_all(Loop(array))
}

/// The bit pattern that identifies an integer in a set: its own, sign-extended.
trait Key: ArrowNativeType {
    fn key(self) -> u64;
}

macro_rules! keys {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            fn key(self) -> u64 {
                self as u64
            }
        }
    )*};
}

keys!(i8, i16, i32, i64, u8, u16, u32, u64);

fn compare_bytes(array: &ArrayRef, op: CompareOp, value: &[u8]) -> Result<Option<BooleanArray>> {
    let text = std::str::from_utf8(value).ok();
    if text.is_none() && array.data_type().is_string() {
        return compare_bytes(&cast(array, &DataType::LargeBinary)?, op, value);
    }
    let scalar: ArrayRef = match array.data_type() {
        DataType::Utf8 => Arc::new(StringArray::from_iter([text])),
        DataType::LargeUtf8 => Arc::new(LargeStringArray::from_iter([text])),
        DataType::Utf8View => Arc::new(StringViewArray::from_iter([text])),
        DataType::Binary => Arc::new(BinaryArray::from_iter([Some(value)])),
        DataType::LargeBinary => Arc::new(LargeBinaryArray::from_iter([Some(value)])),
        DataType::BinaryView => Arc::new(BinaryViewArray::from_iter([Some(value)])),
        DataType::FixedSizeBinary(_) => {
            return Ok(array.as_fixed_size_binary_opt().map(|array| compare(array, op, value)));
        }
        _ => return Ok(None),
    };
    let scalar = Scalar::new(scalar);
    let kernel = match op {
        CompareOp::Eq => cmp::eq,
        CompareOp::Ne => cmp::neq,
        CompareOp::Lt => cmp::lt,
        CompareOp::Le => cmp::lt_eq,
        CompareOp::Gt => cmp::gt,
        CompareOp::Ge => cmp::gt_eq,
    };
    Ok(Some(kernel(array, &scalar)?))
}

fn bytes_in(array: &ArrayRef, set: &BytesSet) -> Option<BooleanArray> {
    let text = |v: &str| set.contains(v.as_bytes());
    let bytes = |v: &[u8]| set.contains(v);
    Some(match array.data_type() {
        DataType::Utf8 => BooleanArray::from_unary(array.as_string::<i32>(), text),
        DataType::LargeUtf8 => BooleanArray::from_unary(array.as_string::<i64>(), text),
        DataType::Utf8View => BooleanArray::from_unary(array.as_string_view(), text),
        DataType::Binary => BooleanArray::from_unary(array.as_binary::<i32>(), bytes),
        DataType::LargeBinary => BooleanArray::from_unary(array.as_binary::<i64>(), bytes),
        DataType::BinaryView => BooleanArray::from_unary(array.as_binary_view(), bytes),
        DataType::FixedSizeBinary(_) => {
            BooleanArray::from_unary(array.as_fixed_size_binary_opt()?, bytes)
        }
        _ => return None,
    })
}
