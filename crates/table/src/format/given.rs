//! Columns as they were given: the types, nullability and metadata that scans return.
//!
//! The stored schema is plateau's, which widens numbers and drops dictionaries. Where data were
//! given in another form, the stored field holds the given field too (`columns::given_of`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use partita_core::convert::{common_type, convert_column, settled_type};
use partita_core::{Error, ErrorKind, Result, type_name};

use super::categories::{categories_of, in_categories, without_order, without_unknown_order};
use super::columns::{given_of, with_given, without_id};
use super::pandas::{self, ExtensionTypes};
use super::schema::{
    EXTENSION_NAME, file_type, in_order, in_stored_order, missing, same, stored_field, stored_type,
    surplus, table_field, table_type,
};
use super::widen::{Widening, holds_number, widening};

/// The stored schema for data of `given`: partition columns first, the others by name, all
/// nullable.
///
/// # Errors
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for a column name that occurs twice,
/// [`NotFound`](ErrorKind::NotFound) for a partition column that does not exist.
pub fn stored_schema(given: &Schema, partition_by: &[String]) -> Result<Schema> {
    let extensions = pandas::extension_types(given);
    let mut names: Vec<&str> = given.fields().iter().map(|f| f.name().as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair.first() == pair.last()) {
        return Err(Error::invalid("a column name occurs twice in the data")
            .with("column", pair.first().copied().unwrap_or_default()));
    }
    if let Some(name) = partition_by.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Error::new(ErrorKind::NotFound, "a partition column is missing from the data")
            .with("column", name));
    }
    let fields = given.fields().iter().map(|field| as_given(field, extensions.get(field.name())));
    Ok(in_stored_order(fields.collect(), partition_by))
}

/// The stored field for data of field `given`, which scans return as it was given.
#[must_use]
pub fn as_given(given: &Field, pandas: Option<&String>) -> Field {
    returned_as(&stored_field(given, pandas), &kept(given))
}

/// The stored field, which scans return as `given` if they can.
fn returned_as(stored: &Field, given: &Field) -> Field {
    let plain = with_given(stored, None);
    let given = given.clone().with_name(stored.name());
    match returnable(given.data_type()) && given != table_field(&plain) {
        true => with_given(&plain, Some(&given)),
        false => plain,
    }
}

/// The field that scans return for a stored column.
#[must_use]
pub fn given_field(stored: &Field) -> Field {
    given_of(stored).map_or_else(|| table_field(stored), without_unknown_order)
}

/// The schema that scans return for a stored one, with columns in the order of `columns` if that
/// names all of them.
#[must_use]
pub fn given_schema(stored: &Schema, columns: &[String], extensions: &ExtensionTypes) -> SchemaRef {
    in_order(stored, columns, extensions, given_field)
}

/// The form in which scans return a given field.
fn kept(given: &Field) -> Field {
    let data_type = match given.metadata().contains_key(EXTENSION_NAME) {
        // The values of an extension type are defined by its storage type.
        true => given.data_type().clone(),
        false => kept_type(given.data_type()),
    };
    // A column of nulls has them whatever its field says.
    let nullable = given.is_nullable() || data_type == DataType::Null;
    without_id(given).with_data_type(data_type).with_nullable(nullable)
}

/// The type in which scans return data of type `given`.
fn kept_type(given: &DataType) -> DataType {
    match given {
        // The files of a column may together hold more values than a narrower index counts.
        DataType::Dictionary(_, values) => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(kept_type(values)))
        }
        DataType::RunEndEncoded(_, values) => kept_type(values.data_type()),
        DataType::List(item) | DataType::ListView(item) => DataType::List(kept_part(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(kept_part(item))
        }
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(kept_part(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(kept_part).collect()),
        DataType::Map(entries, sorted) => DataType::Map(kept_part(entries), *sorted),
        other => other.clone(),
    }
}

/// As [`kept`], for a field within another one: dictionaries are their values.
fn kept_part(given: &FieldRef) -> FieldRef {
    let data_type = match kept_type(given.data_type()) {
        DataType::Dictionary(_, values) => *values,
        other => other,
    };
    Arc::new(without_id(given).with_data_type(data_type))
}

/// True if values of data files and of partition keys can be returned in this type.
fn returnable(given: &DataType) -> bool {
    match given {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            returnable(item.data_type())
        }
        DataType::Map(entries, _) => returnable(entries.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| returnable(field.data_type())),
        other => {
            let forms = [file_type(other), table_type(&stored_type(other, None))];
            // Not every cast that Arrow declares exists, such as of booleans to a dictionary.
            let casts = |from| cast(&new_empty_array(from), other).is_ok();
            forms.iter().all(|from| from == other || casts(from))
        }
    }
}

