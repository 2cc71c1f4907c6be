//! Colours. Whoever prints strips them where the output is no terminal or `NO_COLOR` is set.

use anstyle::{AnsiColor, Style};
use clap::builder::styling::Styles;

/// The heading of a table, and the title of a section.
pub(crate) const HEADING: Style = Style::new().bold();
/// The name of a fact.
pub(crate) const LABEL: Style = AnsiColor::Cyan.on_default();
/// Something that can be typed.
pub(crate) const LITERAL: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What to do about it.
pub(crate) const HINT: Style = AnsiColor::Yellow.on_default().bold();

/// The same for the help that clap writes.
pub(crate) const HELP: Styles = Styles::styled()
    .header(HEADING)
    .usage(HEADING)
    .literal(LITERAL)
    .placeholder(LABEL)
    .error(ERROR);

/// Text in a style.
pub(crate) fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Facts about one thing, one a line: name and value.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let line = |(name, value): (&str, String)| {
        format!("{}{value}\n", painted(LABEL, &format!("{name:<16}")))
    };
    facts.into_iter().map(line).collect()
}
