//! The commit point: an object is replaced only if it still has the version that the writer has
//! read.

use bytes::Bytes;
use memchr::memmem;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult};

use super::backoff::Backoff;
use super::failure::{Answer, NotApplied, is_of_a_repetition};
use super::probe::{Capability, Condition};
use super::protocol::{AfterRead, AfterWrite, after_read, after_write, writes_again};
use super::{LARGEST, Store, Version};
use crate::{Error, ErrorKind, Result};

/// The maximum number of attempts of a write whose outcome is unknown.
const WRITE_ATTEMPTS: u32 = 6;
/// The maximum number of attempts to read the state back. The client itself retries requests, so
/// this covers longer outages of the store.
const READ_ATTEMPTS: u32 = 6;

/// The outcome of a [`Store::compare_and_swap`].
#[derive(Debug, Clone)]
#[must_use = "a lost swap has changed nothing"]
pub enum Swap {
    /// The new state is stored; it has this version.
    Done(Version),
    /// Another writer was first, and nothing was changed.
    Lost {
        /// The current state, or `None` if the object does not exist.
        current: Option<(Bytes, Version)>,
    },
}

impl Swap {
    /// Whether the swap was done, in the form that [`commit_point`](crate::commit_point) expects.
    #[must_use]
    pub fn is_done(&self) -> Option<bool> {
        Some(matches!(self, Self::Done(_)))
    }
}

/// The result of reading back after a write whose outcome is unknown.
enum Found {
    /// The outcome of the swap is known.
    End(Swap),
    /// The state is the one from before the write.
    Unchanged,
}

impl Store {
    /// Replaces an object if it still has the version `expected`, or creates it if that is `None`
    /// and the object does not exist.
    ///
    /// `bytes` must contain `commit_id`, which must be unique to this commit, and later states
    /// should keep naming it for a while: if an answer is lost, the id in the stored state
    /// distinguishes a successful swap from a lost race. If later states may have dropped the id,
    /// the caller has to check whether a swap that was reported as lost was done all the same.
    ///
    /// Atomic, and safe to repeat. One request in the normal case; the first commit to a store also
    /// probes it (see [`Store::probe`]).
    ///
    /// # Errors
    /// - [`CommitUnsupported`](ErrorKind::CommitUnsupported): the store has no working conditional
    ///   writes, and the caller did not promise to be the single writer.
    /// - [`CommitUnknown`](ErrorKind::CommitUnknown): the answer was lost and the state could not
    ///   be read back, or an answer came late and may not be that to the first request, or the
    ///   state is stored but may not survive a power cut.
    /// - Any other kind: nothing was changed, and nothing will be.
    pub async fn compare_and_swap(
        &self,
        key: &str,
        expected: Option<&Version>,
        bytes: Bytes,
        commit_id: &str,
    ) -> Result<Swap> {
        if commit_id.is_empty() || memmem::find(&bytes, commit_id.as_bytes()).is_none() {
            return Err(Error::invalid("the new state does not contain the id of its commit")
                .with("key", key)
                .with("commit", commit_id));
        }
        self.swap(key, expected, bytes, Some(commit_id)).await
    }

    /// Like [`Store::compare_and_swap`], for states that cannot contain an id, such as files of
    /// other libraries.
    ///
    /// If an answer was lost and others have already built upon the new state, the swap is reported
    /// as lost: the caller has to check whether the stored state includes its own.
    ///
    /// # Errors
    /// The errors are those of [`Store::compare_and_swap`].
    pub async fn swap_unnamed(
        &self,
        key: &str,
        expected: Option<&Version>,
        bytes: Bytes,
    ) -> Result<Swap> {
        self.swap(key, expected, bytes, None).await
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<&Version>,
        bytes: Bytes,
        commit_id: Option<&str>,
    ) -> Result<Swap> {
        self.check_writable()?;
        let path = self.path(key)?;
        let condition = match self.capability().await? {
            Capability::Conditional(condition) => Some(*condition),
            Capability::Unsupported { .. } if self.single_writer => None,
            Capability::Unsupported { reason } => {
                return Err(self.unsupported(reason).with("key", key));
            }
        };
        Attempt { store: self, key, path, expected, bytes, commit_id, condition }.run().await
    }

    /// The error for a write to a store that cannot commit.
    pub(super) fn unsupported(&self, reason: &str) -> Error {
        Error::new(
            ErrorKind::CommitUnsupported,
            format!(
                "the store cannot commit atomically: {reason}; use another store, or say \
                 single_writer if nobody else ever writes to it"
            ),
        )
        .with("store", self.url())
    }
}

