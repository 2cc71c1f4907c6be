//! Merging new rows with the existing rows of a partition.
//!
//! A strategy uses only the values of the axis, and returns a [`Plan`]: which old and new rows make
//! up the merged partition, and in which order. New rows are never left out.

mod plan;
mod tolerance;

use std::ops::Range;

use partita_core::{Error, Result};

pub use plan::{Piece, Plan, Side};
pub use tolerance::Tolerance;

use crate::columns::float;
use crate::dataset::{Array, DType};

/// A strategy for merging new rows with old ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Merge {
    /// Only the new rows.
    #[default]
    Replace,
    /// The old rows, then the new ones.
    Concat,
    /// The new rows, and the old rows outside of the periods that the new rows cover; ordered along
    /// the axis.
    ///
    /// Consecutive new rows belong to the same period if they are at most the tolerance apart; it
    /// includes both ends. Without a tolerance there is one period, from the first to the last new
    /// row.
    TimeSeries {
        /// The largest step within a period.
        tolerance: Option<Tolerance>,
    },
    /// The new rows, and the old rows that no new row replaces; ordered along the axis.
    ///
    /// A new row replaces the old rows that are at most the tolerance away; without a tolerance,
    /// those with an equal value. New rows with equal values are all kept.
    Upsert {
        /// The largest distance at which a new row replaces an old one.
        tolerance: Option<Tolerance>,
    },
}

impl Merge {
    /// Plans a merge. `old` and `new` are the values of the axis: integers, times or durations, of
    /// the same type. Rows that are "not a time" are kept, after all others.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the axis has another type
    /// or number of dimensions, or the tolerance does not fit it;
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
    /// The old row that each new row replaces: the first one with the same value, or, for
    /// [`Merge::Upsert`] with a tolerance, the nearest one within it.
    ///
    /// # Errors
    /// The same as [`Merge::plan`].
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

/// The row with the value nearest to `value`, if it is at most `reach` away.
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

/// Represents "not a time", which sorts after all times.
const NAT: i128 = i128::MAX;

impl Axis {
    fn read(axis: &Array) -> Result<Self> {
        let dtype = axis.dtype();
        let refuse = |why: &str| Err(Error::invalid(why).with("dtype", dtype));
        if axis.shape().len() != 1 {
            return refuse("the axis along which rows are merged must have one dimension");
        }
        let is_time = matches!(dtype, DType::DateTime(..) | DType::TimeDelta(..));
        let values = match axis.integers() {
            Some(values) if is_time || dtype.is_integer() => values,
            _ if matches!(dtype, DType::Float32 | DType::Float64) => ordinals(axis),
            _ => {
                return refuse(
                    "rows can only be merged in order along an axis of numbers or times",
                );
            }
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

    /// All times, sorted.
    fn sorted(&self) -> Vec<i128> {
        let mut sorted: Vec<i128> = self.values.iter().copied().filter(|it| *it != NAT).collect();
        sorted.sort_unstable();
        sorted
    }
}

/// Integers in the order of the floats of an axis; both zeros are equal, and "not a number" sorts as
/// "not a time" does. Distances between them mean nothing.
fn ordinals(axis: &Array) -> Vec<i128> {
    let ordinal = |value: f64| match value {
        value if value.is_nan() => NAT,
        value if value < 0.0 => -i128::from(value.abs().to_bits()),
        value => i128::from(value.abs().to_bits()),
    };
    let items = (0..axis.len()).map(|at| axis.item(at).and_then(float));
    items.map(|item| item.map_or(NAT, ordinal)).collect()
}

/// The periods that sorted values cover, with both ends. `step` is the largest step within a
/// period.
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

/// All new rows and the old rows for which `keep` is true, ordered along the axis; of equal values,
/// old ones come first, and each side keeps its order.
fn ordered(old: &Axis, new: &Axis, keep: impl Fn(i128) -> bool) -> Plan {
    let kept = |value| value == NAT || keep(value);
    Plan::of(in_turn(sorted_rows(old, kept), sorted_rows(new, |_| true)))
}

/// The rows of an axis for which `keep` is true, with their values, sorted by value; equal values
/// keep their order.
fn sorted_rows(axis: &Axis, keep: impl Fn(i128) -> bool) -> Vec<(usize, i128)> {
    let rows = axis.values.iter().copied().enumerate();
    let mut rows: Vec<(usize, i128)> = rows.filter(|(_, value)| keep(*value)).collect();
    // A stable sort, which is fast for rows that are already in order, as they mostly are.
    rows.sort_by_key(|(_, value)| *value);
    rows
}

/// Merges the sorted rows of both sides into one order.
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
