//! How new rows are merged with those that a partition has.
//!
//! A strategy looks at the values of the axis only, and gives a [`Plan`]: which rows of old and new
//! make the merged partition, in which order. No row of the new data is ever left out.

mod plan;
mod tolerance;

use std::ops::Range;

use partita_core::{Error, Result};

pub use plan::{Piece, Plan, Side};
pub use tolerance::Tolerance;

use crate::dataset::{Array, DType};

/// How new rows are merged with old ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Merge {
    /// The new rows alone.
    #[default]
    Replace,
    /// The old rows, then the new ones.
    Concat,
    /// The new rows, and the old ones outside of the periods that the new ones cover; ordered along
    /// the axis.
    ///
    /// A period reaches from one new row to the next as long as they are not further apart than the
    /// tolerance, both ends included; without a tolerance from the first to the last.
    TimeSeries {
        /// The largest step within a period.
        tolerance: Option<Tolerance>,
    },
    /// The new rows, and the old ones that are not where a new one is; ordered along the axis.
    ///
    /// An old row is where a new one is if they are at most the tolerance apart; without a
    /// tolerance if their values are equal. New rows with equal values are all kept.
    Upsert {
        /// The largest distance at which a new row takes the place of an old one.
        tolerance: Option<Tolerance>,
    },
}

impl Merge {
    /// The plan of a merge. `old` and `new` are the values of the axis: integers, times or
    /// durations, of one type. Rows that are "not a time" are kept, behind all others.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the axis has another type
    /// or number of dimensions, or the tolerance does not go with it;
    /// [`SchemaMismatch`](partita_core::ErrorKind::SchemaMismatch) if the two types differ.
    pub fn plan(&self, old: &Array, new: &Array) -> Result<Plan> {
        let (rows, added) = (old.len(), new.len());
        match self {
            Self::Replace => Ok(Plan::new_rows(added)),
            Self::Concat => Ok(Plan::of([(Side::Old, 0..rows), (Side::New, 0..added)])),
            Self::TimeSeries { tolerance } => {
                let (old, new) = Axis::read_both(old, new)?;
                let step = tolerance.map(|tolerance| tolerance.in_steps_of(new.dtype));
                let periods = periods(&new.sorted(), step.transpose()?);
                Ok(ordered(&old, &new, |value| !covered(&periods, value)))
            }
            Self::Upsert { tolerance } => {
                let (old, new) = Axis::read_both(old, new)?;
                let step = tolerance.map(|tolerance| tolerance.in_steps_of(new.dtype));
                let (reach, sorted) = (step.transpose()?.unwrap_or(0), new.sorted());
                Ok(ordered(&old, &new, |value| !is_near(&sorted, value, reach)))
            }
        }
    }
}

impl Merge {
    /// For each new row the old one of which it takes the place: the first one at the same value, or
    /// for [`Merge::Upsert`] with a tolerance the nearest within it.
    ///
    /// # Errors
    /// As [`Merge::plan`].
    pub(crate) fn places(&self, old: &Array, new: &Array) -> Result<Vec<Option<usize>>> {
        let (old, new) = Axis::read_both(old, new)?;
        let reach = match self {
            Self::Replace | Self::Concat => return Ok(vec![None; new.values.len()]),
            Self::TimeSeries { .. } | Self::Upsert { tolerance: None } => 0,
            Self::Upsert { tolerance: Some(tolerance) } => tolerance.in_steps_of(new.dtype)?,
        };
        let sorted = sorted_rows(&old, |value| value != NAT);
        Ok(new.values.iter().map(|value| nearest(&sorted, *value, reach)).collect())
    }
}

/// The row whose value is nearest to one, and no further away than `reach`.
fn nearest(sorted: &[(usize, i128)], value: i128, reach: i128) -> Option<usize> {
    let after = sorted.partition_point(|(_, other)| *other < value);
    let before = after.checked_sub(1).and_then(|last| {
        let (_, nearest) = sorted.get(last)?;
        sorted.get(sorted.partition_point(|(_, other)| other < nearest))
    });
    let distance = |(_, other): &&(usize, i128)| other.abs_diff(value);
    let found = before.into_iter().chain(sorted.get(after)).min_by_key(distance)?;
    (distance(&found) <= reach.unsigned_abs()).then_some(found.0)
}

