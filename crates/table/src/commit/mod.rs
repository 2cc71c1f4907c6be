//! The commit loop: apply a change to the newest state and swap the header; retry after a lost
//! race.

mod claim;
mod form;
mod late_index;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use partita_core::store::backoff;
use partita_core::{Cancel, Error, ErrorKind, Predicate, Result, Store, idempotency_id};

use crate::change::Change;
use crate::format::header::Attempt;
use crate::format::snapshot::Operation;
use crate::state::State;
pub(crate) use claim::find as find_commit;
pub(crate) use form::form_of_new;
use late_index::index_staged;
use trial::{Outcome, Trial};

/// The maximum number of lost races of a commit. So many losses have another cause than concurrent
/// writers.
const ATTEMPTS: u32 = 1_000;

/// The effect of a commit. If there was nothing to do, no commit was made, and version and id are
/// those of the newest commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The version that the commit created.
    pub version: u64,
    /// Its id.
    pub id: String,
    /// Files added.
    pub files_added: u64,
    /// Files removed.
    pub files_removed: u64,
    /// Rows added.
    pub rows_added: u64,
    /// Rows removed, as far as known.
    pub rows_removed: u64,
    /// Bytes added.
    pub bytes_added: u64,
    /// The number of times the change was applied: one, plus one for each lost race. Zero if a
    /// commit with the same idempotency key had been made before: version and id are those of that
    /// commit, and this call has added and removed nothing.
    pub attempts: u32,
}

impl Commit {
    /// The result if there was nothing to commit.
    pub(crate) fn nothing(state: &State, attempts: u32) -> Self {
        Self {
            version: state.own.version,
            id: state.own.commit.clone(),
            files_added: 0,
            files_removed: 0,
            rows_added: 0,
            rows_removed: 0,
            bytes_added: 0,
            attempts,
        }
    }

    /// The result if a commit with the same key was made before.
    fn made_before(version: u64, id: String) -> Self {
        Self {
            version,
            id,
            files_added: 0,
            files_removed: 0,
            rows_added: 0,
            rows_removed: 0,
            bytes_added: 0,
            attempts: 0,
        }
    }

    /// True if a commit with the same idempotency key had been made before.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.attempts == 0
    }
}

/// The current time in the format of plateau.
pub(crate) fn now() -> String {
    jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00")
        .to_string()
}

/// Whether the table may exist when a commit creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// The table must exist.
    Required,
    /// The table must not exist.
    Refused,
    /// An existing table is replaced.
    Replaced,
}

/// Computes the change of a commit, once for each state that it is attempted on.
pub(crate) trait Propose: Send {
    /// The change to apply to `base`, the newest state known; `None` if there is nothing to do.
    fn propose(
        &mut self,
        base: Option<&Arc<State>>,
    ) -> impl Future<Output = Result<Option<Change>>> + Send;

    /// The key that identifies repeated requests for the same commit.
    fn idempotency_key(&self) -> Option<&str>;

    /// A description of the operation that is the same on each retry.
    fn purpose(&self) -> String;
}

/// The same change for every state.
impl Propose for &Change {
    async fn propose(&mut self, base: Option<&Arc<State>>) -> Result<Option<Change>> {
        Ok((!self.is_idle(base)?).then(|| self.clone()))
    }

    fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    fn purpose(&self) -> String {
        let purpose = purpose(self.operation, self.scope.as_ref());
        match &self.alteration {
            Some(alteration) => format!("{purpose} to {}", alteration.purpose()),
            None => purpose,
        }
    }
}

/// A description of an operation on the rows in a scope.
pub(crate) fn purpose(operation: Operation, scope: Option<&Predicate>) -> String {
    match scope {
        Some(scope) => format!("{} where {scope}", operation.name()),
        None => operation.name().to_owned(),
    }
}

