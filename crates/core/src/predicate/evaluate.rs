//! Evaluation of predicates on rows.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, cast, is_null, not, or_kleene};
use arrow::datatypes::DataType;

use super::BoundPredicate;
use super::bind::Node;
use super::condition::Condition;
use super::path::reach;
use crate::convert::item;
use crate::{Error, ErrorKind, Result, type_name};

impl BoundPredicate {
    /// The result for each row: true, false, or null if it depends on a null value. Rows with null
    /// do not match; `arrow::compute::filter` drops them.
    ///
    /// Columns are found by name, and may have any type with the same meaning as the type that was
    /// bound: other widths, units, layouts, dictionaries.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if the batch lacks a column or has it in a
    /// type that cannot be compared with the literals.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        evaluate(&self.node, batch)
    }
}

fn evaluate(node: &Node, batch: &RecordBatch) -> Result<BooleanArray> {
    match node {
        Node::Always(answer) => Ok(constant(*answer, batch.num_rows())),
        Node::Condition(condition) => condition.test(column(batch, condition.column())?.as_ref()),
        Node::Contains(condition) => {
            contains(condition, column(batch, condition.column())?.as_ref())
        }
        Node::IsNull(name) => Ok(is_null(column(batch, name)?.as_ref())?),
        Node::Not(inner) => Ok(not(&evaluate(inner, batch)?)?),
        Node::And(parts) => {
            let mut all = constant(true, batch.num_rows());
            for (number, part) in parts.iter().enumerate() {
                let answers = evaluate(part, batch)?;
                all = if number == 0 { answers } else { and_kleene(&all, &answers)? };
                if is_all(&all, false) {
                    break;
                }
            }
            Ok(all)
        }
        Node::Or(parts) => {
            let mut any = constant(false, batch.num_rows());
            for (number, part) in parts.iter().enumerate() {
                let answers = evaluate(part, batch)?;
                any = if number == 0 { answers } else { or_kleene(&any, &answers)? };
                if is_all(&any, true) {
                    break;
                }
            }
            Ok(any)
        }
    }
}

/// Whether each list has an item for which the condition holds; null for lists that are null.
fn contains(condition: &Condition, lists: &ArrayRef) -> Result<BooleanArray> {
    let item = item(lists.data_type()).cloned().ok_or_else(|| {
        Error::new(ErrorKind::SchemaMismatch, "the data have no lists in a column of the predicate")
            .with("column", condition.column())
            .with("found", type_name(lists.data_type()))
    })?;
    let lists = cast(lists, &DataType::LargeList(item))?;
    let lists = lists.as_list::<i64>();
    let answers = condition.test(lists.values())?;
    let place = |offset: i64| usize::try_from(offset).unwrap_or(0);
    let found = lists.offsets().windows(2).enumerate().map(|(row, ends)| {
        let items = place(ends.first().copied()?)..place(ends.last().copied()?);
        let has = items.into_iter().any(|item| answers.is_valid(item) && answers.value(item));
        lists.is_valid(row).then_some(has)
    });
    Ok(found.collect())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<Cow<'a, ArrayRef>> {
    reach(name, batch)?.ok_or_else(|| {
        Error::new(ErrorKind::SchemaMismatch, "the data lack a column of the predicate")
            .with("column", name)
    })
}

fn constant(answer: bool, rows: usize) -> BooleanArray {
    let values = if answer { BooleanBuffer::new_set(rows) } else { BooleanBuffer::new_unset(rows) };
    BooleanArray::new(values, None)
}

/// True if every result is `answer`, so that evaluation can stop.
fn is_all(answers: &BooleanArray, answer: bool) -> bool {
    let other = if answer { answers.values().has_false() } else { answers.values().has_true() };
    answers.null_count() == 0 && !other
}
