//! A condition on one column, prepared for every type in which the column's data may come.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;

use super::CompareOp;
use super::family::leaf;
use super::kernel::{Question, Test};
use super::points::Points;
use super::value::Value;
use crate::{Error, ErrorKind, Result, type_name};

/// A condition on a column.
///
/// It is translated to the column's type once. Data may come in another type with the same meaning
/// (narrower integers, another time unit or text layout, dictionaries); the condition is then
/// translated to that type, so that values are never converted and nothing overflows. The
/// translation to the first such type is cached.
#[derive(Debug)]
pub(crate) struct Condition {
    column: String,
    question: Question,
    bound: (DataType, Test),
    foreign: OnceLock<(DataType, Test)>,
    /// The literals in the first type in which they were compared with bounds.
    points: OnceLock<(DataType, Arc<Points>)>,
    /// The literals as an array, if they can be listed.
    sought: OnceLock<Option<ArrayRef>>,
}

impl Condition {
    /// `None` if the condition cannot be applied to a column of `data_type`.
    pub(crate) fn new(column: &str, question: Question, data_type: &DataType) -> Option<Self> {
        let data_type = leaf(data_type).clone();
        let test = Test::new(&question, &data_type)?;
        let bound = (data_type, test);
        Some(Self {
            column: column.to_owned(),
            question,
            bound,
            foreign: OnceLock::new(),
            points: OnceLock::new(),
            sought: OnceLock::new(),
        })
    }

    pub(crate) fn column(&self) -> &str {
        &self.column
    }

    /// The operator, if this is a comparison.
    pub(crate) fn op(&self) -> Option<CompareOp> {
        match &self.question {
            Question::Compare(op, _) => Some(*op),
            Question::In(_) => None,
        }
    }

    /// The result, if it is the same for every value.
    pub(crate) fn known(&self) -> Option<bool> {
        match &self.bound.1 {
            // A column without a type yet may have values in older or newer data.
            Test::Known(answer) if self.bound.0 != DataType::Null => Some(*answer),
            _ => None,
        }
    }

    /// True if the column may hold NaN, which bounds and indices do not cover.
    pub(crate) fn has_nan(&self) -> bool {
        self.bound.0.is_floating()
    }

    /// The result for NaN: a list may contain it, and all comparisons but `!=` are false.
    pub(crate) fn of_nan(&self) -> bool {
        match &self.question {
            Question::Compare(op, _) => *op == CompareOp::Ne,
            Question::In(values) => values.iter().any(Value::is_nan),
        }
    }

    /// The result for each value; null if the value is null.
    pub(crate) fn test(&self, array: &ArrayRef) -> Result<BooleanArray> {
        self.test_with(&self.question, array)
    }

    /// The result of the comparison with another operator in place of its own.
    pub(crate) fn test_op(&self, op: CompareOp, array: &ArrayRef) -> Result<BooleanArray> {
        match &self.question {
            Question::Compare(own, value) if *own != op => {
                self.test_with(&Question::Compare(op, value.clone()), array)
            }
            own => self.test_with(own, array),
        }
    }

    /// The literals, converted to `data_type`. There may be many of them, and many files: the first
    /// conversion is cached.
    pub(crate) fn points(&self, data_type: &DataType) -> Result<Arc<Points>> {
        if let Some((known, points)) = self.points.get()
            && known == data_type
        {
            return Ok(Arc::clone(points));
        }
        let points = match &self.question {
            Question::In(values) => Points::new(values, data_type),
            Question::Compare(_, value) => Points::new(std::slice::from_ref(value), data_type),
        };
        let points = Arc::new(points.ok_or_else(|| self.mismatch(data_type))?);
        // Another thread may have cached a type in the meantime; either works.
        let _ = self.points.set((data_type.clone(), Arc::clone(&points)));
        Ok(points)
    }

    /// The complete list of values for which the result is `wanted`, in the type that the condition
    /// was bound to; `None` if they cannot be listed.
    pub(crate) fn sought(&self, wanted: bool) -> Result<Option<ArrayRef>> {
        let listed = match self.op() {
            None => wanted,
            Some(op) => CompareOp::Eq == if wanted { op } else { op.inverse() },
        };
        if !listed {
            return Ok(None);
        }
        if let Some(found) = self.sought.get() {
            return Ok(found.clone());
        }
        let found = self.points(&self.bound.0)?.to_array(&self.bound.0);
        Ok(self.sought.get_or_init(|| found).clone())
    }

    fn test_with(&self, question: &Question, array: &ArrayRef) -> Result<BooleanArray> {
        if let Some(dictionary) = array.as_any_dictionary_opt() {
            // For dictionaries, each distinct value is tested once.
            let answers = self.test_with(question, dictionary.values())?;
            return Ok(take(&answers, dictionary.keys(), None)?.as_boolean().clone());
        }
        let array = flat(array)?;
        let data_type = array.data_type();
        if !std::ptr::eq(question, &self.question) {
            let test = Test::new(question, data_type).ok_or_else(|| self.mismatch(data_type))?;
            return test.run(&array);
        }
        if *data_type == self.bound.0 {
            return self.bound.1.run(&array);
        }
        if let Some((known, test)) = self.foreign.get()
            && known == data_type
        {
            return test.run(&array);
        }
        let test = Test::new(question, data_type).ok_or_else(|| self.mismatch(data_type))?;
        let answers = test.run(&array);
        // Another thread may have cached a type in the meantime; either works.
        let _ = self.foreign.set((data_type.clone(), test));
        answers
    }

    fn mismatch(&self, found: &DataType) -> Error {
        Error::new(
            ErrorKind::SchemaMismatch,
            "the data are of another type than the predicate was bound to",
        )
        .with("column", &self.column)
        .with("expected", type_name(&self.bound.0))
        .with("found", type_name(found))
    }
}

/// Expands run-end encoded arrays; returns all others unchanged.
pub(crate) fn flat(array: &ArrayRef) -> Result<Cow<'_, ArrayRef>> {
    Ok(match array.data_type() {
        DataType::RunEndEncoded(_, values) => Cow::Owned(cast(array, values.data_type())?),
        _ => Cow::Borrowed(array),
    })
}

/// Expands dictionaries and run-end encoded arrays at every level.
pub(crate) fn spelled_out(array: &ArrayRef) -> Result<ArrayRef> {
    let target = leaf(array.data_type());
    if target == array.data_type() { Ok(Arc::clone(array)) } else { Ok(cast(array, target)?) }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{TimeUnit, i256};

    use super::*;
    use crate::predicate::Literal;

    #[test]
    fn each_type_has_points_of_its_own() {
        let of = |unit| DataType::Timestamp(unit, None);
        let (seconds, nanos) = (of(TimeUnit::Second), of(TimeUnit::Nanosecond));
        let moment = Literal::Timestamp { nanos: 5_000_000_000, utc: false };
        let values = vec![Value::new(&moment, &nanos).ok().unwrap()];
        let condition = Condition::new("t", Question::In(values), &nanos).unwrap();
        for (data_type, step) in [(&nanos, 5_000_000_000), (&seconds, 5), (&nanos, 5_000_000_000)] {
            let points = condition.points(data_type).unwrap();
            assert!(matches!(&*points, Points::Steps(steps) if *steps == [i256::from_i128(step)]));
        }
    }
}