/// Applies the proposed change to the dataset `name` until the swap succeeds. `cached` is tried
/// first, which saves a request if nobody else has written.
///
/// Atomic: the change becomes visible as a whole or not at all. On an error nothing has changed and
/// nothing will, except for `CommitUnknown`, which means that the outcome is unknown.
pub(crate) async fn commit(
    store: &Store,
    name: &str,
    mut change: impl Propose,
    cached: Option<Arc<State>>,
    existing: Existing,
    cancel: &Cancel,
) -> Result<(Arc<State>, Commit)> {
    store.check_writable()?;
    let key = change.idempotency_key().map(str::to_owned);
    let id = match &key {
        Some(key) => idempotency_id(key),
        None => uuid::Uuid::new_v4().simple().to_string(),
    };
    let mut newest = Newest { store, name, existing, known: cached };
    let purpose = change.purpose();
    if let Some(key) = &key
        && !claim::take(store, name, key, &id, &purpose).await?
    {
        if !newest.remembers(&id) {
            newest.known = State::find(store, name).await?.map(Arc::new);
        }
        if let Some(known) = &newest.known
            && let Some(found) = claim::find(store, known, &id).await?
        {
            return Ok((Arc::clone(known), Commit::made_before(found.version, id)));
        }
    }
    for attempt in 1..=ATTEMPTS {
        cancel.check()?;
        let base = newest.load().await?;
        if let Some(known) = &base
            && known.own.remembers(&id)
            && let Some(found) = claim::find(store, known, &id).await?
        {
            return Ok((Arc::clone(known), Commit::made_before(found.version, id)));
        }
        let base = match newest.admit(base)? {
            Some(known) => Some(known.completed(store, cancel).await?),
            None => None,
        };
        let Some(mut change) = change.propose(base.as_ref()).await? else {
            let base = base.ok_or_else(|| Error::invalid("there is nothing to commit"))?;
            let nothing = Commit::nothing(&base, attempt);
            return Ok((base, nothing));
        };
        if let Some(base) = &base {
            index_staged(store, base, &mut change, cancel).await?;
        }
        let made = Attempt::new(&id);
        let mut next = change.apply(store, name, &made, base.as_deref()).await?;
        next.snapshot.document.attempt.clone_from(&made.id);
        next.snapshot.document.key = key.clone();
        if base.is_none() {
            let form = form_of_new(store, name, next.encoding).await;
            next.encoding = form.map_err(not_begun)?;
        }
        let trial = Trial { store, name, made: &made, base: base.as_deref() };
        match trial.run(next).await? {
            Outcome::Done { state, version, totals } => {
                let commit = Commit {
                    version,
                    id,
                    files_added: totals.files_added,
                    files_removed: totals.files_removed,
                    rows_added: totals.rows_added,
                    rows_removed: totals.rows_removed,
                    bytes_added: totals.bytes_added,
                    attempts: attempt,
                };
                return Ok((state, commit));
            }
            Outcome::Lost { newest: found } => {
                newest.known = found;
                backoff(attempt.min(6), Duration::from_millis(4)).await;
            }
        }
    }
    Err(Error::new(ErrorKind::CommitConflict, "other writers were always first; try again later")
        .with("dataset", name)
        .with("attempts", ATTEMPTS))
}

/// The error of a swap that precedes the header's. Its outcome may be unknown, but the commit did
/// not happen.
fn not_begun(error: Error) -> Error {
    if error.kind() != ErrorKind::CommitUnknown {
        return error;
    }
    Error::new(ErrorKind::Store, "the commit could not be prepared; nothing was committed")
        .caused_by(error)
}

/// The newest known state.
struct Newest<'a> {
    store: &'a Store,
    name: &'a str,
    existing: Existing,
    known: Option<Arc<State>>,
}

impl Newest<'_> {
    fn remembers(&self, id: &str) -> bool {
        self.known.as_ref().is_some_and(|known| known.own.remembers(id))
    }

    /// The state for the next attempt: the cached one, or else the stored one.
    async fn load(&mut self) -> Result<Option<Arc<State>>> {
        match self.known.take() {
            Some(known) => Ok(Some(known)),
            None => State::find(self.store, self.name).await.map(|found| found.map(Arc::new)),
        }
    }

    /// Checks whether the table exists, as `existing` requires.
    fn admit(&self, found: Option<Arc<State>>) -> Result<Option<Arc<State>>> {
        match (self.existing, found) {
            (Existing::Required, None) => {
                Err(Error::new(ErrorKind::NotFound, "there is no table here")
                    .with("dataset", self.name))
            }
            (Existing::Refused, Some(_)) => Err(already_exists(self.name)),
            (_, found) => Ok(found),
        }
    }
}

pub(crate) fn already_exists(name: &str) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        "a table of this name exists; pass overwrite to replace it",
    )
    .with("dataset", name)
}

/// The name of an operation that adds files and removes those in a scope.
pub(crate) fn operation_of(adds: bool, removes: bool) -> Operation {
    match (adds, removes) {
        (true, true) => Operation::Replace,
        (false, true) => Operation::Delete,
        _ => Operation::Append,
    }
}
