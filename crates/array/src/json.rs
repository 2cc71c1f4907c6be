//! JSON as Python's `json` module reads and writes it, including the bare words for NaN and the
//! infinities, which occur in attributes of real collections.

use std::fmt::Write;

use indexmap::IndexMap;
use partita_core::{Error, Result};
use serde_json::{Number, Value};

/// A JSON value: the value of an attribute, or a whole document.
#[derive(Debug, Clone)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number without fraction or exponent.
    Int(i128),
    /// Any other number, NaN and the infinities included.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object; its keys keep their order.
    Map(IndexMap<String, Json>),
}

/// The attributes of a variable or a group.
pub type Attributes = IndexMap<String, Json>;

/// Equal values; NaN equals NaN, and the order of keys does not matter.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// On one line, with no space after `,` and `:`.
    Compact,
    /// One value per line, indented by this many spaces per level.
    Indented(usize),
}

/// The bare words that JSON does not have. While serde reads a document, each is replaced by a
/// string that begins with a character that no other string may begin with.
const WORDS: [(&str, f64); 3] =
    [("-Infinity", f64::NEG_INFINITY), ("Infinity", f64::INFINITY), ("NaN", f64::NAN)];
const MARK: char = '\u{fdd0}';

impl Json {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if it is not JSON in UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let corrupt = |error| Error::corrupt("the document is not valid JSON").caused_by(error);
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Error::corrupt("the document is not UTF-8").caused_by(error))?;
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(_) => serde_json::from_str(&with_words_marked(text)).map_err(corrupt)?,
        };
        Ok(Self::from_value(value))
    }

    fn from_value(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => Self::from_number(&number),
            Value::String(text) => {
                let word =
                    WORDS.into_iter().find(|(word, _)| text.strip_prefix(MARK) == Some(word));
                word.map_or(Self::Text(text), |(_, value)| Self::Float(value))
            }
            Value::Array(values) => Self::List(values.into_iter().map(Self::from_value).collect()),
            Value::Object(map) => {
                Self::Map(map.into_iter().map(|(key, v)| (key, Self::from_value(v))).collect())
            }
        }
    }

    fn from_number(number: &Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Self::Int(value.into()),
            (None, Some(value)) => Self::Int(value.into()),
            _ => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
        }
    }

    /// The document as Python writes it, with everything outside ASCII escaped.
    #[must_use]
    pub fn to_text(&self, style: Style) -> String {
        let mut out = String::new();
        self.write(&mut out, style, 0);
        out
    }

    fn write(&self, out: &mut String, style: Style, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(value) => push(out, format_args!("{value}")),
            Self::Float(value) if value.is_nan() => out.push_str("NaN"),
            Self::Float(value) if value.is_infinite() => {
                out.push_str(if *value > 0.0 { "Infinity" } else { "-Infinity" });
            }
            Self::Float(value) => push(out, format_args!("{value:?}")),
            Self::Text(text) => write_text(out, text),
            Self::List(values) => {
                write_items(out, style, depth, "[]", values, |out, value: &Self| {
                    value.write(out, style, depth + 1);
                });
            }
            Self::Map(map) => {
                write_items(out, style, depth, "{}", map, |out, (key, value): (&String, &Self)| {
                    write_text(out, key);
                    out.push_str(if style == Style::Compact { ":" } else { ": " });
                    value.write(out, style, depth + 1);
                });
            }
        }
    }

    /// The value under `key`, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number as a float; also the strings `NaN`, `Infinity` and `-Infinity`, which Zarr uses.
    #[must_use]
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => {
                WORDS.into_iter().find(|(word, _)| word == text).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }

    /// The members, if it is an object.
    #[must_use]
    pub fn as_map(&self) -> Option<&IndexMap<String, Self>> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// A list of integers.
    pub(crate) fn ints<T: TryInto<i128>>(values: impl IntoIterator<Item = T>) -> Self {
        let int = |value: T| value.try_into().map_or(Self::Null, Self::Int);
        Self::List(values.into_iter().map(int).collect())
    }

    /// A list of texts.
    pub(crate) fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> Self {
        Self::List(values.into_iter().map(|text| text.as_ref().into()).collect())
    }

    /// An object of the given members.
    pub(crate) fn map<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Map(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The same value for serde; floats that JSON does not have become the strings that Zarr uses
    /// for them.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => (*value as f64).into(),
            },
            Self::Float(value) => {
                Number::from_f64(*value).map_or_else(|| word_of(*value).into(), Value::Number)
            }
            Self::Text(text) => Value::String(text.clone()),
            Self::List(values) => values.iter().map(Self::to_value).collect(),
            Self::Map(map) => map.iter().map(|(key, v)| (key.clone(), v.to_value())).collect(),
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Int(value.into())
    }
}

