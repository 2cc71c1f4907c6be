//! The page of `partita report`: one HTML document that describes a dataset and loads nothing from
//! elsewhere.

mod collection;
mod coverage;
mod html;
mod picture;
mod sizes;
mod table;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use partita::array::Collection;
use partita::{Result, Table, masked};

/// The page of a table, as `partita report` writes it.
///
/// # Errors
/// The errors are those of [`Table::history`].
pub fn report_of_table(table: &Table) -> BoxFuture<'_, Result<String>> {
    table::page(table).boxed()
}

/// The page of a collection or a view, as `partita report` writes it.
///
/// # Errors
/// The errors are those of [`Collection::sizes`] and [`Collection::history`].
pub fn report_of_collection(collection: &Collection) -> BoxFuture<'_, Result<String>> {
    collection::page(collection).boxed()
}

/// The time at which the page was made.
fn made() -> (&'static str, String) {
    ("as of", format!("{:.0}", Timestamp::now()))
}

/// The URL of a dataset as a word of a command line.
fn word(url: &str) -> String {
    let url = masked(url);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+@%,".contains(c);
    if !url.is_empty() && url.chars().all(plain) {
        return url.into_owned();
    }
    format!("'{}'", url.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_words_of_a_shell() {
        for url in ["s3://lake/trips", "/my lake/it's $HOME", "", "a;b"] {
            assert_eq!(shlex::split(&word(url)).unwrap(), [url]);
        }
        assert_eq!(word("s3://lake/trips"), "s3://lake/trips");
    }
}
