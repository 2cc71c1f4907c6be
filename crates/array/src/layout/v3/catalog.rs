//! The catalog of the partitions.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::json::{Json, Style};

/// The paths in a catalog; none if it cannot be read.
pub(in crate::layout) fn decode(bytes: &[u8]) -> Option<Vec<String>> {
    let json = Json::parse(bytes).ok()?;
    let paths = json.get("paths")?.as_list()?.iter();
    paths.map(|path| path.as_text().map(str::to_owned)).collect()
}

/// Encodes a catalog of these paths, sorted as text.
pub(in crate::layout) fn encode(mut paths: Vec<String>) -> String {
    paths.sort();
    paths.dedup();
    let mut hash = Sha256::new();
    for path in &paths {
        hash.update(path.as_bytes());
        hash.update(b"\n");
    }
    let mut checksum = "sha256:".to_owned();
    for byte in hash.finalize() {
        // Writing to a string cannot fail.
        let _ = write!(checksum, "{byte:02x}");
    }
    Json::map([
        ("format_version", Json::Int(1)),
        ("paths", Json::texts(&paths)),
        ("checksum", checksum.as_str().into()),
    ])
    .to_text(Style::Compact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_of_zcollection_is_reproduced() {
        let stored =
            include_bytes!("../../../../../tests/golden/zcollection/v3-date/_catalog/state.json");
        let paths = decode(stored).unwrap();
        assert_eq!(encode(paths.into_iter().rev().collect()).as_bytes(), stored);
    }
}
