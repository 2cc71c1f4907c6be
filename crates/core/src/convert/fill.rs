//! Structs that lack fields which their column has got since.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    StructArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::nested::{entry, item};
use super::typed;
use crate::Result;

/// The values with the fields of structs, at any depth, that `to` has and they lack; these are null.
/// Types and the other fields stay as they are.
///
/// # Errors
/// None that data can cause; Arrow's are passed on.
pub fn fill_fields(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if !lacks(values.data_type(), to) {
        return Ok(Arc::clone(values));
    }
    match (values.data_type(), to) {
        (DataType::Struct(_), DataType::Struct(wanted)) => fill_struct(values.as_struct(), wanted),
        (DataType::Map(entries, sorted), DataType::Map(wanted, _)) => {
            fill_map(values.as_map(), entries, wanted, *sorted)
        }
        (DataType::List(field), _) => fill_list(values.as_list::<i32>(), field, to),
        (DataType::LargeList(field), _) => fill_list(values.as_list::<i64>(), field, to),
        (DataType::FixedSizeList(field, size), _) => {
            let lists = values.as_fixed_size_list();
            let Some(wanted) = item(to) else { return Ok(Arc::clone(values)) };
            let items = fill_fields(lists.values(), wanted.data_type())?;
            let field = retyped(field, &items);
            let nulls = lists.nulls().cloned();
            Ok(Arc::new(FixedSizeListArray::try_new(field, *size, items, nulls)?))
        }
        _ => Ok(Arc::clone(values)),
    }
}

/// True if a struct within `from` lacks a field that `to` has.
fn lacks(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Struct(given), DataType::Struct(wanted)) => wanted.iter().any(|field| {
            let found = given.iter().find(|found| found.name() == field.name());
            found.is_none_or(|found| lacks(found.data_type(), field.data_type()))
        }),
        (DataType::Map(given, _), DataType::Map(wanted, _)) => {
            match (entry(given), entry(wanted)) {
                (Some((_, given)), Some((_, wanted))) => {
                    lacks(given.data_type(), wanted.data_type())
                }
                _ => false,
            }
        }
        _ => match (item(from), item(to)) {
            (Some(given), Some(wanted)) => lacks(given.data_type(), wanted.data_type()),
            _ => false,
        },
    }
}

fn fill_struct(given: &StructArray, wanted: &Fields) -> Result<ArrayRef> {
    let mut fields = Vec::with_capacity(wanted.len());
    let mut columns = Vec::with_capacity(wanted.len());
    for (field, column) in given.fields().iter().zip(given.columns()) {
        let known = wanted.iter().find(|wanted| wanted.name() == field.name());
        let column = match known {
            Some(known) => fill_fields(column, known.data_type())?,
            None => Arc::clone(column),
        };
        fields.push(retyped(field, &column));
        columns.push(column);
    }
    for field in wanted.iter().filter(|field| given.column_by_name(field.name()).is_none()) {
        fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
        columns.push(new_null_array(field.data_type(), given.len()));
    }
    let nulls = given.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.into(), columns, nulls, given.len())?))
}

fn fill_map(given: &MapArray, entries: &Field, wanted: &Field, sorted: bool) -> Result<ArrayRef> {
    let (Some((key, value)), Some((_, wanted))) = (entry(entries), entry(wanted)) else {
        return Ok(Arc::new(given.clone()));
    };
    let values = fill_fields(given.values(), wanted.data_type())?;
    let fields = Fields::from(vec![Arc::clone(key), retyped(value, &values)]);
    let columns = vec![Arc::clone(given.keys()), values];
    let pairs =
        StructArray::try_new_with_length(fields.clone(), columns, None, given.keys().len())?;
    let entries = Arc::new(typed(entries, DataType::Struct(fields)));
    let (offsets, nulls) = (given.offsets().clone(), given.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(entries, offsets, pairs, nulls, sorted)?))
}

fn fill_list<O: OffsetSizeTrait>(
    given: &GenericListArray<O>,
    field: &FieldRef,
    to: &DataType,
) -> Result<ArrayRef> {
    let Some(wanted) = item(to) else { return Ok(Arc::new(given.clone())) };
    let items = fill_fields(given.values(), wanted.data_type())?;
    let field = retyped(field, &items);
    let (offsets, nulls) = (given.offsets().clone(), given.nulls().cloned());
    Ok(Arc::new(GenericListArray::<O>::try_new(field, offsets, items, nulls)?))
}

/// The field with the type of `values`.
fn retyped(field: &Field, values: &ArrayRef) -> FieldRef {
    Arc::new(typed(field, values.data_type().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, ListArray};
    use arrow::buffer::OffsetBuffer;

    fn structs(names: &[&str]) -> ArrayRef {
        let field = |name: &&str| Arc::new(Field::new(*name, DataType::Int32, true));
        let columns = names.iter().map(|_| Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef);
        let fields: Vec<FieldRef> = names.iter().map(field).collect();
        Arc::new(StructArray::new(fields.into(), columns.collect(), None))
    }

    fn within(values: ArrayRef, how: &str) -> ArrayRef {
        let field = |name: &str, values: &ArrayRef, nullable| {
            Arc::new(Field::new(name, values.data_type().clone(), nullable))
        };
        match how {
            "list" => {
                let offsets = OffsetBuffer::new(vec![0, 1, 1, 3].into());
                let item = field("item", &values, true);
                Arc::new(ListArray::new(item, offsets, values, None))
            }
            "fixed list" => {
                let item = field("item", &values, true);
                Arc::new(FixedSizeListArray::new(item, 1, values, None))
            }
            "map" => {
                let keys = Arc::new(Int32Array::from(vec![7, 8, 9])) as ArrayRef;
                let fields = vec![field("key", &keys, false), field("value", &values, true)];
                let pairs = StructArray::new(fields.into(), vec![keys, values], None);
                let entries = Field::new("entries", pairs.data_type().clone(), false);
                let offsets = OffsetBuffer::new(vec![0, 1, 1, 3].into());
                Arc::new(MapArray::new(Arc::new(entries), offsets, pairs, None, false))
            }
            "struct" => {
                let fields = vec![field("inner", &values, true)];
                Arc::new(StructArray::new(fields.into(), vec![values], None))
            }
            _ => values,
        }
    }

    #[test]
    fn fields_that_are_missing_are_null_at_any_depth() {
        for outer in ["none", "list", "fixed list", "map", "struct"] {
            for inner in ["none", "list", "map", "struct"] {
                let nested = |names: &[&str]| within(within(structs(names), inner), outer);
                let (narrow, wide) = (nested(&["a"]), nested(&["b", "a", "c"]));
                let filled = fill_fields(&narrow, wide.data_type()).unwrap();
                let converted = super::super::convert(&filled, wide.data_type()).unwrap();
                assert_eq!(converted.data_type(), wide.data_type(), "{outer} {inner}");
                assert_eq!(converted.len(), narrow.len());
                let back = fill_fields(&wide, narrow.data_type()).unwrap();
                assert_eq!(&back, &wide, "nothing is taken away");
            }
        }
    }
}
