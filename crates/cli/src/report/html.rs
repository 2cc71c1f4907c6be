//! The parts of a page. Only this file and `picture` write markup, and both escape every text.

use std::fmt::Write as _;

/// The colours of the page in light and dark. Text has a contrast of 4.5 to its background, and
/// marks one of 3 (WCAG 2.1, AA), as in notebooks.
const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1f2328;--muted:#57606a;--back:#ffffff;--line:#d0d7de;\
--code:#eef1f5;--mark:#0b5cad;--empty:#e3e7ec}\
@media(prefers-color-scheme:dark){:root{--text:#e6edf3;--muted:#9da7b3;--back:#161b22;\
--line:#3d444d;--code:#262c36;--mark:#58a6ff;--empty:#2d333b}}\
body{color:var(--text);background:var(--back);font:14px/1.5 system-ui,sans-serif;margin:0}\
main{max-width:62em;margin:0 auto;padding:1.5em}\
h1{font-size:22px;margin:0 0 .6em}h2{font-size:17px;margin:1.6em 0 .4em;\
border-bottom:1px solid var(--line)}\
h1,td,th,p,figcaption{unicode-bidi:isolate;overflow-wrap:anywhere}\
.wide{overflow-x:auto}table{border-collapse:collapse}\
th,td{text-align:left;vertical-align:top;padding:.15em 1.4em .15em 0;font-weight:normal}\
th,figcaption{color:var(--muted)}\
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
code{background:var(--code);padding:.1em .35em;border-radius:3px}\
figure{margin:.8em 0}svg{display:block;max-width:100%}svg text{fill:var(--muted);font-size:11px}\
.mark{fill:var(--mark)}.empty{fill:var(--empty)}";

/// A cell of a table.
#[derive(Debug)]
pub(super) enum Cell {
    /// Running text.
    Text(String),
    /// A number, aligned to the right.
    Number(String),
    /// What can be typed, and the names of types.
    Code(String),
    /// A picture, which is markup already.
    Picture(String),
}

impl Cell {
    fn html(&self) -> String {
        match self {
            Self::Text(text) | Self::Number(text) => escaped(text),
            Self::Code(text) => code(text),
            Self::Picture(markup) => markup.clone(),
        }
    }

    /// The attribute of the cell and of the heading above it.
    fn class(&self) -> &'static str {
        if matches!(self, Self::Number(_)) { " class=\"number\"" } else { "" }
    }
}

/// A text as HTML, for elements and for attributes. Characters that HTML forbids are replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(character),
            control if control.is_control() => html.push(char::REPLACEMENT_CHARACTER),
            other => html.push(other),
        }
    }
    html
}

/// A whole page. It can load nothing from elsewhere and run no script, even if it were changed.
pub(super) fn page(title: &str, sections: &[String]) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n{}</main>\n</body>\n</html>\n",
        sections.concat(),
    )
}

/// A section with a heading; nothing if it has no content.
pub(super) fn section(title: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{}</h2>\n{content}</section>\n", escaped(title))
}

/// A paragraph of text.
pub(super) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escaped(text))
}

/// A paragraph that says what to do, and the command that does it.
pub(super) fn advice(text: &str, command: &str) -> String {
    format!("<p>{} {}</p>\n", escaped(text), code(command))
}

/// A text that can be typed.
fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

/// Names and values, one per line. Those without a value are left out.
pub(super) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut html = String::from("<table>\n");
    for (name, value) in facts {
        if !value.is_empty() {
            let (name, value) = (escaped(name), escaped(&value));
            let _ = writeln!(html, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
        }
    }
    html.push_str("</table>\n");
    html
}

/// A table with headings.
pub(super) fn grid(headings: &[&str], rows: &[Vec<Cell>]) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for (column, heading) in headings.iter().enumerate() {
        let class = rows.first().and_then(|row| row.get(column)).map_or("", Cell::class);
        let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escaped(heading));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let cells = row.iter().map(|cell| format!("<td{}>{}</td>", cell.class(), cell.html()));
        let _ = writeln!(html, "<tr>{}</tr>", cells.collect::<String>());
    }
    html.push_str("</tbody></table></div>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let evil = "<script>'\"&\u{0}\u{1b}";
        let safe = "&lt;script&gt;&#39;&quot;&amp;\u{fffd}\u{fffd}";
        assert_eq!(escaped(evil), safe);
        let cells = vec![
            Cell::Text(evil.to_owned()),
            Cell::Number(evil.to_owned()),
            Cell::Code(evil.to_owned()),
        ];
        let parts = [
            grid(&[evil], &[cells]),
            facts([(evil, evil.to_owned())]),
            paragraph(evil),
            advice(evil, evil),
            section(evil, "x"),
            page(evil, &[]),
        ];
        for part in parts {
            assert!(part.contains(safe) && !part.contains("<script"), "{part}");
        }
    }

    #[test]
    fn what_is_not_there_has_no_section_and_no_line() {
        assert_eq!(section("empty", ""), "");
        assert!(!facts([("name", String::new())]).contains("name"));
    }
}
