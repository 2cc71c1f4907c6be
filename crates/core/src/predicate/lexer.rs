//! The tokens of a predicate's text.

use std::ops::Range;

use super::caret::Fault;
use super::literal::Literal;
use super::{CompareOp, iso8601};

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A keyword, an unquoted column name, or a word for a number such as `nan`.
    Word(String),
    /// A column name in backticks.
    Column(String),
    /// Anything that can only be a value.
    Value(Literal),
    Compare(CompareOp),
    And,
    Or,
    Not,
    /// `(` or `[`, represented by its closing counterpart.
    Open(char),
    Close(char),
    Comma,
    End,
}

/// Splits a text into tokens, one at a time, so that memory does not grow with the text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

type Found<T> = Result<T, Fault>;

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and its byte range.
    pub(crate) fn next(&mut self) -> Found<(Token, Range<usize>)> {
        self.take_while(char::is_whitespace);
        let start = self.at;
        let Some(first) = self.peek() else { return Ok((Token::End, start..start)) };
        let token = match first {
            '\'' | '"' => Token::Value(Literal::String(self.quoted(first)?)),
            '`' => Token::Column(self.backticks()?),
            '0'..='9' | '.' | '+' | '-' => Token::Value(self.number()?),
            c if c == '_' || c.is_alphabetic() => self.word()?,
            _ => self.symbol()?,
        };
        Ok((token, start..self.at))
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = rest.get(..rest.find(|c| !keep(c)).unwrap_or(rest.len())).unwrap_or("");
        self.at += taken.len();
        taken
    }

    fn symbol(&mut self) -> Found<Token> {
        const SYMBOLS: [(&str, Token); 18] = [
            ("==", Token::Compare(CompareOp::Eq)),
            ("!=", Token::Compare(CompareOp::Ne)),
            ("<>", Token::Compare(CompareOp::Ne)),
            ("<=", Token::Compare(CompareOp::Le)),
            (">=", Token::Compare(CompareOp::Ge)),
            ("&&", Token::And),
            ("||", Token::Or),
            ("=", Token::Compare(CompareOp::Eq)),
            ("<", Token::Compare(CompareOp::Lt)),
            (">", Token::Compare(CompareOp::Gt)),
            ("!", Token::Not),
            ("~", Token::Not),
            ("&", Token::And),
            ("|", Token::Or),
            ("(", Token::Open(')')),
            ("[", Token::Open(']')),
            (")", Token::Close(')')),
            ("]", Token::Close(']')),
        ];
        let rest = self.rest();
        if let Some((symbol, token)) = SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol)) {
            self.at += symbol.len();
            return Ok(token.clone());
        }
        let start = self.at;
        match self.bump() {
            Some(',') => Ok(Token::Comma),
            Some(c) => Err(Fault::new(start..self.at, format!("{c:?} means nothing here"))),
            None => Ok(Token::End),
        }
    }

    /// The rest of a path to a struct field, `address.city`, after its first word.
    fn path(&mut self, first: &str) -> Option<String> {
        let mut path = first.to_owned();
        loop {
            let mut next = self.rest().chars();
            let begins = |c: char| c == '_' || c.is_alphabetic();
            if next.next() != Some('.') || !next.next().is_some_and(begins) {
                return (path.len() > first.len()).then_some(path);
            }
            self.bump();
            path.push('.');
            path.push_str(self.take_while(|c| c == '_' || c.is_alphanumeric()));
        }
    }

    /// A word, or a tagged value: `date'2020-01-01'`.
    fn word(&mut self) -> Found<Token> {
        let start = self.at;
        let word = self.take_while(|c| c == '_' || c.is_alphanumeric());
        if let Some(path) = self.path(word) {
            return Ok(Token::Column(path));
        }
        let Some(quote @ ('\'' | '"')) = self.peek() else { return Ok(Token::Word(word.into())) };
        let read: fn(&str) -> Option<Literal> = match word.to_ascii_lowercase().as_str() {
            "date" => read_date,
            "timestamp" => read_timestamp,
            "decimal" => read_decimal,
            "x" => read_hex,
            _ => return Ok(Token::Word(word.into())),
        };
        let text = self.quoted(quote)?;
        let value = read(&text).ok_or_else(|| {
            let example = match word.to_ascii_lowercase().as_str() {
                "date" => "a date such as date'2020-01-31'",
                "timestamp" => "a timestamp such as timestamp'2020-01-31T12:00:00Z'",
                "decimal" => "a decimal such as decimal'1.10'",
                _ => "bytes such as x'00ff'",
            };
            Fault::new(start..self.at, format!("this is not {example}"))
        })?;
        Ok(Token::Value(value))
    }

    fn backticks(&mut self) -> Found<String> {
        let start = self.at;
        self.bump();
        let mut name = String::new();
        loop {
            name.push_str(self.take_while(|c| c != '`'));
            if self.bump().is_none() {
                return Err(Fault::new(start..start + 1, "this column name is not closed"));
            }
            if self.peek() != Some('`') {
                return Ok(name);
            }
            self.bump();
            name.push('`');
        }
    }

    /// Text between two `quote` characters; a quote inside is doubled or escaped by a backslash.
    fn quoted(&mut self, quote: char) -> Found<String> {
        let start = self.at;
        self.bump();
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|c| c != quote && c != '\\'));
            match self.bump() {
                None => return Err(Fault::new(start..start + 1, "this text is not closed")),
                Some('\\') => text.push(self.escape()?),
                Some(_) if self.peek() == Some(quote) => {
                    self.bump();
                    text.push(quote);
                }
                Some(_) => return Ok(text),
            }
        }
    }

    fn escape(&mut self) -> Found<char> {
        let start = self.at - 1;
        let escaped = match self.bump() {
            Some(c @ ('\\' | '\'' | '"' | '`')) => Some(c),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('0') => Some('\0'),
            Some('x') => self.hexadecimal(2),
            Some('u') if self.peek() == Some('{') => {
                self.bump();
                let digits = self.take_while(|c| c != '}' && c.is_ascii_hexdigit());
                let closed = self.bump() == Some('}');
                let code = u32::from_str_radix(digits, 16).ok();
                code.filter(|_| closed).and_then(char::from_u32)
            }
            Some('u') => self.hexadecimal(4),
            _ => None,
        };
        escaped.ok_or_else(|| {
            Fault::new(start..self.at, "unknown escape; write a backslash itself as \\\\")
        })
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<char> {
        let taken = self.rest().get(..digits)?;
        if !taken.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.at += digits;
        char::from_u32(u32::from_str_radix(taken, 16).ok()?)
    }

    fn number(&mut self) -> Found<Literal> {
        let start = self.at;
        let sign = if matches!(self.peek(), Some('+' | '-')) { self.bump() } else { None };
        let digit = |c: char| c.is_ascii_digit() || c == '_';
        let mut is_float = false;
        if sign.is_some() && self.peek().is_some_and(char::is_alphabetic) {
            let word = self.take_while(char::is_alphanumeric);
            let value = float_word(word).ok_or_else(|| not_a_number(start..self.at))?;
            return Ok(Literal::Float(if sign == Some('-') { -value } else { value }));
        }
        self.take_while(digit);
        if self.peek() == Some('.') {
            is_float = true;
            self.bump();
            self.take_while(digit);
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            is_float = true;
            self.bump();
            if matches!(self.peek(), Some('+' | '-')) {
                self.bump();
            }
            self.take_while(digit);
        }
        self.take_while(|c| c == '_' || c == '.' || c.is_alphanumeric());
        let span = start..self.at;
        let digits = self.text.get(span.clone()).unwrap_or("").replace('_', "");
        if is_float {
            let value: f64 = digits.parse().map_err(|_| not_a_number(span.clone()))?;
            if value.is_infinite() {
                return Err(Fault::new(span, "this number is too large for a float"));
            }
            return Ok(Literal::Float(value));
        }
        if !digits.trim_start_matches(['+', '-']).bytes().all(|b| b.is_ascii_digit()) {
            return Err(not_a_number(span));
        }
        digits.parse().map(Literal::Int).map_err(|error: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            match error.kind() {
                NegOverflow | PosOverflow => Fault::new(span, "this integer is too large"),
                _ => not_a_number(span),
            }
        })
    }
}