/// The values of an axis.
struct Axis {
    dtype: DType,
    values: Vec<i128>,
}

/// Stands for "not a time", which comes after all times.
const NAT: i128 = i128::MAX;

impl Axis {
    fn read(axis: &Array) -> Result<Self> {
        let dtype = axis.dtype();
        let refuse = |why: &str| Err(Error::invalid(why).with("dtype", dtype));
        if axis.shape().len() != 1 {
            return refuse("rows are merged along an axis of one dimension");
        }
        let is_time = matches!(dtype, DType::DateTime(..) | DType::TimeDelta(..));
        let values = match axis.integers() {
            Some(values) if is_time || dtype.is_integer() => values,
            _ => return refuse("rows are merged in order along an axis of integers or times only"),
        };
        let is_nat = |value: i128| is_time && value == i128::from(i64::MIN);
        let known = |value: i128| if is_nat(value) { NAT } else { value };
        Ok(Self { dtype, values: values.into_iter().map(known).collect() })
    }

    fn read_both(old: &Array, new: &Array) -> Result<(Self, Self)> {
        let (old, new) = (Self::read(old)?, Self::read(new)?);
        if old.dtype != new.dtype {
            return Err(Error::new(
                partita_core::ErrorKind::SchemaMismatch,
                "the axis of the new rows has another type than that of the old ones",
            )
            .with("expected", old.dtype)
            .with("found", new.dtype));
        }
        Ok((old, new))
    }

    /// All times in order.
    fn sorted(&self) -> Vec<i128> {
        let mut sorted: Vec<i128> = self.values.iter().copied().filter(|it| *it != NAT).collect();
        sorted.sort_unstable();
        sorted
    }
}

/// The periods that sorted values cover, both ends included. `step` is the largest step within one.
fn periods(sorted: &[i128], step: Option<i128>) -> Vec<(i128, i128)> {
    let mut periods: Vec<(i128, i128)> = Vec::new();
    for &value in sorted {
        match periods.last_mut() {
            Some((_, end)) if step.is_none_or(|step| value - *end <= step) => *end = value,
            _ => periods.push((value, value)),
        }
    }
    periods
}

fn covered(periods: &[(i128, i128)], value: i128) -> bool {
    let after = periods.partition_point(|(start, _)| *start <= value);
    let last = after.checked_sub(1).and_then(|index| periods.get(index));
    last.is_some_and(|(_, end)| value <= *end)
}

fn is_near(sorted: &[i128], value: i128, reach: i128) -> bool {
    let first = sorted.partition_point(|other| *other < value.saturating_sub(reach));
    sorted.get(first).is_some_and(|other| *other <= value.saturating_add(reach))
}

/// The old rows that `keep` says yes to and all new ones, ordered along the axis; where values are
/// equal, old before new, each in their order.
fn ordered(old: &Axis, new: &Axis, keep: impl Fn(i128) -> bool) -> Plan {
    let kept = |value| value == NAT || keep(value);
    Plan::of(in_turn(sorted_rows(old, kept), sorted_rows(new, |_| true)))
}

/// The rows of an axis that `keep` says yes to, with their values, ordered by these; where values are
/// equal, in their order.
fn sorted_rows(axis: &Axis, keep: impl Fn(i128) -> bool) -> Vec<(usize, i128)> {
    let rows = axis.values.iter().copied().enumerate();
    let mut rows: Vec<(usize, i128)> = rows.filter(|(_, value)| keep(*value)).collect();
    // A stable sort, and a fast one where the rows are in order already, as they mostly are.
    rows.sort_by_key(|(_, value)| *value);
    rows
}

/// Rows that are ordered on both sides, in the order of both.
fn in_turn(
    old: Vec<(usize, i128)>,
    new: Vec<(usize, i128)>,
) -> impl Iterator<Item = (Side, Range<usize>)> {
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    std::iter::from_fn(move || {
        let after = |(_, value): &(usize, i128)| new.peek().is_none_or(|(_, next)| value <= next);
        match old.next_if(after) {
            Some((row, _)) => Some(single(Side::Old, row)),
            None => new.next().map(|(row, _)| single(Side::New, row)),
        }
    })
}

fn single(side: Side, row: usize) -> (Side, Range<usize>) {
    (side, row..row.saturating_add(1))
}

#[cfg(test)]
mod tests;
