//! Changes of the schema: columns added, widened, renamed, dropped, put in another order, commented.

mod history;
mod table;

pub use history::SchemaVersion;

use arrow::datatypes::{DataType, Field, Schema};
use partita_core::{Error, ErrorKind, Result, type_name};

use crate::change::Layout;
use crate::format::columns::{with_comment, with_id};
use crate::format::given::{given_field, nullable, retyped, retyping, stored_schema};
use crate::format::pandas::extension_types;
use crate::format::schema::in_stored_order;
use crate::format::widen::Widening;
use crate::stage::no_such_column;

/// A change of the schema, applied to whatever it is by then.
#[derive(Debug, Clone)]
pub(crate) enum Alteration {
    /// Columns that hold nulls in the files written before.
    Add(Schema),
    /// A column and the wider type that it takes.
    Widen(String, DataType),
    /// A column and its new name.
    Rename(String, String),
    /// A column that goes.
    Drop(String),
    /// The columns that come first, in this order.
    Reorder(Vec<String>),
    /// A column and the comment on it.
    Comment(String, Option<String>),
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
            Self::Widen(column, to) => format!("widen {column} to {}", type_name(to)),
            Self::Rename(from, to) => format!("rename {from} to {to}"),
            Self::Drop(column) => format!("drop {column}"),
            Self::Reorder(columns) => format!("reorder {}", columns.join(", ")),
            Self::Comment(column, None) => format!("remove the comment on {column}"),
            Self::Comment(column, Some(text)) => format!("comment on {column}: {text}"),
        }
    }

    /// True if the layout is so already.
    pub fn is_idle(&self, layout: &Layout) -> bool {
        let mut after = layout.clone();
        match self {
            Self::Widen(_, _) | Self::Reorder(_) | Self::Comment(_, _) => {
                self.apply(&mut after).is_ok()
                    && (after.schema == layout.schema && after.columns == layout.columns)
            }
            _ => false,
        }
    }

    /// The column whose files must be written again.
    pub fn rewrites(&self, layout: &Layout) -> Option<&str> {
        match self {
            Self::Rename(column, _) | Self::Drop(column) => Some(column),
            Self::Widen(column, to) => {
                let field = layout.schema.field_with_name(column).ok()?;
                (retyping(field, to) == Some(Widening::Rewritten)).then_some(column)
            }
            _ => None,
        }
    }

    /// Changes the layout.
    pub fn apply(&self, layout: &mut Layout) -> Result<()> {
        match self {
            Self::Add(columns) => add(layout, columns),
            Self::Widen(column, to) => widen(layout, column, to),
            Self::Rename(from, to) => rename(layout, from, to),
            Self::Drop(column) => drop_column(layout, column),
            Self::Reorder(first) => reorder(layout, first),
            Self::Comment(column, text) => {
                let comment = |field: &Field| with_comment(field, text.as_deref());
                replace(layout, column, comment)
            }
        }
    }
}

/// The field of a column in a layout.
fn field_of<'a>(layout: &'a Layout, column: &str) -> Result<&'a Field> {
    layout.schema.field_with_name(column).map_err(|_| no_such_column(column))
}

/// Puts another field in the place of that of a column.
fn replace(layout: &mut Layout, column: &str, other: impl Fn(&Field) -> Field) -> Result<()> {
    field_of(layout, column)?;
    let fields = layout.schema.fields().iter().map(|field| match field.name() == column {
        true => other(field),
        false => field.as_ref().clone(),
    });
    layout.schema = in_stored_order(fields.collect(), &layout.partition_by);
    Ok(())
}

fn add(layout: &mut Layout, columns: &Schema) -> Result<()> {
    let mut fields: Vec<Field> =
        layout.schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let added = stored_schema(&nullable(columns), &[])?;
    for field in added.fields() {
        check_free(layout, field.name())?;
        layout.last_column_id += 1;
        fields.push(with_id(field, layout.last_column_id));
    }
    layout.schema = in_stored_order(fields, &layout.partition_by);
    layout.columns.extend(columns.fields().iter().map(|field| field.name().clone()));
    layout.extensions.extend(extension_types(columns));
    Ok(())
}

