//! The name of one partition and its path form.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{Error, Result};

/// The characters that plateau leaves unescaped, except `/`: a value with a slash would otherwise
/// come back cut at the slash.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// The ordered (field, value) pairs of a partition; values in their text form.
///
/// An unpartitioned dataset has one partition, whose key is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey(Vec<(String, String)>);

impl PartitionKey {
    /// The key of the given pairs, in their order.
    #[must_use]
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The pairs in order.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The text of the value of `field`.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }

    /// The path form with a `/` after each component: `year=2022/month=01/`; empty for the empty
    /// key.
    #[must_use]
    pub fn to_path(&self) -> String {
        let mut path = String::new();
        for (field, value) in &self.0 {
            path.extend(utf8_percent_encode(field, ESCAPED));
            path.push('=');
            path.extend(utf8_percent_encode(value, ESCAPED));
            path.push('/');
        }
        path
    }

    /// Reads the pairs out of the directories of a path. As in plateau, only components with
    /// exactly one `=` count; the others are skipped.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if a component does not decode to UTF-8.
    pub fn from_directories<'a>(components: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut pairs = Vec::new();
        for component in components {
            let Some((field, value)) = component.split_once('=') else { continue };
            if value.contains('=') {
                continue;
            }
            pairs.push((decode(field)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// Encodes one name (a column, a time) in the way plateau encodes path components.
    #[must_use]
    pub fn encode_component(text: &str) -> String {
        utf8_percent_encode(text, ESCAPED).to_string()
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (field, value)) in self.0.iter().enumerate() {
            write!(f, "{}{field}={value}", if i == 0 { "" } else { "/" })?;
        }
        Ok(())
    }
}

fn decode(text: &str) -> Result<String> {
    percent_decode_str(text).decode_utf8().map(|decoded| decoded.into_owned()).map_err(|error| {
        Error::corrupt("a partition directory does not decode to UTF-8")
            .with("component", text)
            .caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_what_plateau_writes() {
        let key = PartitionKey::new(vec![
            ("P".into(), "1".into()),
            ("L".into(), "a b/ü=%".into()),
            ("e".into(), String::new()),
        ]);
        assert_eq!(key.to_path(), "P=1/L=a%20b%2F%C3%BC%3D%25/e=/");
    }

    #[test]
    fn passes_over_components_that_are_no_pairs() {
        let key = PartitionKey::from_directories(["x", "a=1", "b=2=3"].into_iter()).unwrap();
        assert_eq!(key.pairs(), [("a".to_owned(), "1".to_owned())]);
    }

    proptest! {
        #[test]
        fn comes_back_as_written(pairs in prop::collection::vec((".+", ".*"), 0..4)) {
            let key = PartitionKey::new(pairs);
            let path = key.to_path();
            let directories = path.split_terminator('/');
            prop_assert_eq!(PartitionKey::from_directories(directories).unwrap(), key);
        }
    }
}
