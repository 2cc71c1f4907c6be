//! Evaluation of predicates on metadata of many rows: partition keys, bounds, indices.
//!
//! For a set of *containers* (files, row groups, partitions) three questions are answered of each
//! part of a predicate: may it be true for a row, may it be false, may it be null? The negation of
//! a part exchanges the first two, so nothing is ever concluded from inverted bounds: where NaN may
//! hide, `x > 5` may be false whatever the bounds say.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{cast, is_null, not, nullif};
use arrow::datatypes::{DataType, Float64Type};

use super::bind::Node;
use super::condition::{Condition, spelled_out};
use super::overlap::overlap;
use super::{BoundPredicate, CompareOp};
use crate::{Error, ErrorKind, Result};

/// The metadata of the columns of a number of containers, known without opening them.
///
/// Every array returned has one element per container. `None` or null means that the fact is not
/// known; that costs time, never rows.
pub trait Facts {
    /// The number of containers.
    fn len(&self) -> usize;

    /// True if there are no containers.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one value that all rows of the container have in `column`, such as a partition value.
    fn exact(&self, _column: &str) -> Option<ArrayRef> {
        None
    }

    /// Bounds of the values in `column`.
    fn bounds(&self, column: &str) -> Option<Bounds>;

    /// The containers that hold a value of `column` for which `test` is true, according to an
    /// index; true also for containers that the index does not cover. `test` takes an array of
    /// values and returns a result for each. Nulls and NaN need not be in the index: it is not used
    /// for them.
    ///
    /// # Errors
    /// The errors are those of `test`.
    fn matching(
        &self,
        _column: &str,
        _test: &dyn Fn(&ArrayRef) -> Result<BooleanArray>,
    ) -> Result<Option<BooleanArray>> {
        Ok(None)
    }

    /// The containers that may hold one of `values`, according to a structure that can test
    /// membership but cannot list its values, such as a bloom filter or a hash; true also for
    /// containers without one. Used for conditions that hold for these values alone, which are not
    /// null, not NaN, and of the column's type.
    ///
    /// # Errors
    /// The errors are those of the implementation.
    fn holding(&self, _column: &str, _values: &ArrayRef) -> Result<Option<BooleanArray>> {
        Ok(None)
    }
}

/// Bounds of the values of a column, one of each per container.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// A lower bound; may be less than the smallest value (as truncated text is). NaN does not
    /// count. Null if not known.
    pub min: ArrayRef,
    /// An upper bound; may be more than the largest value. NaN does not count. Null if not known.
    pub max: ArrayRef,
    /// The number of null values.
    pub null_count: Option<UInt64Array>,
    /// The number of rows.
    pub rows: Option<UInt64Array>,
}

/// A result that a predicate can have for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    True,
    False,
    Null,
}

impl BoundPredicate {
    /// For each container, whether one of its rows may match; false only if none can. No result is
    /// null.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if an array does not have one element per
    /// container; otherwise the errors of [`Facts::matching`].
    pub fn may_match(&self, facts: &dyn Facts) -> Result<BooleanArray> {
        let possible = Pruning { facts, len: facts.len() }.possible(&self.node, Outcome::True)?;
        Ok(BooleanArray::new(possible, None))
    }

    /// For each container, whether every one of its rows matches for certain. No result is null.
    ///
    /// # Errors
    /// The errors are those of [`BoundPredicate::may_match`].
    pub fn must_match(&self, facts: &dyn Facts) -> Result<BooleanArray> {
        let pruning = Pruning { facts, len: facts.len() };
        let unwanted = &pruning.possible(&self.node, Outcome::False)?
            | &pruning.possible(&self.node, Outcome::Null)?;
        Ok(BooleanArray::new(!&unwanted, None))
    }
}

struct Pruning<'a> {
    facts: &'a dyn Facts,
    len: usize,
}

