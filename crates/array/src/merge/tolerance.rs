//! Distances along an axis.

use partita_core::partition::CalendarUnit;
use partita_core::{Error, Result};

use crate::dataset::DType;

/// A distance along an axis: a duration, or a number of steps in the unit of the axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    count: u64,
    unit: Option<CalendarUnit>,
}

impl Tolerance {
    /// A number of steps of the axis: of integers, or of times in their own unit.
    #[must_use]
    pub fn steps(count: u64) -> Self {
        Self { count, unit: None }
    }

    /// A number of units of time.
    #[must_use]
    pub fn duration(count: u64, unit: CalendarUnit) -> Self {
        Self { count, unit: Some(unit) }
    }

    /// The number of whole steps of an axis within the tolerance.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for a duration on an axis of
    /// integers, for an axis of floats, or if years or months would have to be converted to units of fixed length.
    pub fn in_steps_of(&self, axis: DType) -> Result<i128> {
        if matches!(axis, DType::Float32 | DType::Float64) {
            let why = "an axis of floats has no steps; leave the tolerance out";
            return Err(Error::invalid(why).with("axis", axis));
        }
        let count = i128::from(self.count);
        let Some(unit) = self.unit else { return Ok(count) };
        let refuse = |why: &str| {
            Error::invalid(why)
                .with("tolerance", format!("{} {}", self.count, unit.code()))
                .with("axis", axis)
        };
        let (of_axis, multiple) = match axis {
            DType::DateTime(unit, multiple) | DType::TimeDelta(Some(unit), multiple) => {
                (unit, multiple)
            }
            _ => {
                return Err(refuse(
                    "the tolerance is a duration, but the axis is not a time; give a number of \
                     steps",
                ));
            }
        };
        let months = |unit: CalendarUnit| match unit {
            CalendarUnit::Year => Some(12),
            CalendarUnit::Month => Some(1),
            _ => None,
        };
        let (length, step) = match (unit.attoseconds(), of_axis.attoseconds()) {
            (Some(length), Some(step)) => (length, step),
            _ => months(unit).zip(months(of_axis)).ok_or_else(|| {
                refuse("months and years have no fixed length in other units; give days instead")
            })?,
        };
        // A length beyond the range of i128 exceeds any axis, so that it may saturate.
        Ok(count.saturating_mul(length) / (step * i128::from(multiple).max(1)).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(tolerance: Tolerance, axis: &str) -> Option<i128> {
        tolerance.in_steps_of(DType::parse(axis).unwrap().0).ok()
    }

    #[test]
    fn durations_in_steps_of_the_axis() {
        let seconds = |count| Tolerance::duration(count, CalendarUnit::Second);
        assert_eq!(steps(seconds(2), "<M8[ms]"), Some(2000));
        assert_eq!(steps(seconds(2), "<M8[25us]"), Some(80_000));
        assert_eq!(steps(seconds(86_399), "<M8[D]"), Some(0));
        assert_eq!(steps(seconds(86_400), "<m8[D]"), Some(1));
        assert_eq!(steps(seconds(1), "<M8[M]"), None);
        assert_eq!(steps(seconds(1), "<i8"), None);
        assert_eq!(steps(Tolerance::duration(3, CalendarUnit::Year), "<M8[M]"), Some(36));
        assert_eq!(steps(Tolerance::steps(7), "<i8"), Some(7));
        assert!(steps(seconds(u64::MAX), "<M8[as]").unwrap() > i128::from(i64::MAX));
    }
}
