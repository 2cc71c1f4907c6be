//! The text form of predicates: a recursive-descent parser over tokens.
//!
//! ```text
//! any     = all { ("or" | "||" | "|") all }
//! all     = not { ("and" | "&&" | "&") not }
//! not     = { "not" | "!" | "~" } one
//! one     = "(" any ")" | "true" | "false"
//!         | column op value | value op column [op value]
//!         | column ["not"] "in" ("(" | "[") [value { "," value }] (")" | "]")
//!         | column "is" ["not"] "null"
//! op      = "==" | "=" | "!=" | "<>" | "<" | "<=" | ">" | ">="
//! column  = a word | anything in backticks
//! value   = 1 | 1.5 | nan | inf | 'text' | "text" | true | false | null
//!         | date'2020-01-31' | timestamp'2020-01-31T12:00Z' | decimal'1.10' | x'00ff'
//! ```

use std::ops::Range;

use super::caret::Fault;
use super::lexer::{Lexer, Token, float_word};
use super::{Literal, Predicate};
use crate::Result;

/// The maximum length of a text in bytes: enough for some hundred thousand literals.
const MAX_LENGTH: usize = 16 << 20;
/// The maximum nesting of parentheses and negations.
const MAX_DEPTH: usize = 100;

const KEYWORDS: [&str; 9] = ["and", "or", "not", "in", "is", "null", "none", "true", "false"];

impl Predicate {
    /// Reads the text form: `city == 'Oslo' and fare > 10 or id not in (1, 2) and x is not null`.
    ///
    /// Keywords are read in any case; `=`, `<>`, `&&`, `||`, `!`, `&`, `|`, `~`, `none` and `[1, 2]`
    /// are understood too. Text stands in single or double quotes (inside, a quote is doubled or
    /// follows a backslash), a column name that is not a plain word in backticks. Dates and
    /// timestamps are written as text.
    ///
    /// # Errors
    /// [`InvalidPredicate`](crate::ErrorKind::InvalidPredicate), with a line that points at the
    /// offending part, if the text is no predicate, longer than 16 MiB or nested deeper than 100.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_LENGTH {
            let end = text.char_indices().nth(1).map_or(0, |(at, _)| at);
            let message = format!("a predicate may not be longer than {MAX_LENGTH} bytes");
            return Err(Fault::new(0..end, message).into_error(text));
        }
        parse(text).map_err(|fault| fault.into_error(text))
    }
}

/// True if `name` is read as a column without backticks.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic())
        && chars.all(|c| c == '_' || c.is_alphanumeric())
        && !is_keyword(name)
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

