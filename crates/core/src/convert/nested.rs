//! Lists, structs and maps, whose values are converted one level down.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, LargeListArray, ListArray, MapArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast, cast_with_options, is_null, nullif};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::util::display::FormatOptions;

use super::{Converted, Misfit};

pub(super) fn is_nested(data_type: &DataType) -> bool {
    item(data_type).is_some() || matches!(data_type, DataType::Struct(_) | DataType::Map(_, _))
}

/// The items of a list of any layout.
pub(crate) fn item(data_type: &DataType) -> Option<&FieldRef> {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// The fields of the key and the value of a map.
pub(super) fn entry(entries: &Field) -> Option<(&FieldRef, &FieldRef)> {
    match entries.data_type() {
        DataType::Struct(fields) => Some((fields.first()?, fields.get(1)?)),
        _ => None,
    }
}

pub(super) fn convert(values: &ArrayRef, to: &DataType) -> Converted {
    let from = values.data_type();
    if let (DataType::List(given), DataType::List(wanted)) = (from, to)
        && given.data_type() == wanted.data_type()
    {
        let lists = values.as_list::<i32>();
        let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
        let items = Arc::clone(lists.values());
        return Ok(Arc::new(ListArray::try_new(Arc::clone(wanted), offsets, items, nulls)?));
    }
    if let (Some(given), Some(wanted)) = (item(from), item(to)) {
        return list(values, given, wanted, to);
    }
    match (from, to) {
        (_, DataType::Map(entries, sorted)) if item(from).is_some() => {
            map_of_list(values, entries, *sorted)
        }
        (DataType::Struct(_), DataType::Struct(wanted)) => structure(values, wanted),
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => map(values, entries, *sorted),
        _ => Err(Misfit::types(from, to)),
    }
}

fn list(values: &ArrayRef, given: &FieldRef, wanted: &FieldRef, to: &DataType) -> Converted {
    let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
    let plain = cast(values, &DataType::LargeList(Arc::clone(given)))?;
    let plain = plain.as_list::<i64>();
    let (items, offsets) = (plain.values(), plain.offsets());
    // The values array of a sliced list holds the items of the whole list.
    let first = offsets.first();
    let last = offsets.last();
    let place = |offset: i64| usize::try_from(offset).unwrap_or(0);
    let own = items.slice(place(first), place(last - first));
    let own = super::convert(&own, wanted.data_type()).map_err(|misfit| {
        let list = |row: usize| {
            offsets.partition_point(|offset| place(*offset - first) <= row).saturating_sub(1)
        };
        misfit.in_row(list)
    })?;
    let shifted: Vec<i64> = offsets.iter().map(|offset| offset - first).collect();
    let field = nullable_if_needed(wanted, &own);
    let converted = LargeListArray::try_new(
        field,
        OffsetBuffer::new(shifted.into()),
        own,
        plain.nulls().cloned(),
    )?;
    let converted: ArrayRef = Arc::new(converted);
    match to {
        DataType::FixedSizeList(_, size) => fixed_size(values, &converted, wanted, *size),
        _ => Ok(cast_with_options(&converted, to, &strict)?),
    }
}

fn fixed_size(values: &ArrayRef, lists: &ArrayRef, wanted: &FieldRef, size: i32) -> Converted {
    let plain = lists.as_list::<i64>();
    let wrong = (0..plain.len())
        .find(|row| plain.is_valid(*row) && i64::from(size) != plain.value_length(*row));
    if let Some(row) = wrong {
        return Err(Misfit::at(values, row, format!("a list is to have {size} items")));
    }
    let to = DataType::FixedSizeList(Arc::clone(wanted), size);
    let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
    let cast: ArrayRef = cast_with_options(lists, &to, &strict)?;
    Ok(Arc::new(
        cast.as_any()
            .downcast_ref::<FixedSizeListArray>()
            .cloned()
            .ok_or_else(|| Misfit::types(lists.data_type(), &to))?,
    ))
}

fn nullable_if_needed(field: &FieldRef, values: &ArrayRef) -> FieldRef {
    if values.null_count() > 0 && !field.is_nullable() {
        return Arc::new(field.as_ref().clone().with_nullable(true));
    }
    Arc::clone(field)
}

fn structure(values: &ArrayRef, wanted: &Fields) -> Converted {
    let given = values.as_struct();
    let names = |fields: &Fields| {
        let mut names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        names.sort_unstable();
        names
    };
    if names(given.fields()) != names(wanted) {
        return Err(Misfit::types(
            &DataType::Struct(given.fields().clone()),
            &DataType::Struct(wanted.clone()),
        ));
    }
    let nulls = match given.null_count() {
        0 => None,
        _ => Some(is_null(given)?),
    };
    let mut columns = Vec::with_capacity(wanted.len());
    for field in wanted {
        let column = given
            .column_by_name(field.name())
            .ok_or_else(|| Misfit::types(values.data_type(), field.data_type()))?;
        // The field values of a null struct are undefined.
        let column = match &nulls {
            Some(nulls) => nullif(column, nulls)?,
            None => Arc::clone(column),
        };
        let column = super::convert(&column, field.data_type())
            .map_err(|misfit| misfit.within(field.name()))?;
        columns.push(column);
    }
    let nulls: Option<NullBuffer> = given.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(wanted.clone(), columns, nulls, given.len())?))
}

fn map(values: &ArrayRef, entries: &FieldRef, sorted: bool) -> Converted {
    let given = values.as_map();
    let Some((key, value)) = entry(entries) else {
        return Err(Misfit::types(values.data_type(), entries.data_type()));
    };
    let offsets = given.offsets();
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let first = offsets.first();
    let last = offsets.last();
    let outer = |row: usize| {
        offsets.partition_point(|offset| place(*offset - first) <= row).saturating_sub(1)
    };
    let part = |column: &ArrayRef, field: &FieldRef| {
        let own = column.slice(place(first), place(last - first));
        super::convert(&own, field.data_type())
            .map_err(|misfit| misfit.in_row(outer).within(field.name()))
    };
    let (keys, items) = (part(given.keys(), key)?, part(given.values(), value)?);
    let fields = Fields::from(vec![Arc::clone(key), Arc::clone(value)]);
    let structs =
        StructArray::try_new_with_length(fields, vec![keys, items], None, place(last - first))?;
    let shifted: Vec<i32> = offsets.iter().map(|offset| offset - first).collect();
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        OffsetBuffer::new(shifted.into()),
        structs,
        given.nulls().cloned(),
        sorted,
    )?))
}

/// Converts lists of key-value structs, which libraries without a map type produce, to maps.
fn map_of_list(values: &ArrayRef, entries: &FieldRef, sorted: bool) -> Converted {
    let lists = convert(values, &DataType::List(Arc::clone(entries)))?;
    let lists = lists.as_list::<i32>();
    let given = lists.values().as_struct();
    Ok(Arc::new(MapArray::try_new(
        Arc::clone(entries),
        lists.offsets().clone(),
        given.clone(),
        lists.nulls().cloned(),
        sorted,
    )?))
}
