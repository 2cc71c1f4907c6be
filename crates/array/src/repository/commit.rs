//! From staged changes to one commit of the repository.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use icechunk::format::SnapshotId;
use icechunk::repository::VersionInfo;
use icechunk::session::Session;
use partita_core::{Error, ErrorKind, Result, Store, StoreOptions, commit_settled};
use tokio::sync::RwLock;

use super::failure::Failed;
use super::history::{History, message, properties};
use super::making::Making;
use super::storage::committing;
use super::view::View;
use super::{Place, Repository, State};
use crate::commit::{Draft, Outcome, Record};
use crate::layout::edit_catalog;
use crate::statistics::Statistics;

/// How often a commit is tried because another writer was faster.
const ATTEMPTS: u32 = 1000;

/// How often a commit whose answer was lost is looked for, and tried again, and how long is waited
/// before each look. Requests are repeated below, too.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Puts documents into a state in the making.
pub(crate) trait WriteDocuments: Sync {
    /// Says whether there was anything to put.
    fn write<'a>(&'a self, target: &'a Store) -> BoxFuture<'a, Result<bool>>;
}

/// Makes the changes of a commit in a session, which is of the newest state.
trait Make: Sync {
    /// `history` ends with that state; `record` is stored with the commit.
    fn make<'a>(
        &'a self,
        making: &'a Making<'a>,
        history: &'a History,
        record: &'a mut Record,
    ) -> BoxFuture<'a, Result<Made>>;
}

/// What came of making changes.
enum Made {
    /// They are to be committed.
    Changes,
    /// There is nothing to commit, or what there is has to be made anew first.
    Nothing(Outcome),
}

/// How a try to commit ended.
enum Tried {
    Done,
    /// Others were faster.
    Overtaken,
    /// The request was sent, and failed. `refused` says that the store seems to have changed nothing.
    Doubtful {
        error: Error,
        refused: bool,
    },
}

/// A commit of which it is not known whether it was made.
struct Doubt {
    /// What the branch ended with when it was asked for.
    tip: SnapshotId,
    error: Error,
    refused: bool,
    looks: u32,
}

impl Repository {
    /// Commits the changes of a draft, which were made from `state` or what came before it.
    ///
    /// # Errors
    /// [`StagedExpired`](ErrorKind::StagedExpired) for changes that were staged too long ago;
    /// [`CommitUnknown`](ErrorKind::CommitUnknown) with the id of the record. All others mean that
    /// nothing was committed.
    pub fn commit<'a>(
        &'a self,
        draft: &'a Draft,
        record: Record,
        base: u64,
        state: &'a State,
        check: Option<&'a dyn WriteDocuments>,
    ) -> BoxFuture<'a, Result<Outcome>> {
        async move { self.settle(record, &Changes { draft, base, state, check }).await }.boxed()
    }

    /// Makes one commit of documents, if any are put into the state. They are written
    /// again where others were faster.
    pub fn write_documents<'a>(
        &'a self,
        record: Record,
        documents: &'a dyn WriteDocuments,
    ) -> BoxFuture<'a, Result<()>> {
        async move { self.settle(record, &Documents(documents)).await.map(drop) }.boxed()
    }

    /// Commits what is known of the values of partitions, as `state` has them, but for those that
    /// others have changed since.
    pub fn note<'a>(&'a self, known: Statistics, state: &'a State) -> BoxFuture<'a, Result<()>> {
        async move {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let mut record = Record::new("statistics", id, None, Vec::new());
            record.statistics = known;
            self.settle(record, &Notes { state }).await.map(drop)
        }
        .boxed()
    }

    /// Makes one commit, again where others were faster, until it is known how it ended. A commit
    /// whose answer was lost is looked for among those of the branch. While it is not there and the
    /// branch has not moved, it is made again: both write the same object under the same condition,
    /// so at most one of them counts, however late the first one arrives.
    async fn settle(&self, mut record: Record, make: &dyn Make) -> Result<Outcome> {
        let mut doubt: Option<Doubt> = None;
        for attempt in 0..ATTEMPTS {
            if let Some(doubt) = &mut doubt {
                if doubt.looks == LOOKS {
                    return Err(self.unknown(&record).caused_by(doubt.error.to_string()));
                }
                doubt.looks += 1;
                tokio::time::sleep(BETWEEN_LOOKS * doubt.looks).await;
            }
            match self.try_once(attempt > 0, &mut record, make, &mut doubt).await {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => match &mut doubt {
                    None => return Err(error),
                    Some(doubt) => doubt.error = error,
                },
            }
        }
        Err(self.overtaken())
    }

    /// None if it is to be tried again.
    async fn try_once(
        &self,
        again: bool,
        record: &mut Record,
        make: &dyn Make,
        doubt: &mut Option<Doubt>,
    ) -> Result<Option<Outcome>> {
        let session = self.begin().await?;
        let history = self.history_of(&session).await?;
        if again && let Some(done) = history.own(&record.id) {
            commit_settled(&record.id, true);
            return Ok(Some(Outcome::Done(done.record.sequence)));
        }
        let tip = session.snapshot_id().clone();
        if let Some(known) = doubt.take() {
            if known.refused {
                commit_settled(&record.id, false);
                return Err(known.error);
            }
            if known.tip == tip {
                *doubt = Some(known);
            } else {
                // What was asked for before the branch moved cannot be done any more.
                commit_settled(&record.id, false);
            }
        }
        record.sequence = history.latest().saturating_add(1);
        let making = self.making(session);
        if let Made::Nothing(outcome) = make.make(&making, &history, record).await? {
            return Ok(Some(outcome));
        }
        match self.try_commit(making, record).await? {
            Tried::Done => Ok(Some(Outcome::Done(record.sequence))),
            Tried::Overtaken => Ok(None),
            Tried::Doubtful { error, refused } => {
                let before = doubt.take();
                let looks = before.as_ref().map_or(0, |before| before.looks);
                // An earlier request may still be carried out.
                let refused = refused && before.is_none();
                *doubt = Some(Doubt { tip, error, refused, looks });
                Ok(None)
            }
        }
    }

    async fn begin(&self) -> Result<Session> {
        self.check_writable()?;
        let Place::Branch(branch) = &self.place else { return Err(self.overtaken()) };
        let session = self.inner.writable_session(branch).await;
        session.map_err(|error| error.failed(&self.url))
    }

    async fn history_of(&self, session: &Session) -> Result<History> {
        self.history(&VersionInfo::SnapshotId(session.snapshot_id().clone())).await
    }

    fn making(&self, session: Session) -> Making<'_> {
        let session = Arc::new(RwLock::new(session));
        let (staging, url) = (Arc::clone(&self.staging), Arc::clone(&self.url));
        let view = View::writing(Arc::clone(&session), staging, url);
        let store = Store::from_object_store(Arc::new(view), &self.url, &StoreOptions::new());
        Making { repository: self, session, store }
    }

    async fn try_commit(&self, making: Making<'_>, record: &Record) -> Result<Tried> {
        let mut session = making.session.write().await;
        let commit = session.commit(message(record)).properties(properties(record)?);
        let (done, sent) = committing(&record.id, commit.allow_empty(true).execute()).await;
        let Err(error) = done else { return Ok(Tried::Done) };
        let error = error.failed(&self.url);
        match error.kind() {
            // Of the branch, or of something else in the repository, too often.
            ErrorKind::CommitConflict => Ok(Tried::Overtaken),
            ErrorKind::CommitUnknown => Ok(Tried::Doubtful { error, refused: false }),
            ErrorKind::Store if sent => Ok(Tried::Doubtful { error, refused: true }),
            _ => Err(error),
        }
    }

    fn unknown(&self, record: &Record) -> Error {
        Error::new(
            ErrorKind::CommitUnknown,
            "it could not be learned whether the commit happened: ask for it by its id before trying \
             again, or try again under the same key",
        )
        .with("commit", &record.id)
        .with("store", &self.url)
    }

    fn overtaken(&self) -> Error {
        Error::new(ErrorKind::CommitConflict, "other writers were always faster; try again")
            .with("attempts", ATTEMPTS)
            .with("store", &self.url)
    }
}