fn parse(text: &str) -> Parsed<Predicate> {
    let mut parser = Parser::new(text)?;
    if parser.token == Token::End {
        return Err(parser.fault("a predicate is missing, such as city == 'Oslo'"));
    }
    let predicate = parser.any()?;
    match &parser.token {
        Token::End => Ok(predicate),
        Token::Close(_) => Err(parser.fault("this closes nothing")),
        _ => Err(parser.fault("expected `and`, `or` or the end")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    at: Range<usize>,
    depth: usize,
}

type Parsed<T> = std::result::Result<T, Fault>;

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parsed<Self> {
        let mut lexer = Lexer::new(text);
        let (token, at) = lexer.next()?;
        Ok(Self { lexer, token, at, depth: 0 })
    }

    fn advance(&mut self) -> Parsed<Token> {
        let (token, at) = self.lexer.next()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.at.clone(), message)
    }

    fn is_word(&self, keyword: &str) -> bool {
        matches!(&self.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Consumes `keyword` if it is the next token.
    fn eat(&mut self, keyword: &str) -> Parsed<bool> {
        let found = self.is_word(keyword);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn any(&mut self) -> Parsed<Predicate> {
        let mut parts = vec![self.all()?];
        while self.token == Token::Or || self.is_word("or") {
            self.advance()?;
            parts.push(self.all()?);
        }
        Ok(single(parts).unwrap_or_else(Predicate::Or))
    }

    fn all(&mut self) -> Parsed<Predicate> {
        let mut parts = vec![self.not()?];
        while self.token == Token::And || self.is_word("and") {
            self.advance()?;
            parts.push(self.not()?);
        }
        Ok(single(parts).unwrap_or_else(Predicate::And))
    }

    fn not(&mut self) -> Parsed<Predicate> {
        if self.token == Token::Not || self.is_word("not") {
            return self.nested(|parser| Ok(Predicate::Not(Box::new(parser.not()?))));
        }
        self.one()
    }

    /// Consumes the token that opens a nested level and parses that level.
    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<Predicate>) -> Parsed<Predicate> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        self.advance()?;
        let predicate = inner(self)?;
        self.depth -= 1;
        Ok(predicate)
    }

    fn one(&mut self) -> Parsed<Predicate> {
        match &self.token {
            Token::Open(')') => {
                let opened = self.at.clone();
                self.nested(|parser| {
                    let predicate = parser.any()?;
                    parser.close(')', &opened)?;
                    Ok(predicate)
                })
            }
            Token::Word(word) if !is_keyword(word) => self.column_first(),
            Token::Column(_) => self.column_first(),
            Token::Value(_) => self.value_first(),
            Token::Word(word) if is_value_word(word) => self.value_first(),
            Token::End => Err(self.fault("a condition is missing at the end")),
            Token::Word(word) => {
                let message = format!(
                    "expected a condition, found `{word}`; a column of this name is written `{word}` in backticks"
                );
                Err(self.fault(message))
            }
            _ => Err(self.fault("expected a condition, such as city == 'Oslo'")),
        }
    }

    fn column(&mut self) -> Parsed<String> {
        match &self.token {
            Token::Word(word) if !is_keyword(word) => {}
            Token::Column(_) => {}
            _ => return Err(self.fault("expected a column")),
        }
        match self.advance()? {
            Token::Word(name) | Token::Column(name) => Ok(name),
            _ => Err(self.fault("expected a column")),
        }
    }

    fn column_first(&mut self) -> Parsed<Predicate> {
        let name_at = self.at.clone();
        let column = self.column()?;
        if let Token::Compare(op) = self.token {
            self.advance()?;
            let value = self.value(&format!("after `{}`", op.symbol()))?;
            return Ok(Predicate::Compare { column, op, value });
        }
        if self.eat("is")? {
            let negated = self.eat("not")?;
            if !self.is_word("null") && !self.is_word("none") {
                return Err(self.fault("expected `null` or `not null` after `is`"));
            }
            self.advance()?;
            return Ok(Predicate::IsNull { column, negated });
        }
        let negated = self.eat("not")?;
        if self.eat("in")? {
            return Ok(Predicate::In { column, values: self.list()?, negated });
        }
        if negated {
            return Err(self.fault("expected `in` after `not`"));
        }
        match &self.token {
            Token::End | Token::And | Token::Or | Token::Close(_) => Err(Fault::new(
                name_at,
                "a column alone is no condition; compare it with a value, such as == true",
            )),
            _ => {
                Err(self.fault("expected an operator (==, !=, <, <=, >, >=, in, not in, is null)"))
            }
        }
    }

    /// `3 < x`, `3 < x <= 5`, `3 in x`, `3 not in x`, and the constants.
    fn value_first(&mut self) -> Parsed<Predicate> {
        let value_at = self.at.clone();
        let value = self.value("")?;
        let negated = self.eat("not")?;
        if self.eat("in")? {
            let contains = Predicate::Contains { column: self.column()?, value };
            return Ok(if negated { !contains } else { contains });
        }
        if negated {
            return Err(self.fault("expected `in` after `not`"));
        }
        let Token::Compare(op) = self.token else {
            return match value {
                Literal::Bool(constant) => Ok(Predicate::Always(constant)),
                Literal::String(_) => Err(Fault::new(
                    value_at,
                    "a text alone is no condition; a column is written plain or in `backticks`",
                )),
                _ => Err(Fault::new(value_at, "a value alone is no condition")),
            };
        };
        self.advance()?;
        if matches!(value, Literal::String(_)) && matches!(self.token, Token::Value(_)) {
            let message = "a column is written plain or in `backticks`; quotes make it a text";
            return Err(Fault::new(value_at, message));
        }
        let column = self.column()?;
        let first = Predicate::Compare { column: column.clone(), op: op.flipped(), value };
        let Token::Compare(op) = self.token else { return Ok(first) };
        self.advance()?;
        let value = self.value(&format!("after `{}`", op.symbol()))?;
        Ok(Predicate::And(vec![first, Predicate::Compare { column, op, value }]))
    }

    fn list(&mut self) -> Parsed<Vec<Literal>> {
        let Token::Open(closing) = self.token else {
            return Err(self.fault("expected a list after `in`, such as (1, 2)"));
        };
        let opened = self.at.clone();
        self.advance()?;
        let mut values = Vec::new();
        while !matches!(self.token, Token::Close(_)) {
            if self.token == Token::End {
                return Err(Fault::new(opened, "this list is not closed"));
            }
            values.push(self.value("in the list")?);
            if self.token == Token::Comma {
                self.advance()?;
            } else if !matches!(self.token, Token::Close(_) | Token::End) {
                return Err(self.fault("expected `,` or the end of the list"));
            }
        }
        self.close(closing, &opened)?;
        Ok(values)
    }

    fn close(&mut self, closing: char, opened: &Range<usize>) -> Parsed<()> {
        match &self.token {
            Token::Close(found) if *found == closing => self.advance().map(drop),
            Token::Close(_) => Err(self.fault(format!("expected `{closing}` here"))),
            Token::End => Err(Fault::new(opened.clone(), "this parenthesis is not closed")),
            _ => Err(self.fault(format!("expected `and`, `or` or `{closing}`"))),
        }
    }

    fn value(&mut self, place: &str) -> Parsed<Literal> {
        let value = match &self.token {
            Token::Value(_) => None,
            Token::Word(word) => Some(word_value(word).ok_or_else(|| self.no_value(word))?),
            Token::Column(_) => {
                return Err(self.fault("expected a value; columns cannot be compared with columns"));
            }
            Token::End => return Err(self.fault(format!("a value is missing {place}"))),
            _ => return Err(self.fault(format!("expected a value {place}"))),
        };
        match (value, self.advance()?) {
            (Some(value), _) | (None, Token::Value(value)) => Ok(value),
            _ => Err(self.fault("expected a value")),
        }
    }

    fn no_value(&self, word: &str) -> Fault {
        if is_keyword(word) {
            return self.fault(format!("expected a value, found `{word}`"));
        }
        self.fault(format!("expected a value; put text in quotes: '{word}'"))
    }
}

fn single(mut parts: Vec<Predicate>) -> std::result::Result<Predicate, Vec<Predicate>> {
    match (parts.pop(), parts.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            parts.push(last);
            Err(parts)
        }
        (None, _) => Err(parts),
    }
}

fn is_value_word(word: &str) -> bool {
    ["true", "false", "null", "none"].iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn word_value(word: &str) -> Option<Literal> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Some(Literal::Bool(true)),
        "false" => Some(Literal::Bool(false)),
        "null" | "none" => Some(Literal::Null),
        _ => float_word(word).map(Literal::Float),
    }
}

#[cfg(test)]
mod tests;