/// Converts values to the type in which a column is written to data files, such that scans return
/// each of them exactly in the given field `column`.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) naming the column, the row and the value.
pub fn to_file(column: &Field, first_row: u64, values: &ArrayRef) -> Result<ArrayRef> {
    let name = column.name();
    let given = convert_column(name, first_row, values, column.data_type())?;
    if !column.is_nullable()
        && let Some(nulls) = given.logical_nulls()
        && let Some(row) = nulls.iter().position(|valid| !valid)
    {
        return Err(Error::new(ErrorKind::SchemaMismatch, "the column takes no nulls")
            .with("column", name)
            .with("row", first_row + row as u64));
    }
    let given = match categories_of(column) {
        Some(categories) => in_categories(column, &categories, first_row, given)?,
        None => given,
    };
    convert_column(name, first_row, &given, &file_type(column.data_type()))
}

/// The stored field with each part that has no type yet taken from `found`; `None` if that changes
/// nothing.
#[must_use]
pub fn settled(known: &Field, found: &Field) -> Option<Field> {
    let settled = settled_type(known.data_type(), found.data_type())?;
    let field = with_given(known, None).with_data_type(settled);
    let given = given_of(found).filter(|_| field.data_type() == found.data_type());
    Some(match given {
        Some(given) => returned_as(&field, &given.with_nullable(true)),
        None => field,
    })
}

/// The stored field of a column that takes the data of both; `stored` is the type that holds both.
/// Scans return a given type if one of them holds both, and else the table type.
#[must_use]
pub fn widened(known: &Field, found: &Field, stored: &DataType) -> Field {
    let field = with_given(known, None).with_data_type(stored.clone());
    let (one, other) = (given_field(known), given_field(found));
    let common = common_given(one.data_type(), other.data_type());
    match common.filter(|common| table_type(&stored_type(common, None)) == table_type(stored)) {
        Some(common) => {
            // If the two have different orders, neither order covers all values.
            let same_order = categories_of(&one).as_deref() == categories_of(&other).as_deref();
            let nullable = one.is_nullable() || other.is_nullable();
            let common = one.with_data_type(common).with_nullable(nullable);
            let common = if same_order { common } else { without_order(&common) };
            returned_as(&field, &common)
        }
        // Without the given unit the column would be read in nanoseconds, which hold fewer years.
        None if field.data_type() == known.data_type() && field.data_type().is_temporal() => {
            known.clone()
        }
        None => field,
    }
}

/// The stored field of a column of times or durations in the finer unit of `found`; `None` if there
/// is none, or if the column takes the unit in another way. A finer unit may reach less far, so it
/// depends on the values whether the column can take it.
#[must_use]
pub fn finer(known: &Field, found: &Field) -> Option<Field> {
    let (one, other) = (given_field(known), given_field(found));
    let common = common_type(one.data_type(), other.data_type())?;
    let is_finer = match &common {
        DataType::Timestamp(unit, _) | DataType::Time64(unit) => *unit == TimeUnit::Nanosecond,
        DataType::Duration(_) => true,
        _ => false,
    };
    if !is_finer || common == *one.data_type() {
        return None;
    }
    let nullable = one.is_nullable() || other.is_nullable();
    let given = one.with_data_type(common).with_nullable(nullable);
    let stored = stored_field(&given, None);
    let mut metadata = known.metadata().clone();
    metadata.extend(stored.metadata().clone());
    Some(returned_as(&stored.with_metadata(metadata), &given))
}

/// The stored column with the type `to`, in which scans return it.
#[must_use]
pub fn retyped(known: &Field, to: &DataType) -> Field {
    let given = given_field(known).with_data_type(kept_type(to));
    let plain = with_given(known, None).with_data_type(stored_type(to, None));
    returned_as(&plain, &given)
}

/// The work that giving a stored column the type `to` requires; `None` if that does not hold every
/// value of the column.
#[must_use]
pub fn retyping(known: &Field, to: &DataType) -> Option<Widening> {
    let holds = holds_all(given_field(known).data_type(), to);
    match widening(known.data_type(), &stored_type(to, None)) {
        None if holds && *known.data_type() == stored_type(to, None) => Some(Widening::AsItIs),
        // The bounds of integers show whether doubles hold them, but not whether narrower floats
        // do.
        Some(Widening::IfExact) if !holds && *to != DataType::Float64 => None,
        takes => takes,
    }
}

/// The stored column, which may hold nulls.
#[must_use]
pub fn taking_nulls(known: &Field) -> Field {
    match given_of(known).filter(|given| !given.is_nullable()) {
        Some(given) => returned_as(known, &given.with_nullable(true)),
        None => known.clone(),
    }
}

