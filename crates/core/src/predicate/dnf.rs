//! Predicates as lists: `[[("city", "==", "Oslo"), ("fare", ">", 10)]]`.

use super::{CompareOp, Literal, Predicate};
use crate::{Error, ErrorKind, Result};

/// The value of one term of a list of conjunctions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnfValue {
    /// One value, for comparisons.
    One(Literal),
    /// Several values, for `in` and `not in`.
    List(Vec<Literal>),
}

impl<T: Into<Literal>> From<T> for DnfValue {
    fn from(value: T) -> Self {
        Self::One(value.into())
    }
}

impl Predicate {
    /// Builds the predicate of a disjunction of conjunctions of (column, operator, value): a row
    /// matches if it meets every term of at least one of the inner lists.
    ///
    /// Operators are `==`, `=`, `!=`, `<>`, `<`, `<=`, `>`, `>=`, `in` and `not in`. `==` and `!=`
    /// with null become `is null` and `is not null`.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate), naming the term, if there is no
    /// conjunction, a conjunction has no term, an operator is unknown, or a value does not fit its
    /// operator.
    pub fn from_dnf(terms: Vec<Vec<(String, String, DnfValue)>>) -> Result<Self> {
        if terms.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidPredicate,
                "the list of conjunctions is empty; leave the predicate out to select every row",
            ));
        }
        let mut any = Vec::with_capacity(terms.len());
        for (number, conjunction) in terms.into_iter().enumerate() {
            if conjunction.is_empty() {
                let message =
                    "a conjunction is empty; write at least one (column, operator, value)";
                return Err(
                    Error::new(ErrorKind::InvalidPredicate, message).with("conjunction", number)
                );
            }
            let mut all = Vec::with_capacity(conjunction.len());
            for (index, (column, op, value)) in conjunction.into_iter().enumerate() {
                let term = term(column.clone(), &op, value).map_err(|message| {
                    Error::new(ErrorKind::InvalidPredicate, message)
                        .with("column", column)
                        .with("operator", op)
                        .with("conjunction", number)
                        .with("term", index)
                })?;
                all.push(term);
            }
            any.push(one_or(all, Predicate::And));
        }
        Ok(one_or(any, Predicate::Or))
    }
}

fn one_or(mut parts: Vec<Predicate>, join: fn(Vec<Predicate>) -> Predicate) -> Predicate {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            join(parts)
        }
    }
}

fn term(column: String, op: &str, value: DnfValue) -> std::result::Result<Predicate, String> {
    let op = op.trim().to_ascii_lowercase();
    let op = match op.as_str() {
        "==" | "=" => CompareOp::Eq,
        "!=" | "<>" => CompareOp::Ne,
        "<" => CompareOp::Lt,
        "<=" => CompareOp::Le,
        ">" => CompareOp::Gt,
        ">=" => CompareOp::Ge,
        "in" | "not in" => {
            let DnfValue::List(values) = value else {
                return Err(format!("`{op}` needs a list of values"));
            };
            return Ok(Predicate::In { column, values, negated: op == "not in" });
        }
        _ => {
            return Err("unknown operator; use ==, !=, <, <=, >, >=, in or not in".to_owned());
        }
    };
    match (op, value) {
        (_, DnfValue::List(_)) => {
            Err(format!("`{}` needs one value; use `in` for a list", op.symbol()))
        }
        (CompareOp::Eq, DnfValue::One(Literal::Null)) => {
            Ok(Predicate::IsNull { column, negated: false })
        }
        (CompareOp::Ne, DnfValue::One(Literal::Null)) => {
            Ok(Predicate::IsNull { column, negated: true })
        }
        (_, DnfValue::One(Literal::Null)) => {
            Err(format!("null has no order; `{}` cannot be used with it", op.symbol()))
        }
        (_, DnfValue::One(value)) => Ok(Predicate::Compare { column, op, value }),
    }
}
