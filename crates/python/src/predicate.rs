//! Conversion of predicates from Python.

use std::sync::{Arc, Mutex, PoisonError};

use partita::predicate::{CompareOp, DnfValue, Literal};
use partita::{Error, ErrorKind, Predicate, guarded};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::errors::to_python;

/// The maximum depth of an expression: the engine traverses it recursively, while a loop in Python
/// can build any depth.
const DEEPEST: usize = 100;

/// A boolean expression over columns.
#[pyclass(frozen, name = "Predicate", module = "partita._native")]
pub(crate) struct PyPredicate {
    form: Form,
    depth: usize,
}

/// The representation of an expression.
enum Form {
    One(Predicate),
    /// The first `length` of shared parts, joined by one operator. A loop in Python that adds one
    /// part at a time creates many such expressions; they share the parts, so that nothing is
    /// copied.
    Chain {
        join: Join,
        parts: Arc<Mutex<Vec<Predicate>>>,
        length: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    And,
    Or,
}

impl Join {
    fn of(self, parts: Vec<Predicate>) -> Predicate {
        match self {
            Self::And => Predicate::And(parts),
            Self::Or => Predicate::Or(parts),
        }
    }
}

impl Form {
    /// The operands with respect to an operator: the parts of a chain of that operator, otherwise
    /// the expression itself.
    fn parts(&self, wanted: Join) -> Vec<Predicate> {
        match (self.predicate(), wanted) {
            (Predicate::And(parts), Join::And) | (Predicate::Or(parts), Join::Or) => parts,
            (other, _) => vec![other],
        }
    }

    fn predicate(&self) -> Predicate {
        match self {
            Self::One(predicate) => predicate.clone(),
            Self::Chain { join, parts, length } => {
                let parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
                join.of(parts.get(..*length).unwrap_or_default().to_vec())
            }
        }
    }

    fn is_joined_by(&self, wanted: Join) -> bool {
        match self {
            Self::Chain { join, .. } => *join == wanted,
            Self::One(predicate) => match wanted {
                Join::And => matches!(predicate, Predicate::And(_)),
                Join::Or => matches!(predicate, Predicate::Or(_)),
            },
        }
    }

    /// Joins two expressions; chains of the same operator stay flat.
    fn join(&self, other: &Self, wanted: Join) -> Self {
        let more = other.parts(wanted);
        if let Self::Chain { join, parts, length } = self
            && *join == wanted
        {
            let mut shared = parts.lock().unwrap_or_else(PoisonError::into_inner);
            // Only the longest of the expressions that share the parts may append to them.
            if shared.len() == *length {
                shared.extend(more);
                let length = shared.len();
                return Self::Chain { join: wanted, parts: Arc::clone(parts), length };
            }
        }
        let mut parts = self.parts(wanted);
        parts.extend(more);
        let length = parts.len();
        Self::Chain { join: wanted, parts: Arc::new(Mutex::new(parts)), length }
    }
}

impl PyPredicate {
    fn flat(predicate: Predicate) -> Self {
        Self { form: Form::One(predicate), depth: 1 }
    }

    pub(crate) fn predicate(&self) -> Predicate {
        self.form.predicate()
    }

    /// An expression over parts with a maximum depth of `depth`.
    fn over(depth: usize, build: impl FnOnce() -> Form) -> PyResult<Self> {
        if depth >= DEEPEST {
            return Err(to_python(Error::new(
                ErrorKind::InvalidPredicate,
                "the expression is nested too deeply; use isin for a choice of many values",
            )));
        }
        Ok(Self { form: build(), depth: depth + 1 })
    }

    /// The depth that `self` contributes to a chain of the same operator, which stays flat.
    fn chained(&self, join: Join) -> usize {
        if self.form.is_joined_by(join) { self.depth - 1 } else { self.depth }
    }

    fn joined(&self, other: &Self, join: Join) -> PyResult<Self> {
        let depth = self.chained(join).max(other.chained(join));
        Self::over(depth, || self.form.join(&other.form, join))
    }
}

#[pymethods]
impl PyPredicate {
    /// `column op value`, where op is one of `== != < <= > >=`.
    #[staticmethod]
    fn compare(column: String, op: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let op = match op {
            "==" => CompareOp::Eq,
            "!=" => CompareOp::Ne,
            "<" => CompareOp::Lt,
            "<=" => CompareOp::Le,
            ">" => CompareOp::Gt,
            ">=" => CompareOp::Ge,
            other => return Err(PyTypeError::new_err(format!("unknown operator {other:?}"))),
        };
        Ok(Self::flat(Predicate::Compare { column, op, value: literal(value)? }))
    }

