//! Decisions about the commits of a table and about what may be removed, as functions of values. The
//! code beside this module acts on them, and the models in `crates/models` check them.

/// The list of the last commits in the header of the next commit, newest first. It has at most
/// `most` entries.
#[must_use]
pub fn remembered<T: Clone>(recent: &[T], made: T, most: usize) -> Vec<T> {
    let kept = recent.iter().take(most.saturating_sub(1)).cloned();
    std::iter::once(made).chain(kept).collect()
}

/// The entry of the commit that made the version after `version`, in the header of version
/// `newest`; none if the header does not list it any more.
#[must_use]
pub fn committed_after<T>(recent: &[T], newest: u64, version: u64) -> Option<&T> {
    let later = newest.checked_sub(version)?.checked_sub(1)?;
    recent.get(usize::try_from(later).ok()?)
}

/// Whether an attempt to make `version` was made, as far as a header of version `newest` tells.
/// `is_listed` says whether the header lists this attempt at that version, if it lists any. `None`:
/// the history has to tell.
#[must_use]
pub fn made_by_header(version: u64, newest: u64, is_listed: Option<bool>) -> Option<bool> {
    match newest < version {
        true => Some(false),
        false => is_listed,
    }
}

/// Whether an attempt to make `version` was made, where `reached` is the version that a walk down
/// to it ended at, and `is_its` says that the snapshot there is the attempt's. `None`: this cannot
/// be known any more.
#[must_use]
pub fn made_by_history(version: u64, reached: Option<u64>, is_its: bool) -> Option<bool> {
    (reached == Some(version)).then_some(is_its)
}

/// The time from which the age of an object counts that was written at `written`, and dropped by a
/// commit or an expiry at `dropped`, if at all.
#[must_use]
pub fn unused_since<T: Ord>(written: T, dropped: Option<T>) -> T {
    match dropped {
        Some(dropped) => dropped.max(written),
        None => written,
    }
}

/// Whether garbage collection removes an object: nothing names it, and it has not been in use since
/// the beginning of the grace period.
#[must_use]
pub fn is_garbage<T: Ord>(written: T, dropped: Option<T>, before: T, is_named: bool) -> bool {
    !is_named && unused_since(written, dropped) <= before
}

/// Whether the mark of an expiry that kept the versions from `oldest` on explains that the snapshot
/// of `version` is missing.
#[must_use]
pub fn explains_missing(oldest: u64, version: u64) -> bool {
    version < oldest
}

/// Whether a drop removes an object: it was written before the drop began, or the table that was
/// dropped has named it. Other objects may be those of a table that is created meanwhile.
#[must_use]
pub fn is_of_dropped(is_older: bool, was_named: bool) -> bool {
    is_older || was_named
}
