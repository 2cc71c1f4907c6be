//! The keys of what a collection keeps beside its published layout.

/// The directory of everything that Partita keeps beside a collection.
pub(super) const DIRECTORY: &str = ".partita";
/// The directory under which changes are staged.
pub(crate) const STAGE: &str = ".partita/stage";
/// The directory in which local directories are put together before they are switched.
pub(crate) const SCRATCH: &str = ".partita/scratch";
/// The prefix of the keys of records.
pub(crate) const LOG: &str = ".partita/log/";
/// The prefix of the objects of idempotency keys.
pub(super) const KEYS: &str = ".partita/keys/";
/// The directory of the notes of published changes.
pub(super) const NOTES: &str = ".partita/notes";
/// The head of the log.
pub(super) const HEAD: &str = ".partita/head.json";
/// The lease under which writers that have lost a race commit one after the other.
pub(crate) const TURN: &str = ".partita/turn";
/// The prefix of the objects by which processes look at the clock of the store; those of leases have it
/// too.
pub(super) const CLOCK: &str = ".partita/clock-";
/// The lease under which one process publishes at a time.
pub(super) const LEASE: &str = ".partita/publish";

/// Whether a key leads below the directory that it is relative to. Documents with keys in them may be
/// damaged, and the empty key is the directory itself.
pub(super) fn is_below(key: &str) -> bool {
    let key = key.strip_suffix('/').unwrap_or(key);
    key.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// The key of a record.
pub(super) fn record_key(sequence: u64) -> String {
    format!("{LOG}{sequence:016}.json")
}

/// The directory of everything that the writer of this id stages.
pub(super) fn writer_directory(id: &str) -> String {
    format!("{STAGE}/{id}")
}

/// The directory of the objects that are staged for the change of one partition.
pub(crate) fn staged_directory(stage: &str, path: &str) -> String {
    format!("{stage}/{path}")
}

/// The key of the manifest of such a change.
pub(super) fn manifest_key(stage: &str, path: &str) -> String {
    format!("{stage}/{path}/.manifest")
}

/// The directory of the notes of one partition: one level, whatever the depth of its path.
pub(super) fn notes_directory(path: &str) -> String {
    let name = path.replace('%', "%25").replace('+', "%2B").replace('/', "+");
    format!("{NOTES}/{name}")
}

/// The path of the partition whose notes are in the directory of this name.
pub(super) fn path_of_notes(name: &str) -> String {
    name.replace('+', "/").replace("%2B", "+").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_lead_elsewhere() {
        for (key, below) in [
            ("ssh/c/0", true),
            ("ssh/", true),
            (".zattrs", true),
            ("", false),
            ("/", false),
            ("..", false),
            ("a/../b", false),
            ("a//b", false),
            ("./a", false),
            ("/a", false),
        ] {
            assert_eq!(is_below(key), below, "{key}");
        }
    }

    #[test]
    fn directories_of_notes_name_their_partitions() {
        for path in ["p=1", "year=2022/month=01", "a=1+2/b=100%", "a=%2B/b=%25+"] {
            let directory = notes_directory(path);
            let name = directory.strip_prefix(NOTES).and_then(|name| name.strip_prefix('/'));
            assert_eq!(name.map(path_of_notes).as_deref(), Some(path));
        }
    }
}
