//! The keys of what a collection keeps beside its published layout.

/// The directory under which changes are staged.
pub(crate) const STAGE: &str = ".partita/stage";
/// The directory in which local directories are put together before they are switched.
pub(crate) const SCRATCH: &str = ".partita/scratch";
/// The prefix of the keys of records.
pub(crate) const LOG: &str = ".partita/log/";
/// The directory of the notes of published changes.
pub(super) const NOTES: &str = ".partita/notes";
/// The head of the log.
pub(super) const HEAD: &str = ".partita/head.json";
/// The lease under which one process publishes at a time.
pub(super) const LEASE: &str = ".partita/publish";

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