/// The given field of a column into which other libraries have written: any part of a value may be
/// null, and times have microseconds, since that is what they write.
#[must_use]
pub fn as_others_write(given: &Field) -> Field {
    let part = |field: &FieldRef| Arc::new(as_others_write(field));
    let data_type = match given.data_type() {
        // The values of an extension type are defined by its storage type.
        own if given.metadata().contains_key(EXTENSION_NAME) => own.clone(),
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::List(item) => DataType::List(part(item)),
        DataType::LargeList(item) => DataType::LargeList(part(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(part(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(part).collect()),
        DataType::Map(entries, sorted) => {
            let pair = match entries.data_type() {
                DataType::Struct(fields) => match &**fields {
                    // The key of a map is not nullable.
                    [key, value] => DataType::Struct(vec![Arc::clone(key), part(value)].into()),
                    _ => DataType::Struct(fields.clone()),
                },
                other => other.clone(),
            };
            DataType::Map(Arc::new(entries.as_ref().clone().with_data_type(pair)), *sorted)
        }
        other => other.clone(),
    };
    given.clone().with_data_type(data_type).with_nullable(true)
}

/// The columns of data which are added to a table, whose files have nulls in their place.
#[must_use]
pub fn nullable(given: &Schema) -> Schema {
    let fields = given.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), given.metadata().clone())
}

fn common_given(one: &DataType, other: &DataType) -> Option<DataType> {
    if holds_all(other, one) {
        return Some(one.clone());
    }
    if holds_all(one, other) {
        return Some(other.clone());
    }
    common_type(one, other).filter(|common| holds_all(one, common) && holds_all(other, common))
}

/// True if the type `wider` holds every value of `narrow`.
#[must_use]
pub fn holds_all(narrow: &DataType, wider: &DataType) -> bool {
    let is_number = |data_type: &DataType| data_type.is_integer() || data_type.is_floating();
    match (narrow, wider) {
        _ if narrow == wider || narrow.is_string() && wider.is_string() => true,
        (DataType::Dictionary(_, values), _) => holds_all(values, wider),
        (_, DataType::Dictionary(_, values)) => holds_all(narrow, values),
        (DataType::Timestamp(from, a), DataType::Timestamp(to, b)) => {
            // Nanoseconds reach less far than the coarser units.
            a == b && from <= to && (from == to || *to != TimeUnit::Nanosecond)
        }
        _ if is_number(narrow) && is_number(wider) => holds_number(narrow, wider),
        _ => {
            let (narrow, wider) = (file_type(narrow), file_type(wider));
            narrow == wider || widening(&narrow, &wider) == Some(Widening::AsItIs)
        }
    }
}

/// Checks data of stored schema `incoming` against `current`, and returns the schema for both:
/// columns that were null so far take their type from the data, and narrower types become one that
/// holds both, but for the columns of `fixed`.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) naming the column, what was expected and found.
pub fn merge(current: &Schema, incoming: &Schema, fixed: &[String]) -> Result<Schema> {
    if let Some(field) = incoming.fields().iter().find(|f| current.index_of(f.name()).is_err()) {
        return Err(surplus(field.name()));
    }
    let merged = current.fields().iter().map(|known| {
        let found = incoming.field_with_name(known.name()).map_err(|_| missing(known.name()))?;
        if let Some(settled) = settled(known, found) {
            return Ok(settled);
        }
        let (expected, is) = (known.data_type(), found.data_type());
        // The parts that have no type in the new data are nulls.
        if settled_type(is, expected).as_ref() == Some(expected) {
            return Ok(known.as_ref().clone());
        }
        let takes = |from: &DataType, to: &DataType| {
            from == to || widening(from, to) == Some(Widening::AsItIs)
        };
        let wider = match same(expected, is) {
            true => Some(expected.clone()),
            false => common_type(expected, is)
                .filter(|to| takes(expected, to) && takes(is, to))
                .filter(|_| !fixed.contains(known.name())),
        };
        let Some(wider) = wider else {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                "the data has another type than the table's column",
            )
            .with("column", known.name())
            .with("expected", type_name(expected))
            .with("found", type_name(is)));
        };
        Ok(widened(known, found, &wider))
    });
    Ok(Schema::new(merged.collect::<Result<Vec<_>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::columns::plain;
    use crate::format::schema::{decode_common_metadata, encode_common_metadata};

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn stored_schema_is_plateaus() {
        let category = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let given = schema(&[
            ("z", DataType::Int8),
            ("p", DataType::Utf8View),
            ("a", category),
            ("t", DataType::Timestamp(TimeUnit::Second, None)),
        ]);
        let stored = stored_schema(&given, &["p".into()]).unwrap();
        let found: Vec<(&str, &DataType)> =
            stored.fields().iter().map(|f| (f.name().as_str(), f.data_type())).collect();
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        assert_eq!(
            found,
            [
                ("p", &DataType::LargeUtf8),
                ("a", &DataType::LargeUtf8),
                ("t", &micros),
                ("z", &DataType::Int64)
            ]
        );
        let bytes = encode_common_metadata(&stored).unwrap();
        assert_eq!(decode_common_metadata(&bytes).unwrap().fields(), plain(&stored).fields());
    }

    #[test]
    fn mismatches_name_the_column() {
        let current = schema(&[("a", DataType::Int64), ("n", DataType::Null)]);
        let filled = schema(&[("a", DataType::Null), ("n", DataType::Boolean)]);
        let merged = merge(&current, &filled, &[]).unwrap();
        assert_eq!(merged.field(1).data_type(), &DataType::Boolean);
        for wrong in [
            schema(&[("a", DataType::Float64), ("n", DataType::Null)]),
            schema(&[("n", DataType::Null)]),
            schema(&[("a", DataType::Int64), ("n", DataType::Null), ("x", DataType::Int64)]),
        ] {
            let error = merge(&current, &wrong, &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
            assert!(error.to_string().contains("column: "), "{error}");
        }
    }
}
