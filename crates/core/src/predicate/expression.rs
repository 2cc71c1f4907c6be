//! The expression tree of a predicate and the functions that build it.

use std::collections::BTreeSet;
use std::ops::{BitAnd, BitOr, Not};

use super::Literal;

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// The operator as text.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }

    /// The operator with the same meaning after its operands are exchanged.
    #[must_use]
    pub fn flipped(self) -> Self {
        match self {
            Self::Eq => Self::Eq,
            Self::Ne => Self::Ne,
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
        }
    }

    /// The operator that is true exactly when this one is false, for values with an order.
    pub(crate) fn inverse(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Ge,
            Self::Le => Self::Gt,
            Self::Gt => Self::Le,
            Self::Ge => Self::Lt,
        }
    }
}

/// A boolean expression over columns. [The module](crate::predicate) defines its meaning.
///
/// Its `Display` form is the text that [`Predicate::parse`] reads back to an equal predicate
/// (except for `And` and `Or` of fewer than two parts, which are written in their simplest
/// equivalent form).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Predicate {
    /// True, or false, for every row.
    Always(bool),
    /// `column op value`.
    Compare {
        /// Name of the column.
        column: String,
        /// The operator.
        op: CompareOp,
        /// The literal to compare with.
        value: Literal,
    },
    /// `column in (values)`; `not in` if negated.
    In {
        /// Name of the column.
        column: String,
        /// The values; may be empty.
        values: Vec<Literal>,
        /// True for `not in`.
        negated: bool,
    },
    /// `value in column`: a list has the value as an item.
    Contains {
        /// Name of the column.
        column: String,
        /// The item; not null.
        value: Literal,
    },
    /// `column is null`; `is not null` if negated.
    IsNull {
        /// Name of the column.
        column: String,
        /// True for `is not null`.
        negated: bool,
    },
    /// All of the parts; true if there are none.
    And(Vec<Predicate>),
    /// Any of the parts; false if there are none.
    Or(Vec<Predicate>),
    /// The negation; null stays null.
    Not(Box<Predicate>),
}

/// A column of an expression; created by [`col`].
#[derive(Debug, Clone)]
pub struct Column(String);

/// Begins an expression: `col("fare").gt(10) & col("city").eq("Oslo")`.
pub fn col(name: impl Into<String>) -> Column {
    Column(name.into())
}

impl Column {
    /// `column == value`.
    pub fn eq(self, value: impl Into<Literal>) -> Predicate {
        self.compare(CompareOp::Eq, value)
    }

    /// `column != value`.
    pub fn ne(self, value: impl Into<Literal>) -> Predicate {
        self.compare(CompareOp::Ne, value)
    }

    /// `column < value`.
    pub fn lt(self, value: impl Into<Literal>) -> Predicate {
        self.compare(CompareOp::Lt, value)
    }

    /// `column <= value`.
    pub fn le(self, value: impl Into<Literal>) -> Predicate {
        self.compare(CompareOp::Le, value)
    }

    /// `column > value`.
    pub fn gt(self, value: impl Into<Literal>) -> Predicate {
        self.compare(CompareOp::Gt, value)
    }

    /// `column >= value`.
    pub fn ge(self, value: impl Into<Literal>) -> Predicate {
        self.compare(CompareOp::Ge, value)
    }

    /// `column op value`.
    pub fn compare(self, op: CompareOp, value: impl Into<Literal>) -> Predicate {
        Predicate::Compare { column: self.0, op, value: value.into() }
    }

    /// `column in (values)`.
    pub fn is_in<T: Into<Literal>>(self, values: impl IntoIterator<Item = T>) -> Predicate {
        let values = values.into_iter().map(Into::into).collect();
        Predicate::In { column: self.0, values, negated: false }
    }

    /// `column not in (values)`.
    pub fn not_in<T: Into<Literal>>(self, values: impl IntoIterator<Item = T>) -> Predicate {
        let values = values.into_iter().map(Into::into).collect();
        Predicate::In { column: self.0, values, negated: true }
    }

    /// `column is null`.
    #[must_use]
    pub fn is_null(self) -> Predicate {
        Predicate::IsNull { column: self.0, negated: false }
    }

    /// `value in column`, for a column of lists.
    pub fn contains(self, value: impl Into<Literal>) -> Predicate {
        Predicate::Contains { column: self.0, value: value.into() }
    }

    /// `column is not null`.
    #[must_use]
    pub fn is_not_null(self) -> Predicate {
        Predicate::IsNull { column: self.0, negated: true }
    }
}

impl Predicate {
    /// The conjunction; parts that are conjunctions themselves are flattened.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut parts = match self {
            Self::And(parts) => parts,
            one => vec![one],
        };
        match other {
            Self::And(more) => parts.extend(more),
            one => parts.push(one),
        }
        Self::And(parts)
    }

    /// The disjunction; parts that are disjunctions themselves are flattened.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let mut parts = match self {
            Self::Or(parts) => parts,
            one => vec![one],
        };
        match other {
            Self::Or(more) => parts.extend(more),
            one => parts.push(one),
        }
        Self::Or(parts)
    }

    /// The predicate with `changed` of the column's name and the literal in the place of each literal.
    #[must_use]
    pub fn with_literals(&self, changed: &impl Fn(&str, &Literal) -> Literal) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.with_literals(changed)).collect();
        match self {
            Self::Compare { column, op, value } => {
                Self::Compare { column: column.clone(), op: *op, value: changed(column, value) }
            }
            Self::In { column, values, negated } => {
                let values = values.iter().map(|value| changed(column, value)).collect();
                Self::In { column: column.clone(), values, negated: *negated }
            }
            Self::Contains { column, value } => {
                Self::Contains { column: column.clone(), value: changed(column, value) }
            }
            Self::And(parts) => Self::And(all(parts)),
            Self::Or(parts) => Self::Or(all(parts)),
            Self::Not(inner) => Self::Not(Box::new(inner.with_literals(changed))),
            Self::Always(_) | Self::IsNull { .. } => self.clone(),
        }
    }

    /// The names of the columns that the predicate uses.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<String> {
        let mut columns = BTreeSet::new();
        self.collect_columns(&mut columns);
        columns
    }

    fn collect_columns(&self, into: &mut BTreeSet<String>) {
        match self {
            Self::Always(_) => {}
            Self::Compare { column, .. }
            | Self::In { column, .. }
            | Self::Contains { column, .. }
            | Self::IsNull { column, .. } => {
                into.insert(column.clone());
            }
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.collect_columns(into));
            }
            Self::Not(inner) => inner.collect_columns(into),
        }
    }
}

impl BitAnd for Predicate {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        self.and(other)
    }
}

impl BitOr for Predicate {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

impl Not for Predicate {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            // A double negation cancels in three-valued logic too.
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_make_flat_trees() {
        let (a, b, c) = (col("a").eq(1), col("b").lt(2.5), col("c").is_null());
        assert_eq!(
            a.clone() & b.clone() & c.clone(),
            Predicate::And(vec![a.clone(), b.clone(), c.clone()])
        );
        assert_eq!(
            a.clone() | b.clone() & c.clone(),
            Predicate::Or(vec![a.clone(), Predicate::And(vec![b, c])])
        );
        assert_eq!(!!a.clone(), a);
    }

    #[test]
    fn columns_are_named_once() {
        let predicate = (col("b").eq(1) | col("a").is_in([1, 2])) & !col("b").is_null();
        assert_eq!(predicate.columns().into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn option_none_is_null() {
        assert_eq!(Literal::from(None::<i64>), Literal::Null);
        assert_eq!(Literal::from(Some("x")), Literal::String("x".into()));
    }
}
