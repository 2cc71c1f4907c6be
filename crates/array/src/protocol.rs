//! Decisions about the commits of a collection in a plain store, as functions of values. `commit`
//! acts on them, and the models in `crates/models` check them.

/// Whether a record that was created counts as the commit of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// It does, and nothing can change that.
    Yes,
    /// Another commit has the number. It was published, and its record was removed.
    No,
    /// It cannot be known any more.
    Unknown,
}

/// Whether a record of this number counts. `mark` is the number up to which commits were published
/// when the head was read, after the record was created; `is_published` says whether the head names
/// this record as the published one, if it names any of this number.
#[must_use]
pub fn counts(number: u64, mark: u64, is_published: Option<bool>) -> Counts {
    match is_published {
        _ if mark < number => Counts::Yes,
        Some(true) => Counts::Yes,
        Some(false) => Counts::No,
        None => Counts::Unknown,
    }
}

/// Whether staged objects of this age, in seconds, may be committed: garbage collection must not
/// take them before the commit is made.
#[must_use]
pub fn is_fresh(age: u64, grace: u64) -> bool {
    age <= grace / 2
}

/// Whether garbage collection keeps a staged change: a record names it, or a note, since its record
/// may be gone while its manifest is still a part of the current state.
#[must_use]
pub fn keeps_staged(is_recorded: bool, is_noted: bool) -> bool {
    is_recorded || is_noted
}

/// Whether garbage collection removes the record of a number: nothing is retained of it, and no
/// writer can have looked at the log before it was there.
#[must_use]
pub fn is_dead(number: u64, cleaned: u64, is_very_old: bool) -> bool {
    number <= cleaned && is_very_old
}

/// How a published object compares with the note of what was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It has the noted version, or neither is there.
    AsNoted,
    /// Something else is there, or nothing.
    Different,
}

/// Compares the version of an object with that in the note; `None` stands for no object. Where the
/// store tells no versions, an object that is noted is taken for the noted one. `is_committed` says
/// that the note has a digest of the object. If it has no version then, a late delete came before
/// the note.
#[must_use]
pub fn compare<T: PartialEq>(
    noted: Option<Option<&T>>,
    found: Option<Option<&T>>,
    is_committed: bool,
) -> Noted {
    match (noted, found) {
        (None, None) if !is_committed => Noted::AsNoted,
        (Some(None), Some(_)) => Noted::AsNoted,
        (Some(noted), Some(found)) if noted == found => Noted::AsNoted,
        _ => Noted::Different,
    }
}

/// The verdict on a published object that is not as the note says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// It has the content that was committed.
    Current,
    /// A request that was carried out late has put an earlier content there.
    Late,
    /// Another program has written it, so the published objects of the partition count.
    Foreign,
}

/// Judges such an object. `is_current` says that its content is the committed one;
/// `was_committed`, that it is that of an earlier commit.
#[must_use]
pub fn judge(is_current: bool, was_committed: bool) -> Judged {
    match (is_current, was_committed) {
        (true, _) => Judged::Current,
        (false, true) => Judged::Late,
        (false, false) => Judged::Foreign,
    }
}

/// The place where a reader finds an object of a partition in which something is not as noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Under the key that its manifest names.
    Immutable,
    /// The committed state has no such object.
    Nowhere,
    /// In the published layout, of which alone it is known.
    Published,
}

/// Where such an object is found. `is_held` says that manifests list it, `is_complete` that they
/// list every object, and `is_removed` that a request that was carried out late has brought it
/// back. A published object that is right may be overwritten by another such request before it is
/// read.
#[must_use]
pub fn source(is_held: bool, is_complete: bool, is_removed: bool) -> Source {
    match (is_held, is_complete || is_removed) {
        (true, _) => Source::Immutable,
        (false, true) => Source::Nowhere,
        (false, false) => Source::Published,
    }
}

/// Whether a publisher removes an object of the published layout: the change replaces or removes
/// it, or a request that was carried out late has brought it back.
#[must_use]
pub fn goes(is_new: bool, is_replaced: bool, is_late: bool) -> bool {
    !is_new && (is_replaced || is_late)
}
