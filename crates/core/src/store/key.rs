//! Validation of object keys.

use object_store::path::Path;

use crate::{Error, Result};

/// The maximum length in bytes of one component of a path, on common file systems.
const LONGEST_FILE_NAME: usize = 255;

/// Takes `key` literally: `city=a%20b` names an object (on disk: a directory) `city=a%20b`.
///
/// Keys may come from hostile metadata, so every key that could leave the store's prefix or be read
/// back under another name is refused: `..`, `.`, empty components, a slash at either end, control
/// characters, and on Windows the separators of that system.
pub(super) fn parse_key(key: &str) -> Result<Path> {
    let refuse = |why: &str| {
        Err(Error::invalid(format!("the key cannot name an object: {why}"))
            .with("key", key.escape_debug()))
    };
    if key.is_empty() {
        return refuse("it is empty");
    }
    if key.starts_with('/') || key.ends_with('/') {
        return refuse("it begins or ends with a slash");
    }
    if cfg!(windows) && key.contains(['\\', ':']) {
        return refuse("it contains a backslash or a colon");
    }
    match Path::parse(key) {
        Ok(path) => Ok(path),
        Err(_) if key.contains("//") => refuse("it has an empty component"),
        Err(_) if key.contains(|c: char| c.is_ascii_control()) => {
            refuse("it has a control character")
        }
        Err(_) => refuse("it has a component `.` or `..`"),
    }
}

/// Refuses keys that a file system cannot store, before anything is written.
pub(super) fn check_file_name(key: &str) -> Result<()> {
    match key.split('/').find(|component| component.len() > LONGEST_FILE_NAME) {
        None => Ok(()),
        Some(component) => Err(Error::invalid(format!(
            "a file system cannot hold the key: a component has {} bytes, at most \
             {LONGEST_FILE_NAME} fit; shorten the value or use an object store",
            component.len()
        ))
        .with("key", key.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn keys_are_literal() {
        for key in ["a", "t/table/city=a%20b/x.parquet", "p=ø/é ~", "p=/x", "%2e%2e/x", "a..b/..c"]
        {
            assert_eq!(parse_key(key).unwrap().as_ref(), key);
        }
    }

    #[test]
    fn hostile_keys_are_refused() {
        let hostile =
            ["", "/", "/x", "x/", "../x", "x/../../y", "x/..", "./x", "x//y", "a\nb", "a\0b"];
        for key in hostile {
            assert_eq!(parse_key(key).unwrap_err().kind(), ErrorKind::InvalidArgument, "{key:?}");
        }
    }

    #[test]
    fn long_components() {
        assert!(check_file_name(&format!("{}/x", "a".repeat(255))).is_ok());
        assert!(check_file_name(&format!("{}/x", "a".repeat(256))).is_err());
    }
}