/// The changes of a draft.
struct Changes<'a> {
    draft: &'a Draft,
    base: u64,
    state: &'a State,
    check: Option<&'a dyn WriteDocuments>,
}

impl Make for Changes<'_> {
    fn make<'a>(
        &'a self,
        making: &'a Making<'a>,
        history: &'a History,
        record: &'a mut Record,
    ) -> BoxFuture<'a, Result<Made>> {
        async move {
            let since = history.since(self.base, &self.state.id);
            if let Some(stale) = self.draft.stale(&since) {
                return Ok(Made::Nothing(stale));
            }
            making.carry_statistics(&mut record.changes, self.draft, history);
            let config = making.config(self.draft.config()).await?;
            making.apply(&record.changes, &config).await?;
            edit_catalog(&making.store, &config, &record.changes).await?;
            if let Some(check) = self.check {
                check.write(&making.store).await?;
            }
            // Last, since the rest may take long.
            making.repository.check_staged(&record.changes).await?;
            Ok(Made::Changes)
        }
        .boxed()
    }
}

/// Documents that are put into the state.
struct Documents<'a>(&'a dyn WriteDocuments);

impl Make for Documents<'_> {
    fn make<'a>(
        &'a self,
        making: &'a Making<'a>,
        _history: &'a History,
        _record: &'a mut Record,
    ) -> BoxFuture<'a, Result<Made>> {
        async move {
            let any = self.0.write(&making.store).await?;
            Ok(if any { Made::Changes } else { Made::Nothing(Outcome::Done(0)) })
        }
        .boxed()
    }
}

/// What was found out of the values of partitions in a state.
struct Notes<'a> {
    state: &'a State,
}

impl Make for Notes<'_> {
    fn make<'a>(
        &'a self,
        _making: &'a Making<'a>,
        history: &'a History,
        record: &'a mut Record,
    ) -> BoxFuture<'a, Result<Made>> {
        async move {
            let since = history.since(self.state.latest(), &self.state.id);
            let known = &mut record.statistics;
            known.retain(|path, _| !since.records.iter().any(|newer| newer.touches(path)));
            let nothing = since.unknown || known.is_empty();
            Ok(if nothing { Made::Nothing(Outcome::Done(0)) } else { Made::Changes })
        }
        .boxed()
    }
}