impl Pruning<'_> {
    fn all(&self) -> BooleanBuffer {
        BooleanBuffer::new_set(self.len)
    }

    fn none(&self) -> BooleanBuffer {
        BooleanBuffer::new_unset(self.len)
    }

    /// The containers that may hold a row with this outcome of `node`.
    fn possible(&self, node: &Node, outcome: Outcome) -> Result<BooleanBuffer> {
        match (node, outcome) {
            (Node::Always(answer), _) => Ok(match outcome {
                Outcome::True if *answer => self.all(),
                Outcome::False if !*answer => self.all(),
                _ => self.none(),
            }),
            (Node::Not(inner), Outcome::True) => self.possible(inner, Outcome::False),
            (Node::Not(inner), Outcome::False) => self.possible(inner, Outcome::True),
            (Node::Not(inner), Outcome::Null) => self.possible(inner, Outcome::Null),
            (Node::And(parts), Outcome::True) | (Node::Or(parts), Outcome::False) => {
                let mut every = self.all();
                for part in parts {
                    every = &every & &self.possible(part, outcome)?;
                    if !every.has_true() {
                        break;
                    }
                }
                Ok(every)
            }
            (Node::And(parts) | Node::Or(parts), _) => {
                let mut any = self.none();
                for part in parts {
                    any = &any | &self.possible(part, outcome)?;
                    if !any.has_false() {
                        break;
                    }
                }
                Ok(any)
            }
            // There are no statistics of items.
            (Node::Contains(_), _) => Ok(self.all()),
            (Node::IsNull(column), _) => self.null_or_not(column, outcome),
            (Node::Condition(condition), _) => self.condition(condition, outcome),
        }
    }

    fn null_or_not(&self, column: &str, outcome: Outcome) -> Result<BooleanBuffer> {
        if outcome == Outcome::Null {
            return Ok(self.none());
        }
        if let Some(exact) = self.facts.exact(column) {
            let nulls = self.checked(is_null(&exact)?)?.values().clone();
            return Ok(if outcome == Outcome::True { nulls } else { !&nulls });
        }
        let Some(bounds) = self.bounds(column)? else { return Ok(self.all()) };
        Ok(if outcome == Outcome::True { bounds.some_null() } else { bounds.some_value() })
    }

    fn condition(&self, condition: &Condition, outcome: Outcome) -> Result<BooleanBuffer> {
        if let Some(exact) = self.facts.exact(condition.column()) {
            return Ok(having(&self.checked(condition.test(&exact)?)?, outcome));
        }
        let bounds = self.bounds(condition.column())?;
        if outcome == Outcome::Null {
            return Ok(bounds.map_or_else(|| self.all(), |bounds| bounds.some_null()));
        }
        let wanted = outcome == Outcome::True;
        let mut possible = bounds.as_ref().map_or_else(|| self.all(), Known::some_value);
        if let Some(answer) = condition.known() {
            return Ok(if answer == wanted { possible } else { self.none() });
        }
        if condition.has_nan() && condition.of_nan() == wanted {
            return Ok(possible);
        }
        if let Some(bounds) = &bounds
            && let Some(within) = usable(bounds.allow(condition, wanted))?
        {
            possible = &possible & &within;
        }
        if !possible.has_true() {
            return Ok(possible);
        }
        let test = |values: &ArrayRef| {
            let answers = condition.test(values)?;
            if wanted { Ok(answers) } else { Ok(not(&answers)?) }
        };
        if let Some(found) = self.facts.matching(condition.column(), &test)? {
            possible = &possible & &true_or_null(&self.checked(found)?);
        }
        if possible.has_true()
            && let Some(values) = condition.sought(wanted)?
            && let Some(found) = self.facts.holding(condition.column(), &values)?
        {
            possible = &possible & &true_or_null(&self.checked(found)?);
        }
        Ok(possible)
    }

    fn bounds(&self, column: &str) -> Result<Option<Known>> {
        let Some(bounds) = self.facts.bounds(column) else { return Ok(None) };
        let counts = [&bounds.null_count, &bounds.rows];
        for array in counts.into_iter().flatten() {
            self.check_len(array.len())?;
        }
        self.check_len(bounds.min.len())?;
        self.check_len(bounds.max.len())?;
        Ok(Some(Known(bounds)))
    }

    fn checked(&self, answers: BooleanArray) -> Result<BooleanArray> {
        self.check_len(answers.len())?;
        Ok(answers)
    }

    fn check_len(&self, found: usize) -> Result<()> {
        if found == self.len {
            return Ok(());
        }
        Err(Error::invalid("facts must have one element per container")
            .with("expected", self.len)
            .with("found", found))
    }
}

