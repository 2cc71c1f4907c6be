//! The text of the condition that a view stores: an expression on the fields of keys that both
//! ZCollection, which evaluates it as Python, and Partita understand.

use partita_core::predicate::Literal;
use partita_core::{Error, ErrorKind, Predicate, Result};

use crate::layout::ViewConfig;

/// The text of a condition; none if it is true for all partitions.
pub(super) fn text(predicate: &Predicate) -> Result<Option<String>> {
    match predicate {
        Predicate::Always(true) => Ok(None),
        Predicate::And(parts) if parts.is_empty() => Ok(None),
        other => expression(other).map(Some),
    }
}

/// The condition that a view stores.
pub(super) fn stored(view: &ViewConfig) -> Result<Option<Predicate>> {
    let parse = |text: &String| {
        Predicate::parse(text).map_err(|error| {
            Error::new(
                ErrorKind::InvalidPredicate,
                "the view stores its condition as a Python expression that Partita does not \
                 support; sync it with another condition",
            )
            .with("condition", text)
            .caused_by(error)
        })
    };
    view.filter.as_ref().map(parse).transpose()
}

fn expression(predicate: &Predicate) -> Result<String> {
    let joined = |parts: &[Predicate], word: &str| {
        let parts: Vec<String> = parts.iter().map(operand).collect::<Result<_>>()?;
        Ok::<_, Error>(parts.join(word))
    };
    Ok(match predicate {
        Predicate::Always(true) => "True".to_owned(),
        Predicate::Always(false) => "False".to_owned(),
        Predicate::Compare { column, op, value } => {
            format!("{} {} {}", name(column)?, op.symbol(), integer(value)?)
        }
        Predicate::In { column, values, negated } => {
            let values: Vec<String> = values.iter().map(integer).collect::<Result<_>>()?;
            match (values.as_slice(), negated) {
                ([], true) => "True".to_owned(),
                ([], false) => "False".to_owned(),
                // One value in parentheses is not a tuple in Python.
                ([one], true) => format!("{} != {one}", name(column)?),
                ([one], false) => format!("{} == {one}", name(column)?),
                (many, true) => format!("{} not in ({})", name(column)?, many.join(", ")),
                (many, false) => format!("{} in ({})", name(column)?, many.join(", ")),
            }
        }
        Predicate::Contains { column, .. } => return Err(refused().with("field", column)),
        // Fields of keys are never null.
        Predicate::IsNull { negated: true, .. } => "True".to_owned(),
        Predicate::IsNull { negated: false, .. } => "False".to_owned(),
        Predicate::And(parts) if parts.is_empty() => "True".to_owned(),
        Predicate::Or(parts) if parts.is_empty() => "False".to_owned(),
        Predicate::And(parts) => joined(parts, " and ")?,
        Predicate::Or(parts) => joined(parts, " or ")?,
        Predicate::Not(inner) => format!("not {}", operand(inner)?),
    })
}

fn operand(part: &Predicate) -> Result<String> {
    let text = expression(part)?;
    Ok(match part {
        Predicate::And(_) | Predicate::Or(_) | Predicate::Not(_) => format!("({text})"),
        _ => text,
    })
}

fn name(column: &str) -> Result<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match column.chars().all(plain) {
        true => Ok(column),
        false => Err(refused().with("field", column)),
    }
}

fn integer(value: &Literal) -> Result<String> {
    match value {
        Literal::Int(value) => Ok(value.to_string()),
        other => Err(refused().with("value", other)),
    }
}

fn refused() -> Error {
    Error::new(
        ErrorKind::InvalidPredicate,
        "the condition of a view must compare fields of keys with integers",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_back() {
        for (given, stored) in [
            ("month == 1", "month == 1"),
            ("month in (1)", "month == 1"),
            ("month not in (1, 2) or not year < 2022", "month not in (1, 2) or year >= 2022"),
            (
                "year = 2022 and (month = 1 or month > 6)",
                "year == 2022 and (month == 1 or month > 6)",
            ),
        ] {
            let predicate = Predicate::parse(given).unwrap();
            let written = text(&predicate).unwrap().unwrap();
            let again = Predicate::parse(&written).unwrap();
            assert_eq!(text(&again).unwrap().as_deref(), Some(written.as_str()));
            if !given.contains("not year") {
                assert_eq!(written, stored);
            }
        }
        assert_eq!(text(&Predicate::Always(true)).unwrap(), None);
        assert_eq!(text(&Predicate::Always(false)).unwrap().as_deref(), Some("False"));
        assert_eq!(Predicate::parse("False").unwrap(), Predicate::Always(false));
        assert!(text(&Predicate::parse("month == 'January'").unwrap()).is_err());
    }
}