fn not_a_number(at: Range<usize>) -> Fault {
    Fault::new(at, "this is not a number; put text in quotes")
}

/// `nan`, `inf` and `infinity` in any case.
pub(crate) fn float_word(word: &str) -> Option<f64> {
    match word.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "infinity" => Some(f64::INFINITY),
        _ => None,
    }
}

fn read_date(text: &str) -> Option<Literal> {
    if let Some(days) = text.strip_prefix('@') {
        return days.parse().ok().map(Literal::Date);
    }
    iso8601::parse_date(text).map(Literal::Date)
}

fn read_timestamp(text: &str) -> Option<Literal> {
    let (nanos, utc) = match text.strip_prefix('@') {
        Some(count) => {
            let digits = count.strip_suffix('Z');
            (digits.unwrap_or(count).parse().ok()?, digits.is_some())
        }
        None => iso8601::parse_timestamp(text)?,
    };
    Some(Literal::Timestamp { nanos, utc })
}

fn read_decimal(text: &str) -> Option<Literal> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value = format!("{whole}{fraction}").parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    Some(Literal::Decimal { value, scale: i8::try_from(scale).ok()? })
}

fn read_hex(text: &str) -> Option<Literal> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    let bytes = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d));
    Some(Literal::Binary(bytes.collect()))
}
