//! Colours. Printing strips them if the output is not a terminal or `NO_COLOR` is set.

use anstyle::{AnsiColor, Style};
use clap::builder::styling::Styles;

/// Headings of tables and titles of sections.
pub(crate) const HEADING: Style = Style::new().bold();
/// Labels of values.
pub(crate) const LABEL: Style = AnsiColor::Cyan.on_default();
/// Text that can be typed.
pub(crate) const LITERAL: Style = AnsiColor::Green.on_default();
/// Error messages.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Hints on what to do.
pub(crate) const HINT: Style = AnsiColor::Yellow.on_default().bold();

/// The same styles for clap's help.
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

/// Labelled values, one per line.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let line = |(name, value): (&str, String)| {
        format!("{}{value}\n", painted(LABEL, &format!("{name:<16}")))
    };
    facts.into_iter().map(line).collect()
}