    /// True for rows whose value is one of (if negated, none of) `values`.
    #[staticmethod]
    fn is_in(column: String, values: &Bound<'_, PyList>, negated: bool) -> PyResult<Self> {
        Ok(Self::flat(Predicate::In { column, values: literals(values)?, negated }))
    }

    /// True for rows whose list has `value` as an item.
    #[staticmethod]
    fn contains(column: String, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self::flat(Predicate::Contains { column, value: literal(value)? }))
    }

    /// True for rows whose value is null (if negated, not null).
    #[staticmethod]
    fn is_null(column: String, negated: bool) -> Self {
        Self::flat(Predicate::IsNull { column, negated })
    }

    /// Parses the text form.
    #[staticmethod]
    fn parse(text: &str) -> PyResult<Self> {
        let predicate = guarded(|| Predicate::parse(text)).map_err(to_python)?;
        let depth = depth(&predicate);
        Ok(Self { form: Form::One(predicate), depth })
    }

    /// Converts a list of conjunctions of (column, operator, value).
    #[staticmethod]
    fn from_dnf(terms: Vec<Vec<(String, String, Bound<'_, PyAny>)>>) -> PyResult<Self> {
        let terms = terms
            .into_iter()
            .map(|conjunction| {
                conjunction
                    .into_iter()
                    .map(|(column, op, value)| Ok((column, op, dnf_value(&value)?)))
                    .collect::<PyResult<Vec<_>>>()
            })
            .collect::<PyResult<Vec<_>>>()?;
        let predicate = Predicate::from_dnf(terms).map_err(to_python)?;
        Ok(Self { form: Form::One(predicate), depth: 3 })
    }

    fn __and__(&self, other: PyRef<'_, Self>) -> PyResult<Self> {
        self.joined(&other, Join::And)
    }

    fn __or__(&self, other: PyRef<'_, Self>) -> PyResult<Self> {
        self.joined(&other, Join::Or)
    }

    fn __invert__(&self) -> PyResult<Self> {
        Self::over(self.depth, || Form::One(!self.predicate()))
    }

    fn __str__(&self) -> String {
        self.predicate().to_string()
    }

    fn __eq__(&self, other: PyRef<'_, Self>) -> bool {
        self.predicate() == other.predicate()
    }

    /// The names of the columns that the predicate uses.
    fn columns(&self) -> Vec<String> {
        self.predicate().columns().into_iter().collect()
    }
}

/// The depth of a predicate that was parsed from text, which limits it.
fn depth(predicate: &Predicate) -> usize {
    1 + match predicate {
        Predicate::And(parts) | Predicate::Or(parts) => {
            parts.iter().map(depth).max().unwrap_or_default()
        }
        Predicate::Not(part) => depth(part),
        _ => 0,
    }
}

fn dnf_value(value: &Bound<'_, PyAny>) -> PyResult<DnfValue> {
    match value.cast::<PyList>() {
        Ok(values) => Ok(DnfValue::List(literals(values)?)),
        Err(_) => Ok(DnfValue::One(literal(value)?)),
    }
}

fn literals(values: &Bound<'_, PyList>) -> PyResult<Vec<Literal>> {
    values.iter().map(|value| literal(&value)).collect()
}

/// Converts a literal: a Python scalar, or a tagged tuple for types with several Python classes:
/// `("date", days)`, `("timestamp", nanoseconds, zoned)`, `("decimal", value, scale)`.
fn literal(value: &Bound<'_, PyAny>) -> PyResult<Literal> {
    if value.is_none() {
        return Ok(Literal::Null);
    }
    // A bool is a subclass of int in Python, so it is tested first.
    if let Ok(value) = value.cast::<PyBool>() {
        return Ok(Literal::Bool(value.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(Literal::Int(value.extract()?));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(Literal::Float(value.extract()?));
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Literal::String(value.extract()?));
    }
    if let Ok(value) = value.cast::<PyBytes>() {
        return Ok(Literal::Binary(value.as_bytes().to_vec()));
    }
    tagged(value)
}

fn tagged(value: &Bound<'_, PyAny>) -> PyResult<Literal> {
    let unknown = || PyTypeError::new_err("predicates do not support literals of this class");
    let tuple = value.cast::<PyTuple>().map_err(|_| unknown())?;
    let tag: String = tuple.get_item(0)?.extract()?;
    match tag.as_str() {
        "date" => Ok(Literal::Date(tuple.get_item(1)?.extract()?)),
        "timestamp" => Ok(Literal::Timestamp {
            nanos: tuple.get_item(1)?.extract()?,
            utc: tuple.get_item(2)?.extract()?,
        }),
        "decimal" => Ok(Literal::Decimal {
            value: tuple.get_item(1)?.extract()?,
            scale: tuple.get_item(2)?.extract()?,
        }),
        _ => Err(unknown()),
    }
}