/// Refuses a name that a column has already, and one that cannot be asked for.
fn check_free(layout: &Layout, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid("a column has no name, and could not be asked for"));
    }
    if layout.schema.field_with_name(name).is_ok() {
        return Err(Error::new(ErrorKind::AlreadyExists, "the table has a column of this name")
            .with("column", name));
    }
    Ok(())
}

fn widen(layout: &mut Layout, column: &str, wider: &DataType) -> Result<()> {
    let field = field_of(layout, column)?;
    let present = given_field(field);
    let next = retyped(field, wider);
    if next == *field {
        return Ok(());
    }
    if retyping(field, wider).is_none() {
        return Err(Error::new(
            ErrorKind::SchemaMismatch,
            "the type holds less than the present one",
        )
        .with("column", column)
        .with("expected", format!("a type wider than {}", type_name(present.data_type())))
        .with("found", type_name(wider)));
    }
    if layout.partition_by.iter().chain(&layout.index).any(|name| name == column) {
        return Err(Error::invalid("a partition column or one with an index keeps its type")
            .with("column", column));
    }
    if layout.derived.bucket.as_ref().is_some_and(|bucket| bucket.column == column) {
        return Err(Error::invalid("a column whose buckets partition keeps its type")
            .with("column", column));
    }
    replace(layout, column, |_| next.clone())
}

fn rename(layout: &mut Layout, from: &str, to: &str) -> Result<()> {
    check_apart(layout, from)?;
    check_free(layout, to)?;
    replace(layout, from, |field| field.clone().with_name(to))?;
    let lists = [&mut layout.columns, &mut layout.index, &mut layout.bloom_filters];
    for name in lists.into_iter().flatten().filter(|name| *name == from) {
        to.clone_into(name);
    }
    if let Some(extension) = layout.extensions.remove(from) {
        layout.extensions.insert(to.to_owned(), extension);
    }
    Ok(())
}

fn drop_column(layout: &mut Layout, column: &str) -> Result<()> {
    check_apart(layout, column)?;
    if layout.schema.fields().len() == layout.partition_by.len() + 1 {
        return Err(Error::invalid(
            "this is the only column besides the partition columns; drop the table instead",
        )
        .with("column", column));
    }
    let fields = layout.schema.fields().iter().filter(|field| field.name() != column);
    layout.schema = Schema::new(fields.cloned().collect::<Vec<_>>());
    for list in [&mut layout.columns, &mut layout.index, &mut layout.bloom_filters] {
        list.retain(|name| name != column);
    }
    layout.extensions.remove(column);
    Ok(())
}

/// Refuses a column that does not exist, or that stands in the keys of all files.
fn check_apart(layout: &Layout, column: &str) -> Result<()> {
    field_of(layout, column)?;
    let partitions = layout.partition_by.iter().any(|name| name == column);
    let date = layout.derived.date.as_ref().map(|date| &date.column);
    let bucket = layout.derived.bucket.as_ref().map(|bucket| &bucket.column);
    if partitions || [date, bucket].into_iter().flatten().any(|source| source == column) {
        return Err(Error::invalid(
            "a partition column, or one that partition columns are derived from, can be neither \
             renamed nor dropped; write the rows to a new table",
        )
        .with("column", column));
    }
    Ok(())
}

fn reorder(layout: &mut Layout, first: &[String]) -> Result<()> {
    let mut order: Vec<String> = Vec::with_capacity(layout.columns.len());
    for name in first {
        field_of(layout, name)?;
        if order.contains(name) {
            return Err(Error::invalid("a column is named twice").with("column", name));
        }
        order.push(name.clone());
    }
    let others = layout.columns.iter().filter(|name| !first.contains(name)).cloned();
    let others: Vec<String> = others.collect();
    order.extend(others);
    layout.columns = order;
    Ok(())
}
