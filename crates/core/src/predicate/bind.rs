//! Checking predicates against a schema.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Schema};

use super::condition::Condition;
use super::family::leaf;
use super::kernel::Question;
use super::nearest::advice;
use super::path::resolve;
use super::value::Value;
use super::{CompareOp, Literal, Predicate};
use crate::convert::item;
use crate::{Error, ErrorKind, Result, type_name};

/// The maximum depth of a predicate, so that its evaluation stays within a thread's stack.
const MAX_DEPTH: usize = 500;

/// A predicate whose columns and types have been checked against a schema.
#[derive(Debug)]
pub struct BoundPredicate {
    predicate: Predicate,
    columns: BTreeSet<String>,
    pub(crate) node: Node,
}

/// The predicate with its conditions translated to the columns' types, and without the special
/// meaning of null literals.
#[derive(Debug)]
pub(crate) enum Node {
    Always(bool),
    Condition(Box<Condition>),
    IsNull(String),
    /// A list has an item for which the condition holds.
    Contains(Box<Condition>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

impl Predicate {
    /// Checks the predicate against a schema, once for all batches.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) if a column is not in the schema (the
    /// nearest name or all names are given) or a literal does not fit the type of its column (both
    /// are named).
    pub fn bind(&self, schema: &Schema) -> Result<BoundPredicate> {
        let node = bind(self, schema, 0)?;
        let columns = self.columns();
        let columns = columns.iter().filter_map(|name| resolve(name, schema));
        let columns = columns.map(|(column, _)| column.to_owned()).collect();
        Ok(BoundPredicate { predicate: self.clone(), columns, node })
    }
}

impl BoundPredicate {
    /// The predicate that was bound.
    #[must_use]
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// The names of the columns that the predicate uses.
    #[must_use]
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }
}

fn bind(predicate: &Predicate, schema: &Schema, depth: usize) -> Result<Node> {
    if depth > MAX_DEPTH {
        let message = format!("the predicate is nested deeper than {MAX_DEPTH} levels");
        return Err(Error::new(ErrorKind::InvalidPredicate, message));
    }
    let all = |parts: &[Predicate]| -> Result<Vec<Node>> {
        parts.iter().map(|part| bind(part, schema, depth + 1)).collect()
    };
    Ok(match predicate {
        Predicate::Always(value) => Node::Always(*value),
        Predicate::And(parts) => Node::And(all(parts)?),
        Predicate::Or(parts) => Node::Or(all(parts)?),
        Predicate::Not(inner) => Node::Not(Box::new(bind(inner, schema, depth + 1)?)),
        Predicate::IsNull { column, negated } => {
            type_of(column, schema)?;
            negated_if(*negated, Node::IsNull(column.clone()))
        }
        Predicate::Compare { column, op, value } => {
            let data_type = type_of(column, schema)?;
            match (op, value) {
                (CompareOp::Eq, Literal::Null) => Node::IsNull(column.clone()),
                (CompareOp::Ne, Literal::Null) => negated_if(true, Node::IsNull(column.clone())),
                (_, Literal::Null) => {
                    let message = format!(
                        "null has no order, so `{}` cannot be used with it; write is null or is not null",
                        op.symbol()
                    );
                    return Err(
                        Error::new(ErrorKind::InvalidPredicate, message).with("column", column)
                    );
                }
                _ => {
                    let value = fitting(column, value, data_type)?;
                    condition(column, Question::Compare(*op, value), data_type)?
                }
            }
        }
        Predicate::Contains { column, value } => contains(column, value, type_of(column, schema)?)?,
        Predicate::In { column, values, negated } => {
            negated_if(*negated, is_in(column, values, type_of(column, schema)?)?)
        }
    })
}

fn is_in(column: &str, values: &[Literal], data_type: &DataType) -> Result<Node> {
    let some: Result<Vec<Value>> = values
        .iter()
        .filter(|value| **value != Literal::Null)
        .map(|value| fitting(column, value, data_type))
        .collect();
    let some = some?;
    if some.len() == values.len() {
        return condition(column, Question::In(some), data_type);
    }
    let known = condition(column, Question::In(some), data_type)?;
    Ok(Node::Or(vec![Node::IsNull(column.to_owned()), known]))
}

fn contains(column: &str, value: &Literal, data_type: &DataType) -> Result<Node> {
    let refused = |message: &str| {
        Error::new(ErrorKind::InvalidPredicate, message.to_owned())
            .with("column", column)
            .with("type", type_name(data_type))
            .with("value", value)
    };
    let Some(item) = item(data_type) else {
        return Err(refused("only a column of lists can be asked for an item"));
    };
    if *value == Literal::Null {
        return Err(refused("null is no value that a list can be asked for"));
    }
    let item = leaf(item.data_type());
    match condition(column, Question::In(vec![fitting(column, value, item)?]), item)? {
        Node::Condition(condition) => Ok(Node::Contains(condition)),
        other => Ok(other),
    }
}

fn negated_if(negated: bool, node: Node) -> Node {
    if negated { Node::Not(Box::new(node)) } else { node }
}

fn type_of<'a>(column: &'a str, schema: &'a Schema) -> Result<&'a DataType> {
    match resolve(column, schema) {
        Some((_, data_type)) => Ok(leaf(data_type)),
        None => {
            let message = format!(
                "the predicate names a column that does not exist; {}",
                advice(column, schema)
            );
            Err(Error::new(ErrorKind::InvalidPredicate, message).with("column", column))
        }
    }
}

fn fitting(column: &str, value: &Literal, data_type: &DataType) -> Result<Value> {
    Value::new(value, data_type).map_err(|reason| {
        let message = format!("a value of the predicate does not fit its column: {reason}");
        Error::new(ErrorKind::InvalidPredicate, message)
            .with("column", column)
            .with("type", type_name(data_type))
            .with("value", value)
    })
}

fn condition(column: &str, question: Question, data_type: &DataType) -> Result<Node> {
    let condition = Condition::new(column, question, data_type).ok_or_else(|| {
        Error::new(ErrorKind::InvalidPredicate, "values of this type cannot be compared")
            .with("column", column)
            .with("type", type_name(data_type))
    })?;
    Ok(Node::Condition(Box::new(condition)))
}
