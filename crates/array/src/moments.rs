//! Conditions on numbers that count times: moments of their calendar become numbers.

use partita_core::partition::{Calendar, CalendarUnit};
use partita_core::predicate::{CompareOp, Literal};
use partita_core::{Error, ErrorKind, Predicate, Result};

use crate::dataset::{Array, Schema, VariableSchema};
use crate::encoded_time::EncodedTime;

/// The predicate with numbers in place of the moments that such variables are compared with.
/// Missing times, which the fill value stands for, are never selected by a moment.
///
/// # Errors
/// [`InvalidPredicate`](ErrorKind::InvalidPredicate) for a text that is no moment of the calendar.
pub(crate) fn counted(predicate: &Predicate, schema: &Schema) -> Result<Predicate> {
    let all = |parts: &[Predicate]| -> Result<Vec<Predicate>> {
        parts.iter().map(|part| counted(part, schema)).collect()
    };
    let variable = |column: &str| {
        let found = schema.variable(column)?;
        Some((found, EncodedTime::of(found)?))
    };
    Ok(match predicate {
        Predicate::And(parts) => Predicate::And(all(parts)?),
        Predicate::Or(parts) => Predicate::Or(all(parts)?),
        Predicate::Not(inner) => Predicate::Not(Box::new(counted(inner, schema)?)),
        Predicate::Compare { column, op, value } if is_moment(value) => {
            let Some((variable, time)) = variable(column) else { return Ok(predicate.clone()) };
            let value = number(column, variable, time, value)?;
            let compared = Predicate::Compare { column: column.clone(), op: *op, value };
            known(column, variable, compared)
        }
        Predicate::In { column, values, negated } if values.iter().any(is_moment) => {
            let Some((variable, time)) = variable(column) else { return Ok(predicate.clone()) };
            let value = |value: &Literal| match is_moment(value) {
                true => number(column, variable, time, value),
                false => Ok(value.clone()),
            };
            let values = values.iter().map(value).collect::<Result<_>>()?;
            let found = Predicate::In { column: column.clone(), values, negated: *negated };
            known(column, variable, found)
        }
        other => other.clone(),
    })
}

fn is_moment(literal: &Literal) -> bool {
    matches!(literal, Literal::String(_) | Literal::Date(_) | Literal::Timestamp { .. })
}

/// The condition, for numbers that do not stand for a missing time.
fn known(column: &str, variable: &VariableSchema, condition: Predicate) -> Predicate {
    let fill = variable.fill.as_ref().and_then(|fill| {
        Array::from_bytes(variable.dtype, vec![1], fill.item()).ok()?.integers()?.first().copied()
    });
    let Some(fill) = fill else { return condition };
    let not_missing = Predicate::Compare {
        column: column.to_owned(),
        op: CompareOp::Ne,
        value: Literal::Int(fill),
    };
    Predicate::And(vec![condition, not_missing])
}

fn number(
    column: &str,
    variable: &VariableSchema,
    time: EncodedTime,
    literal: &Literal,
) -> Result<Literal> {
    let text = match literal {
        Literal::String(text) => text.clone(),
        Literal::Date(days) => civil(i128::from(*days) * 86_400 * 1_000_000_000),
        Literal::Timestamp { nanos, .. } => civil(*nanos),
        other => return Ok(other.clone()),
    };
    let moment = time.moment(&text).ok_or_else(|| {
        let message = format!(
            "the text is no moment of the calendar {}; write year-month-day, such as 2001-01-31, \
             and the time behind it, such as 2001-01-31T12:00",
            time.calendar()
        );
        Error::new(ErrorKind::InvalidPredicate, message).with("column", column).with("value", &text)
    })?;
    Ok(match time.count(moment) {
        (whole, 0.0) => Literal::Int(whole),
        // Between two integers, where is all the same.
        (whole, _) if variable.dtype.is_integer() => {
            Literal::Decimal { value: whole * 10 + 5, scale: 1 }
        }
        (whole, fraction) => Literal::Float(whole as f64 + fraction),
    })
}

/// The date and time of an instant, without its calendar.
fn civil(nanos: i128) -> String {
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let at = Calendar::of(seconds, 1, CalendarUnit::Second);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{nanos:09}",
        at.year, at.month, at.day, at.hour, at.minute, at.second
    )
}
