//! Whether staged files fit the table as it is by now, and what its schema is with them.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use partita_core::{Error, ErrorKind, Result, Store, type_name};

use super::layout::Layout;
use crate::format::categories::reordered;
use crate::format::columns::{given_of, id_of, named, with_given};
use crate::format::footer::ParquetObject;
use crate::format::given::{given_field, holds_all, settled, taking_nulls, widened};
use crate::format::manifest::Manifest;
use crate::format::schema::{in_stored_order, missing, put, same, surplus};
use crate::format::widen::{EXACT, Widening, common_stored, widening};
use crate::stage::{Columns, Staged};

impl Layout {
    /// Adds staged files: columns that were null so far take their type, and where the files may
    /// bring new columns or wider types, the table takes them.
    pub(super) fn admit(&mut self, staged: &Staged) -> Result<()> {
        self.check_ids(staged)?;
        for field in self.schema.fields() {
            if staged.columns_are == Columns::All && staged.schema.index_of(field.name()).is_err() {
                return Err(missing(field.name()));
            }
        }
        let mut new: Vec<&Field> = Vec::new();
        for field in staged.schema.fields() {
            match self.schema.index_of(field.name()) {
                Ok(place) => self.admit_type(place, field, staged)?,
                Err(_) if staged.columns_are == Columns::Merged => new.push(field),
                Err(_) => return Err(surplus(field.name())),
            }
        }
        // Readers see them in the order of the data.
        new.sort_by_key(|field| staged.columns.iter().position(|name| name == field.name()));
        new.into_iter().try_for_each(|field| self.admit_new(field, staged))
    }

    /// The layout that the staged files will make, if the commit does not refuse them.
    pub fn foresee(&mut self, staged: &Staged) {
        let mut next = self.clone();
        if next.admit(staged).is_ok() {
            *self = next;
        }
    }

    /// Whether columns that the staged files add would have ids that others have taken since.
    pub fn ids_are_taken(&self, staged: &Staged) -> bool {
        staged.schema.fields().iter().any(|field| {
            let Some(id) = id_of(field).filter(|id| *id > staged.last_column_id) else {
                return false;
            };
            match self.schema.field_with_name(field.name()) {
                Ok(known) => id_of(known) != Some(id),
                Err(_) => id <= self.last_column_id,
            }
        })
    }

    /// Refuses files of columns that were renamed or dropped since they were staged.
    fn check_ids(&self, staged: &Staged) -> Result<()> {
        for field in staged.schema.fields() {
            let Some(id) = id_of(field).filter(|id| *id <= staged.last_column_id) else { continue };
            let name = field.name();
            let changed = |how: String| {
                let message = format!("since the data were staged the column was {how}");
                Error::new(ErrorKind::SchemaMismatch, message).with("column", name)
            };
            match (self.schema.field_with_name(name), named(&self.schema, id)) {
                (_, Some(now)) if now == name => {}
                (_, Some(now)) => return Err(changed(format!("renamed to {now}"))),
                (Ok(known), None) if id_of(known).is_none() => {}
                (_, None) => return Err(changed("dropped".to_owned())),
            }
        }
        Ok(())
    }

    fn admit_new(&mut self, field: &Field, staged: &Staged) -> Result<()> {
        let taken = self.schema.fields().iter().any(|known| id_of(known) == id_of(field));
        let id = id_of(field).filter(|_| !taken).ok_or_else(|| {
            Error::new(ErrorKind::CommitConflict, "other writers have added columns; try again")
                .with("column", field.name())
        })?;
        self.last_column_id = self.last_column_id.max(id);
        let mut fields: Vec<Field> =
            self.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(field.clone());
        self.schema = in_stored_order(fields, &self.partition_by);
        self.columns.push(field.name().clone());
        if let Some(extension) = staged.extensions.get(field.name()) {
            self.extensions.insert(field.name().clone(), extension.clone());
        }
        Ok(())
    }

