//! Changes of the schema that need no file to be written again.

use arrow::datatypes::{DataType, Field, Schema};
use partita_core::{Error, ErrorKind, Result};

use crate::Table;
use crate::change::Change;
use crate::commit::Commit;
use crate::format::schema::{stored_schema, table_type};
use crate::format::snapshot::Operation;
use crate::options::WriteOptions;
use crate::stage::Derivations;

/// A change of the stored schema, applied to whatever it is by then.
#[derive(Debug, Clone)]
pub(crate) enum Alteration {
    /// Columns that hold nulls in the files written before.
    Add(Schema),
    /// A column and the wider type that it takes.
    Widen(String, DataType),
}

impl Alteration {
    /// A description of the alteration that is the same on each retry.
    pub fn purpose(&self) -> String {
        match self {
            Self::Add(columns) => {
                let names: Vec<&str> =
                    columns.fields().iter().map(|field| field.name().as_str()).collect();
                format!("add {}", names.join(", "))
            }
            Self::Widen(column, to) => format!("widen {column} to {to}"),
        }
    }

    /// The schema afterwards: partition columns first, the others by name.
    pub fn apply(&self, stored: &Schema, partition_by: &[String]) -> Result<Schema> {
        match self {
            Self::Add(columns) => {
                let mut fields: Vec<Field> =
                    stored.fields().iter().map(|field| field.as_ref().clone()).collect();
                for field in columns.fields() {
                    if stored.field_with_name(field.name()).is_ok() {
                        return Err(Error::new(
                            ErrorKind::AlreadyExists,
                            "the table has a column of this name",
                        )
                        .with("column", field.name()));
                    }
                    fields.push(field.as_ref().clone());
                }
                let metadata = columns.metadata().clone();
                stored_schema(&Schema::new_with_metadata(fields, metadata), partition_by)
                    .map(|schema| keep_types(&schema, stored))
            }
            Self::Widen(column, wider) => {
                let field = stored.field_with_name(column).map_err(|_| {
                    Error::new(ErrorKind::NotFound, "the table has no such column")
                        .with("column", column)
                })?;
                if !widens(field.data_type(), wider) {
                    return Err(Error::new(
                        ErrorKind::SchemaMismatch,
                        "the type holds less than the present one",
                    )
                    .with("column", column)
                    .with("expected", format!("a type wider than {}", field.data_type()))
                    .with("found", wider));
                }
                let fields = stored.fields().iter().map(|field| match field.name() == column {
                    true => field.as_ref().clone().with_data_type(wider.clone()),
                    false => field.as_ref().clone(),
                });
                Ok(Schema::new(fields.collect::<Vec<_>>()))
            }
        }
    }

    /// Refuses a wider type for a column whose values, as they were written, say which bucket they
    /// are in.
    pub fn check(&self, derived: Option<&Derivations>) -> Result<()> {
        let bucket = derived.and_then(|derived| derived.bucket.as_ref());
        match (self, bucket) {
            (Self::Widen(column, _), Some(bucket)) if *column == bucket.column => {
                Err(Error::invalid("a column whose buckets partition keeps its type")
                    .with("column", column))
            }
            _ => Ok(()),
        }
    }

    /// The columns it adds.
    pub fn added(&self) -> impl Iterator<Item = &str> {
        let fields = match self {
            Self::Add(columns) => Some(columns.fields().iter()),
            Self::Widen(_, _) => None,
        };
        fields.into_iter().flatten().map(|field| field.name().as_str())
    }
}

/// The columns of `before` with the types they had, which normalisation must not touch again.
fn keep_types(after: &Schema, before: &Schema) -> Schema {
    let fields = after.fields().iter().map(|field| {
        before.field_with_name(field.name()).cloned().unwrap_or_else(|_| field.as_ref().clone())
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// True if every value of `from` has an equal one in `to` (integers in doubles: up to 2^53).
fn widens(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Null, _) => true,
        (DataType::Int64 | DataType::UInt64, DataType::Float64) => true,
        (DataType::Decimal128(p, s), DataType::Decimal128(wider_p, wider_s)) => {
            let whole = |p: &u8, s: &i8| i16::from(*p) - i16::from(*s);
            (p, s) != (wider_p, wider_s) && wider_s >= s && whole(wider_p, wider_s) >= whole(p, s)
        }
        _ => false,
    }
}

impl Table {
    /// Adds columns in one commit. In files written before they are null; no file is written
    /// again. The types are stored as those of appended data are.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) for a name that the table has; else as
    /// [`Table::append`].
    pub async fn add_columns(&self, columns: Schema, options: &WriteOptions) -> Result<Commit> {
        if columns.fields().is_empty() {
            return Err(Error::invalid("there is no column to add"));
        }
        self.alter(Alteration::Add(columns), options).await
    }

    /// Gives a column a wider type in one commit: integers become doubles, decimals get more
    /// digits, columns that held only nulls take any type. No file is written again.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if the type is not wider;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a partition column or one with an
    /// index; [`NotFound`](ErrorKind::NotFound) for a column that the table has not; else as
    /// [`Table::append`].
    pub async fn widen_column(
        &self,
        column: &str,
        to: &DataType,
        options: &WriteOptions,
    ) -> Result<Commit> {
        if self.partition_by().iter().chain(&self.index_columns()).any(|name| name == column) {
            return Err(Error::invalid("a partition column or one with an index keeps its type")
                .with("column", column));
        }
        self.alter(Alteration::Widen(column.to_owned(), table_type(to)), options).await
    }

    async fn alter(&self, alteration: Alteration, options: &WriteOptions) -> Result<Commit> {
        let state = self.state();
        alteration.check(Some(&state.own.derived))?;
        alteration.apply(&state.stored, &state.partition_by)?;
        let mut change = Change::new(Operation::Alter);
        change.alteration = Some(alteration);
        change = change.with(options);
        self.commit_proposed(&change, &options.cancel).await
    }
}
