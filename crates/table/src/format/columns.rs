//! What snapshots record of a column beside its stored type: id, comment, and the given field.
//!
//! A column gets its id when it is made and keeps it through renames. The given field is that of the
//! data, where it differs from what plateau makes of it; scans return it. All stand in the metadata
//! of the fields of snapshots; data files carry the ids as Parquet field ids. `_common_metadata` has
//! none of them, so that it stays as plateau writes it.

use arrow::datatypes::{Field, FieldRef, Schema};
use hashbrown::HashSet;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY as ID;

use super::ipc::{decode_schema, encode_schema};

/// The entry of a stored field's metadata that holds the comment.
const COMMENT: &str = "partita.comment";

/// The entry of a stored field's metadata that holds the given field, as a schema of one column.
const GIVEN: &str = "partita.field";

/// The largest id that is believed; no table has had as many columns.
const LARGEST_ID: i32 = 1 << 30;

/// The id of a stored column.
#[must_use]
pub fn id_of(field: &Field) -> Option<i32> {
    let id = field.metadata().get(ID)?.parse().ok()?;
    (1..=LARGEST_ID).contains(&id).then_some(id)
}

/// The stored column with this id.
#[must_use]
pub fn with_id(field: &Field, id: i32) -> Field {
    with_entry(field, ID, Some(id.to_string()))
}

/// The stored schema with an id for every column, and the largest id given so far; `last` is the one
/// before. Columns without an id, or with one that another column has, get the next ones in order.
#[must_use]
pub fn with_ids(stored: &Schema, last: i32) -> (Schema, i32) {
    let mut seen = HashSet::new();
    let ids: Vec<Option<i32>> =
        stored.fields().iter().map(|field| id_of(field).filter(|id| seen.insert(*id))).collect();
    let mut last = seen.into_iter().fold(last.clamp(0, LARGEST_ID), i32::max);
    let fields = stored.fields().iter().zip(ids).map(|(field, id)| match id {
        Some(_) => field.as_ref().clone(),
        None => {
            last = last.saturating_add(1);
            with_id(field, last)
        }
    });
    let fields: Vec<Field> = fields.collect();
    (Schema::new(fields), last)
}

/// The name of the column that has the id.
#[must_use]
pub fn named(stored: &Schema, id: i32) -> Option<&str> {
    let found = stored.fields().iter().find(|field| id_of(field) == Some(id))?;
    Some(found.name().as_str())
}

/// The comment on a stored column.
#[must_use]
pub fn comment_of(field: &Field) -> Option<&str> {
    field.metadata().get(COMMENT).map(String::as_str)
}

/// The stored column with this comment.
#[must_use]
pub fn with_comment(field: &Field, comment: Option<&str>) -> Field {
    with_entry(field, COMMENT, comment.map(str::to_owned))
}

/// The given field of a stored column; `None` if scans return the table type.
#[must_use]
pub fn given_of(stored: &Field) -> Option<Field> {
    let schema = decode_schema(stored.metadata().get(GIVEN)?).ok()?;
    let given = schema.fields().first()?.as_ref().clone();
    Some(given.with_name(stored.name()))
}

/// The stored column with this given field.
#[must_use]
pub fn with_given(stored: &Field, given: Option<&Field>) -> Field {
    // The name is that of the stored field, whatever that becomes.
    let alone = |given: &Field| Schema::new(vec![given.clone().with_name("")]);
    with_entry(stored, GIVEN, given.and_then(|given| encode_schema(&alone(given)).ok()))
}

/// The stored schema without ids, comments and given fields: what `_common_metadata` holds.
#[must_use]
pub fn plain(stored: &Schema) -> Schema {
    let plain = |field: &FieldRef| {
        [COMMENT, ID, GIVEN].iter().fold(field.as_ref().clone(), |field, key| without(&field, key))
    };
    Schema::new(stored.fields().iter().map(plain).collect::<Vec<_>>())
}

/// The field without the id that readers of Parquet put into it.
#[must_use]
pub fn without_id(field: &Field) -> Field {
    without(field, ID)
}

fn without(field: &Field, key: &str) -> Field {
    with_entry(field, key, None)
}

fn with_entry(field: &Field, key: &str, value: Option<String>) -> Field {
    let mut metadata = field.metadata().clone();
    match value {
        Some(value) => drop(metadata.insert(key.to_owned(), value)),
        None => drop(metadata.remove(key)),
    }
    field.clone().with_metadata(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;

    fn schema(ids: &[(&str, &str)]) -> Schema {
        let field = |(name, id): &(&str, &str)| {
            let field = Field::new(*name, DataType::Int64, true);
            with_entry(&field, ID, (!id.is_empty()).then(|| (*id).to_owned()))
        };
        Schema::new(ids.iter().map(field).collect::<Vec<_>>())
    }

    fn ids(schema: &Schema) -> Vec<Option<i32>> {
        schema.fields().iter().map(|field| id_of(field)).collect()
    }

    #[test]
    fn every_column_has_an_id_of_its_own() {
        for (given, last, expected, largest) in [
            (["", "", ""], 0, [1, 2, 3], 3),
            (["3", "", "1"], 0, [3, 4, 1], 4),
            (["3", "", "1"], 9, [3, 10, 1], 10),
            (["2", "2", "x"], 0, [2, 3, 4], 4),
            (["-1", "0", "2147483647"], 0, [1, 2, 3], 3),
        ] {
            let given = schema(&[("a", given[0]), ("b", given[1]), ("c", given[2])]);
            let (numbered, found) = with_ids(&given, last);
            assert_eq!(ids(&numbered), expected.map(Some));
            assert_eq!(found, largest);
            assert_eq!(with_ids(&numbered, found), (numbered.clone(), found));
            assert_eq!(plain(&numbered), plain(&given));
        }
    }
}