    fn admit_type(&mut self, place: usize, field: &Field, staged: &Staged) -> Result<()> {
        let mut known = self.schema.field(place).clone();
        if given_field(field).is_nullable() && !given_field(&known).is_nullable() {
            known = taking_nulls(&known);
            put(&mut self.schema, place, &known);
        }
        let name = field.name();
        let nulls = staged.manifest.total_nulls(name);
        // Files of nulls alone leave it open which categories an ordered column has.
        if nulls < staged.manifest.total_rows()
            && let Some(given) = given_of(&known)
            && let Some(next) = reordered(&given, given_of(field).as_ref())
        {
            known = with_given(&known, Some(&next));
            put(&mut self.schema, place, &known);
        }
        if let Some(settled) = settled(&known, field) {
            put(&mut self.schema, place, &settled);
            return Ok(());
        }
        let (was, found) = (known.data_type(), field.data_type());
        if *found == DataType::Null {
            return Ok(());
        }
        let reads = widening(found, was).is_some_and(|takes| takes < Widening::Rewritten);
        let same = same(was, found);
        let given = [given_field(&known), given_field(field)];
        let [expected, is] = given.each_ref().map(Field::data_type);
        if reads || same && holds_all(is, expected) {
            return Ok(());
        }
        let wider = match same {
            true => Some(was.clone()),
            false => common_stored(was, found).filter(|wider| {
                widening(was, wider).is_some_and(|takes| takes < Widening::Rewritten)
            }),
        };
        let merges = staged.columns_are == Columns::Merged && !self.keeps_type(name);
        let Some(wider) = wider.filter(|_| merges) else {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                "the data has another type than the table's column",
            )
            .with("column", field.name())
            .with("expected", type_name(expected))
            .with("found", type_name(is)));
        };
        put(&mut self.schema, place, &widened(&known, field, &wider));
        Ok(())
    }

    /// True for a column of which keys or an index are made.
    pub fn keeps_type(&self, column: &str) -> bool {
        let bucket = self.derived.bucket.as_ref().map(|bucket| &bucket.column);
        self.partition_by.iter().chain(&self.index).chain(bucket).any(|name| name == column)
    }
}

/// The columns that are doubles in a table, and integers in what was written before.
pub(super) fn made_doubles(before: &Schema, after: &Schema) -> Vec<String> {
    let made = before.fields().iter().filter(|field| {
        let now = after.field_with_name(field.name()).ok();
        let takes = now.and_then(|now| widening(field.data_type(), now.data_type()));
        takes == Some(Widening::IfExact)
    });
    made.map(|field| field.name().clone()).collect()
}

/// Refuses integers that are rounded where they are read as doubles. Two requests for each file of
/// which the bounds are not known.
pub(super) async fn check_exact(store: &Store, column: &str, manifest: &Manifest) -> Result<()> {
    let doubles = |bound: Option<&ArrayRef>| {
        let values = cast(bound?, &DataType::Float64).ok()?;
        Some(values.as_primitive_opt::<Float64Type>()?.clone())
    };
    let bounds = [doubles(manifest.min(column)), doubles(manifest.max(column))];
    let nulls = manifest.nulls(column);
    let rows = manifest.rows();
    for (row, (key, rows)) in manifest.keys().zip(rows).enumerate() {
        let all_null = rows.is_some_and(|rows| {
            nulls.is_some_and(|nulls| nulls.is_valid(row) && nulls.value(row) == rows)
        });
        let known = bounds.iter().all(|bound| bound.as_ref().is_some_and(|b| b.is_valid(row)));
        if all_null || !known && lacks(store, key, column).await? {
            continue;
        }
        let exact = |value: f64| value.abs() < EXACT;
        if !known || !bounds.iter().flatten().all(|bound| exact(bound.value(row))) {
            return Err(Error::new(
                ErrorKind::SchemaMismatch,
                "the column holds integers that doubles would round, or whose range is not known",
            )
            .with("column", column)
            .with("key", key)
            .with("expected", "integers between -2^53 and 2^53"));
        }
    }
    Ok(())
}

/// True if a file has no such column: it was added later.
async fn lacks(store: &Store, key: &str, column: &str) -> Result<bool> {
    let mut object = ParquetObject::open(store, key, None, None).await?;
    Ok(object.metadata(false).await?.schema().index_of(column).is_err())
}
