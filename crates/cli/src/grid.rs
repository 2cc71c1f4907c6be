//! Formatting text tables for the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Row, Table, TableStyle};

use crate::style::{HEADING, painted};

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// For text.
    Left,
    /// For numbers.
    Right,
}

/// The maximum width of a cell; longer ones are cut.
const WIDEST: usize = 60;
/// The minimum width of a column if the terminal is too narrow for all columns.
const NARROWEST: usize = 8;
/// The space between two columns.
const GAP: usize = 2;

/// A table of text, as wide as its content requires, but at most as wide as the terminal.
#[derive(Debug)]
pub(crate) struct Grid {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// A grid with these headings.
    pub(crate) fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, Align)>) -> Self {
        let heading = |(name, align): (S, Align)| (shown(&name.into()), align);
        Self { columns: columns.into_iter().map(heading).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| shown(&cell)).collect());
    }

    /// The grid as text, headings first; fitted to the terminal if standard output is one.
    pub(crate) fn render(&self) -> String {
        let terminal = console::Term::stdout();
        let width = terminal.is_term().then(|| usize::from(terminal.size().1));
        self.within(width)
    }

    /// The grid as plain text for a file.
    pub(crate) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.within(None)).to_string()
    }

    /// The grid as text of at most this width. Cells are cut first, then columns are dropped from
    /// the right; the last column indicates this.
    fn within(&self, width: Option<usize>) -> String {
        let fitting = width.map_or(self.columns.len(), |width| self.fitting(width));
        let cut = fitting < self.columns.len();
        let mut table = Table::new();
        table.load_style(TableStyle::new()).set_truncation_indicator("…");
        if let Some(width) = width.and_then(|width| u16::try_from(width).ok()) {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        let line = |cells: Vec<&str>, beyond: &str| {
            let kept = cells.into_iter().take(fitting);
            let mut row = Row::from(kept.chain(cut.then_some(beyond)).collect::<Vec<_>>());
            row.max_height(1);
            row
        };
        let more = format!("{} more", self.columns.len() - fitting);
        table.set_header(line(self.columns.iter().map(|(name, _)| name.as_str()).collect(), &more));
        for row in &self.rows {
            table.add_row(line(row.iter().map(String::as_str).collect(), "…"));
        }
        for (column, (_, align)) in table.column_iter_mut().zip(&self.columns) {
            column.set_padding((0, GAP as u16));
            if *align == Align::Right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let text = table.trim_fmt();
        let (heading, rows) = text.split_once('\n').unwrap_or((&text, ""));
        let mut shown = painted(HEADING, heading);
        shown.push('\n');
        for row in rows.lines() {
            shown.push_str(row.trim_end());
            shown.push('\n');
        }
        shown
    }

    /// The number of columns that fit, from the left.
    fn fitting(&self, width: usize) -> usize {
        let least = |at: usize| {
            let heading = self.columns.get(at).map(|(name, _)| name.as_str());
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(String::as_str);
            let widest = heading.into_iter().chain(cells).map(console::measure_text_width).max();
            widest.unwrap_or(0).min(NARROWEST) + GAP
        };
        let total: usize = (0..self.columns.len()).map(least).sum();
        if total <= width {
            return self.columns.len();
        }
        let mut left = width.saturating_sub("99 more".len());
        let fits = |at: &usize| {
            let fits = least(*at) <= left;
            left = left.saturating_sub(least(*at));
            fits
        };
        (0..self.columns.len()).take_while(fits).count().max(1)
    }
}

/// A cell on one line: control characters are escaped, and very long text is cut.
fn shown(cell: &str) -> String {
    let escaped: String = cell
        .chars()
        .flat_map(|c| {
            let control = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            control.into_iter().flatten().chain(plain)
        })
        .collect();
    if escaped.chars().count() <= WIDEST {
        return escaped;
    }
    escaped.chars().take(WIDEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        console::strip_ansi_codes(text).into_owned()
    }

    fn wide() -> Grid {
        let mut grid = Grid::new((0..30).map(|n| (format!("column {n}"), Align::Left)));
        grid.row((0..30).map(|n| format!("a value of the column {n}")));
        grid
    }

    #[test]
    fn columns_line_up() {
        let mut grid = Grid::new([("name", Align::Left), ("n", Align::Right)]);
        grid.row(["é".to_owned(), "1".to_owned()]);
        grid.row(["longer".to_owned(), "23".to_owned()]);
        grid.row(["東京".to_owned(), "4".to_owned()]);
        assert_eq!(plain(&grid.within(None)), "name     n\né        1\nlonger  23\n東京     4\n");
    }

    #[test]
    fn a_grid_is_no_wider_than_the_terminal() {
        for width in [20, 40, 80, 200] {
            let text = plain(&wide().within(Some(width)));
            assert_eq!(text.lines().count(), 2, "{text}");
            for line in text.lines() {
                assert!(console::measure_text_width(line) <= width, "{width}: {line}");
            }
            assert!(text.contains("more"), "{text}");
        }
    }

    #[test]
    fn a_file_gets_everything() {
        let text = plain(&wide().within(None));
        assert!(text.contains("column 29") && text.contains("a value of the column 29"));
        assert!(!text.contains("more"));
    }

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        assert_eq!(shown("a\n\u{1b}[31mb"), "a\\n\\u{1b}[31mb");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), WIDEST);
        let grid = Grid::new([("a\n\u{1b}[31mb", Align::Left)]);
        assert_eq!(plain(&grid.within(None)), "a\\n\\u{1b}[31mb\n");
    }
}
