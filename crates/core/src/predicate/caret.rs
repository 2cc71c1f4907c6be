//! Errors that point at the offending part of a text.

use std::fmt::Write as _;
use std::ops::Range;

use crate::{Error, ErrorKind};

/// The number of characters of a long text that are shown on either side of the fault.
const SHOWN: usize = 48;

/// A syntax error: a message and the range of bytes that it is about.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) at: Range<usize>,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// Formats the error: the message, the line of `text`, and carets under the fault.
    pub(crate) fn into_error(self, text: &str) -> Error {
        let start = self.at.start.min(text.len());
        let line_start = text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
        let rest = text.get(line_start..).unwrap_or("");
        let line = rest.split('\n').next().unwrap_or("");
        let before = line.get(..start - line_start).unwrap_or(line);
        let fault = line.get(before.len()..).unwrap_or("");
        let wide = self.at.end.saturating_sub(start);
        let marked = fault.char_indices().take_while(|(at, _)| *at < wide).count();

        let skipped = before.chars().count().saturating_sub(SHOWN);
        let mut shown = String::from(if skipped > 0 { "…" } else { "" });
        shown.extend(before.chars().skip(skipped).map(plain));
        let indent = shown.chars().count();
        shown.extend(fault.chars().take(SHOWN).map(plain));
        if fault.chars().nth(SHOWN).is_some() {
            shown.push('…');
        }
        let mut message = self.message;
        let carets = "^".repeat(marked.clamp(1, SHOWN));
        // Writing to a String cannot fail.
        let _ = write!(message, "\n  {shown}\n  {:indent$}{carets}", "");
        Error::new(ErrorKind::InvalidPredicate, message)
    }
}

/// Replaces characters that would shift the carets by spaces.
fn plain(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str, at: Range<usize>) -> String {
        Fault::new(at, "wrong").into_error(text).to_string()
    }

    #[test]
    fn points_at_the_part() {
        assert_eq!(message("a == b", 5..6), "wrong\n  a == b\n       ^");
        assert_eq!(message("ü == b\nc ? d", 10..11), "wrong\n  c ? d\n    ^");
        assert_eq!(message("a ==", 4..4), "wrong\n  a ==\n      ^");
        assert_eq!(message("", 0..0), "wrong\n  \n  ^");
    }

    #[test]
    fn long_texts_are_cut() {
        let text = format!("{} ? {}", "a".repeat(200), "b".repeat(200));
        let message = message(&text, 201..202);
        let longest = message.lines().map(|line| line.chars().count()).max();
        assert!(longest < Some(110), "{message}");
        assert!(message.contains("…"));
    }
}