/// Bounds whose arrays have been checked for their length.
struct Known(Bounds);

impl Known {
    /// The containers that may hold a null.
    fn some_null(&self) -> BooleanBuffer {
        match &self.0.null_count {
            None => BooleanBuffer::new_set(self.0.min.len()),
            Some(counts) => counts.iter().map(|count| count != Some(0)).collect(),
        }
    }

    /// The containers that may hold a value that is not null.
    fn some_value(&self) -> BooleanBuffer {
        match (&self.0.null_count, &self.0.rows) {
            (Some(nulls), Some(rows)) => nulls
                .iter()
                .zip(rows.iter())
                .map(|counts| !matches!(counts, (Some(nulls), Some(rows)) if nulls >= rows))
                .collect(),
            _ => BooleanBuffer::new_set(self.0.min.len()),
        }
    }

    /// The containers in which a value within the bounds may give the condition the result
    /// `wanted`.
    fn allow(&self, condition: &Condition, wanted: bool) -> Result<BooleanBuffer> {
        let (min, max) = (bound(&self.0.min)?, bound(&self.0.max)?);
        let test = |op, array| condition.test_op(op, array).map(|found| true_or_null(&found));
        let Some(op) = condition.op() else {
            return if wanted {
                let points = condition.points(min.data_type())?;
                Ok(overlap(&points, &min, &max)?.unwrap_or(BooleanBuffer::new_set(min.len())))
            } else {
                // A container is excluded only if its one possible value is in the list.
                let listed = having(&condition.test(&min)?, Outcome::True);
                Ok(!&(&listed & &same(&min, &max)))
            };
        };
        match if wanted { op } else { op.inverse() } {
            op @ (CompareOp::Lt | CompareOp::Le) => test(op, &min),
            op @ (CompareOp::Gt | CompareOp::Ge) => test(op, &max),
            CompareOp::Eq => Ok(&test(CompareOp::Le, &min)? & &test(CompareOp::Ge, &max)?),
            CompareOp::Ne => Ok(&test(CompareOp::Ne, &min)? | &test(CompareOp::Ne, &max)?),
        }
    }
}

/// A bound as plain values; NaN, which some writers store as a bound, becomes unknown.
fn bound(array: &ArrayRef) -> Result<ArrayRef> {
    let array = spelled_out(array)?;
    if !array.data_type().is_floating() {
        return Ok(array);
    }
    let wide = cast(&array, &DataType::Float64)?;
    let nan = BooleanArray::from_unary(wide.as_primitive::<Float64Type>(), f64::is_nan);
    if nan.has_true() { Ok(nullif(&array, &nan)?) } else { Ok(array) }
}

/// The containers whose bounds are equal and known.
fn same(min: &ArrayRef, max: &ArrayRef) -> BooleanBuffer {
    match cmp::eq(&Arc::clone(min), &Arc::clone(max)) {
        Ok(equal) => having(&equal, Outcome::True),
        // Bounds that cannot be compared are not known to be equal.
        Err(_) => BooleanBuffer::new_unset(min.len()),
    }
}

/// Bounds in a type that cannot be compared with the literals are ignored: the predicate is valid.
fn usable(allowed: Result<BooleanBuffer>) -> Result<Option<BooleanBuffer>> {
    match allowed {
        Ok(allowed) => Ok(Some(allowed)),
        Err(error) if error.kind() == ErrorKind::SchemaMismatch => Ok(None),
        Err(error) => Err(error),
    }
}

fn having(answers: &BooleanArray, outcome: Outcome) -> BooleanBuffer {
    let valid = || answers.nulls().map(|nulls| nulls.inner());
    let and_valid = |found: BooleanBuffer| match valid() {
        Some(valid) => &found & valid,
        None => found,
    };
    match outcome {
        Outcome::True => and_valid(answers.values().clone()),
        Outcome::False => and_valid(!answers.values()),
        Outcome::Null => {
            valid().map_or_else(|| BooleanBuffer::new_unset(answers.len()), |valid| !valid)
        }
    }
}

fn true_or_null(answers: &BooleanArray) -> BooleanBuffer {
    !&having(answers, Outcome::False)
}