/// A swap in progress.
struct Attempt<'a> {
    store: &'a Store,
    key: &'a str,
    path: Path,
    expected: Option<&'a Version>,
    bytes: Bytes,
    /// The id that identifies this state within later ones.
    commit_id: Option<&'a str>,
    /// `None` for a single writer, who needs no condition.
    condition: Option<Condition>,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<Swap> {
        let mut backoff = Backoff::for_requests();
        let mut doubtful: Option<object_store::Error> = None;
        for _ in 0..WRITE_ATTEMPTS {
            let error = match self.write().await {
                Ok(written) => return Ok(Swap::Done(Version::of_write(written, &self.bytes))),
                Err(error) => error,
            };
            let answer = Answer::of(&error);
            let certain = doubtful.is_none() && !is_of_a_repetition(&error);
            match after_write(answer, certain) {
                AfterWrite::NotMade if answer == Answer::Unsupported => {
                    return Err(self.store.unsupported(&error.to_string()).with("key", self.key));
                }
                AfterWrite::NotMade => {
                    return Err(self.store.request("committed", self.key).failed(error));
                }
                AfterWrite::Unknown => return Err(self.unknown().caused_by(error)),
                AfterWrite::ReadBack { doubtful: true } => doubtful = Some(error),
                AfterWrite::ReadBack { doubtful: false } => {}
            }
            if let Found::End(swap) = self.read_back().await? {
                return Ok(swap);
            }
            if !writes_again(answer) {
                break;
            }
            // The state is unchanged: the write never arrived, is still in flight, or met another
            // one that failed.
            backoff.wait().await;
        }
        Err(match doubtful {
            Some(error) => self.unknown().caused_by(error),
            None => Error::new(
                ErrorKind::CommitConflict,
                "the store refused the commit although the state is the expected one",
            )
            .with("key", self.key)
            .with("store", self.store.url()),
        })
    }

    async fn write(&self) -> object_store::Result<PutResult> {
        let payload = PutPayload::from_bytes(self.bytes.clone());
        let Some(condition) = self.condition else {
            return self.write_alone(payload).await;
        };
        let mode = match self.expected.map(|version| version.condition(condition)) {
            None => PutMode::Create,
            Some(Some(version)) => PutMode::Update(version),
            // The store never assigned this version, so the current state must be another one.
            Some(None) => return Err(refused(&self.path)),
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        self.store.inner.put_opts(&self.path, payload, options).await
    }

    /// Compares on the client side, which is enough for a single writer.
    async fn write_alone(&self, payload: PutPayload) -> object_store::Result<PutResult> {
        let current = self.store.get_versioned_within(self.key, LARGEST).await;
        let current = current.map_err(|error| NotApplied::error(error.to_string()))?;
        if current.as_ref().map(|(_, version)| version) != self.expected {
            return Err(refused(&self.path));
        }
        self.store.inner.put(&self.path, payload).await
    }

    /// Distinguishes a lost answer from a lost race.
    async fn read_back(&self) -> Result<Found> {
        let mut backoff = Backoff::for_requests();
        let mut attempt = 1;
        let current = loop {
            match self.store.get_versioned_within(self.key, LARGEST).await {
                Ok(current) => break current,
                Err(error) if attempt == READ_ATTEMPTS => {
                    return Err(self.unknown().caused_by(error));
                }
                Err(_) => backoff.wait().await,
            }
            attempt += 1;
        };
        let is_new = current.as_ref().is_some_and(|(bytes, _)| *bytes == self.bytes);
        let is_within = current.as_ref().is_some_and(|(bytes, _)| self.is_within(bytes));
        let is_expected = current.as_ref().map(|(_, version)| version) == self.expected;
        Ok(match (after_read(is_new, is_within, is_expected), current) {
            (AfterRead::Made, Some((_, version))) => Found::End(Swap::Done(version)),
            // Others have committed on top. The current version must not be returned: the next swap
            // with it would overwrite states that the caller has not seen.
            (AfterRead::Made | AfterRead::BuiltUpon, _) => {
                Found::End(Swap::Done(Version::replaced(&self.bytes)))
            }
            (AfterRead::Unchanged, _) => Found::Unchanged,
            (AfterRead::Lost, current) => Found::End(Swap::Lost { current }),
        })
    }

    /// True if a state is this one or builds upon it.
    fn is_within(&self, bytes: &[u8]) -> bool {
        self.commit_id.is_some_and(|id| memmem::find(bytes, id.as_bytes()).is_some())
    }

    fn unknown(&self) -> Error {
        let error = Error::new(
            ErrorKind::CommitUnknown,
            "it could not be learned whether the commit happened: look at the newest state before \
             trying again",
        );
        let error = error.with("key", self.key);
        let error = match self.commit_id {
            Some(id) => error.with("commit", id),
            None => error,
        };
        error.with("store", self.store.url())
    }
}

fn refused(path: &Path) -> object_store::Error {
    object_store::Error::Precondition {
        path: path.to_string(),
        source: "the object has another version".into(),
    }
}