/// Zarr's word for a float that JSON cannot represent.
pub(crate) fn word_of(value: f64) -> &'static str {
    let same = |(_, other): &(&str, f64)| *other == value;
    WORDS.into_iter().find(same).map_or("NaN", |(word, _)| word)
}

/// Returns the document with the bare words replaced by strings that begin with [`MARK`].
fn with_words_marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        if !quoted
            && let Some((word, _)) = WORDS.into_iter().find(|(word, _)| rest.starts_with(word))
        {
            push(&mut out, format_args!("\"{MARK}{word}\""));
            rest = rest.get(word.len()..).unwrap_or_default();
            continue;
        }
        let mut length = c.len_utf8();
        if quoted && c == '\\' {
            length += rest.chars().nth(1).map_or(0, char::len_utf8);
        } else if c == '"' {
            quoted = !quoted;
        }
        out.push_str(rest.get(..length).unwrap_or_default());
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

fn write_items<I: IntoIterator>(
    out: &mut String,
    style: Style,
    depth: usize,
    brackets: &str,
    items: I,
    mut write: impl FnMut(&mut String, I::Item),
) {
    let new_line = |out: &mut String, depth: usize| {
        if let Style::Indented(spaces) = style {
            push(out, format_args!("\n{:1$}", "", spaces * depth));
        }
    };
    let mut brackets = brackets.chars();
    out.extend(brackets.next());
    let mut empty = true;
    for item in items {
        if !empty {
            out.push(',');
        }
        empty = false;
        new_line(out, depth + 1);
        write(out, item);
    }
    if !empty {
        new_line(out, depth);
    }
    out.extend(brackets.next());
}

fn write_text(out: &mut String, text: &str) {
    let mut units = [0u16; 2];
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut units) {
                    push(out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_python_are_read_outside_of_text_only() {
        let text = r#"{"a": [NaN, -Infinity, Infinity], "NaN \" NaN": "NaN"}"#;
        let json = Json::parse(text.as_bytes()).unwrap();
        let floats = [f64::NAN, f64::NEG_INFINITY, f64::INFINITY].map(Json::Float).to_vec();
        assert_eq!(json.get("a"), Some(&Json::List(floats)));
        assert_eq!(json.get("NaN \" NaN").and_then(Json::as_text), Some("NaN"));
        let written = json.to_text(Style::Compact);
        assert_eq!(Json::parse(written.as_bytes()).unwrap(), json);
    }

    #[test]
    fn writes_what_python_writes() {
        let json = Json::map([
            ("a", Json::List(vec![Json::Int(1), Json::Float(1.0), "ü😀\n".into()])),
            ("b", Json::List(Vec::new())),
        ]);
        let expected = "{\n  \"a\": [\n    1,\n    1.0,\n    \"\\u00fc\\ud83d\\ude00\\n\"\n  ],\n  \
                        \"b\": []\n}";
        assert_eq!(json.to_text(Style::Indented(2)), expected);
    }

    #[test]
    fn what_is_no_json_is_corrupt() {
        for text in ["", "{", "NaNN", "[1,]", "{\"a\": nan}"] {
            assert!(Json::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Json::parse(&[b'"', 0xff, b'"']).is_err());
        assert!(Json::parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
