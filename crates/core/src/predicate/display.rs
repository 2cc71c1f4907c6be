//! The text form of predicates and literals, which the parser reads back.

use std::fmt::{self, Display, Formatter, Write as _};

use super::{Literal, Predicate, iso8601, parser};

impl Display for Predicate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always(value) => write!(f, "{value}"),
            Self::Compare { column, op, value } => {
                write!(f, "{} {} {value}", Name(column), op.symbol())
            }
            Self::In { column, values, negated } => {
                write!(f, "{} {}in (", Name(column), if *negated { "not " } else { "" })?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_char(')')
            }
            Self::Contains { column, value } => write!(f, "{value} in {}", Name(column)),
            Self::IsNull { column, negated } => {
                write!(f, "{} is {}null", Name(column), if *negated { "not " } else { "" })
            }
            Self::And(parts) => joined(f, parts, "and", "true"),
            Self::Or(parts) => joined(f, parts, "or", "false"),
            Self::Not(inner) => {
                f.write_str("not ")?;
                operand(f, inner)
            }
        }
    }
}

fn joined(f: &mut Formatter<'_>, parts: &[Predicate], word: &str, none: &str) -> fmt::Result {
    match parts {
        [] => f.write_str(none),
        [one] => one.fmt(f),
        _ => {
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    write!(f, " {word} ")?;
                }
                operand(f, part)?;
            }
            Ok(())
        }
    }
}

/// Writes a part, in parentheses if its own operator binds less tightly.
fn operand(f: &mut Formatter<'_>, part: &Predicate) -> fmt::Result {
    match part {
        Predicate::And(parts) | Predicate::Or(parts) => match parts.as_slice() {
            [one] => operand(f, one),
            [] => part.fmt(f),
            _ => write!(f, "({part})"),
        },
        _ => part.fmt(f),
    }
}

/// A column name, in backticks if the parser would not read it as a name.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if parser::is_plain_name(self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "`{}`", self.0.replace('`', "``"))
        }
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) if value.is_nan() => f.write_str("nan"),
            // The debug form keeps the decimal point or the exponent that marks a float.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::String(text) => quoted(f, text),
            Self::Binary(bytes) => {
                f.write_str("x'")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_char('\'')
            }
            Self::Date(days) => match iso8601::format_date(*days) {
                Some(text) => write!(f, "date'{text}'"),
                None => write!(f, "date'@{days}'"),
            },
            Self::Timestamp { nanos, utc } => match iso8601::format_timestamp(*nanos, *utc) {
                Some(text) => write!(f, "timestamp'{text}'"),
                None => write!(f, "timestamp'@{nanos}{}'", if *utc { "Z" } else { "" }),
            },
            Self::Decimal { value, scale } => decimal(f, *value, *scale),
        }
    }
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('\'')?;
    for c in text.chars() {
        match c {
            '\'' => f.write_str("\\'")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('\'')
}

fn decimal(f: &mut Formatter<'_>, value: i128, scale: i8) -> fmt::Result {
    let Some(places) = usize::try_from(scale).ok().filter(|places| *places > 0) else {
        return match scale {
            0 => write!(f, "decimal'{value}'"),
            _ => write!(f, "decimal'{value}e{}'", -i16::from(scale)),
        };
    };
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at_checked(digits.len() - places).unwrap_or((&digits, ""));
    write!(f, "decimal'{sign}{whole}.{fraction}'")
}
