//! Probing a store: whether its conditional writes work, and in which form it takes conditions.
//!
//! Some S3 servers ignore conditions, so that every writer wins; some check them, but not
//! atomically; some require the entity tag without its quotes. Neither the server nor the URL tells
//! this, so a process tests it, once per bucket, before its first commit.

use std::fmt;

use bytes::Bytes;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use super::failure::Answer;
use super::{Store, Version};
use crate::{Error, ErrorKind, Result};

/// The number of concurrent writers in each round of the probe. More writers detect a race with
/// more certainty, at the cost of a request each.
const RACERS: usize = 4;
/// How often an inconclusive round is repeated.
const ROUNDS: usize = 3;

/// The first component of the keys that a probe writes and then removes.
const PROBE_PREFIX: &str = ".partita-probe-";

/// True for the key of an object that a probe wrote; a killed process may have left it.
pub(super) fn is_probe_key(key: &str) -> bool {
    key.rsplit('/').next().is_some_and(|name| name.starts_with(PROBE_PREFIX))
}

/// A store's ability to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability {
    /// Conditional writes have exactly one winner.
    Conditional(Condition),
    /// Conditional writes are missing or do not work.
    Unsupported {
        /// The observed behaviour.
        reason: String,
    },
}

/// The form in which a store takes the condition of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Condition {
    /// The entity tag, or the generation, as the store gave it.
    Etag,
    /// The entity tag without its quotes.
    UnquotedEtag,
    /// The hash of the content, compared under a lock.
    ContentHash,
}

impl Capability {
    /// True if commits are atomic on this store.
    #[must_use]
    pub fn can_commit(&self) -> bool {
        matches!(self, Self::Conditional(_))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conditional(Condition::Etag) => f.write_str("conditional writes"),
            Self::Conditional(Condition::UnquotedEtag) => {
                f.write_str("conditional writes, entity tags without quotes")
            }
            Self::Conditional(Condition::ContentHash) => f.write_str("lock file and content hash"),
            Self::Unsupported { reason } => write!(f, "no atomic commits: {reason}"),
        }
    }
}

/// The outcome of a round of the probe.
enum Round {
    /// One write was stored.
    Winner(Version),
    /// Every write was rejected.
    Nobody,
    /// The store accepted writes that it should have rejected.
    Unsafe,
    /// The store does not support the write.
    Missing(String),
}

impl Store {
    /// Tests whether the store can commit: several writers race to create an object, then to update
    /// it, then one writes with an outdated version. About a dozen small requests, on an object of
    /// its own that is removed afterwards.
    ///
    /// # Errors
    /// [`ReadOnly`](ErrorKind::ReadOnly), or [`Store`](ErrorKind::Store) if the store fails. A
    /// store that cannot commit is a result, not an error.
    pub async fn probe(&self) -> Result<Capability> {
        let capability = self.run_probe().await?;
        // Later commits use this result; a result that they have used before is kept.
        let _ = self.learned.set(capability.clone());
        Ok(capability)
    }

    /// Learns how the store commits, unless that is known, while something else is done: the first
    /// commit would wait for it. A failure is left to the commit, which tries again.
    pub async fn prepare_commit(&self) {
        if let Err(error) = self.capability().await {
            tracing::debug!(%error, "how the store commits is not known yet");
        }
    }

    async fn run_probe(&self) -> Result<Capability> {
        self.check_not_read_only()?;
        let key = format!("{PROBE_PREFIX}{}", uuid::Uuid::new_v4().simple());
        let path = self.path(&key)?;
        let answer = self.try_out(&key, &path).await;
        // A remaining probe object is hidden and harmless; the result matters more.
        let _ = self.inner.delete(&path).await;
        answer
    }

    /// The store's capability; probed at most once.
    pub(super) async fn capability(&self) -> Result<&Capability> {
        self.learned.get_or_try_init(|| self.run_probe()).await
    }

    async fn try_out(&self, key: &str, path: &Path) -> Result<Capability> {
        let unsupported = |reason: &str| Ok(Capability::Unsupported { reason: reason.to_owned() });
        let first = match self.race(key, path, || PutMode::Create).await? {
            Round::Winner(version) => version,
            Round::Nobody => return unsupported("an object that does not exist cannot be created"),
            Round::Unsafe => return unsupported("several writers created the same object"),
            Round::Missing(why) => return Ok(Capability::Unsupported { reason: why }),
        };
        for form in [Condition::Etag, Condition::UnquotedEtag, Condition::ContentHash] {
            let Some(condition) = first.condition(form) else { continue };
            match self.race(key, path, || PutMode::Update(condition.clone())).await? {
                Round::Winner(_) => {}
                Round::Nobody => continue,
                Round::Unsafe => return unsupported("several writers updated the same version"),
                Round::Missing(why) => return Ok(Capability::Unsupported { reason: why }),
            }
            return match self.is_refused(key, path, condition).await? {
                true => Ok(Capability::Conditional(form)),
                false => unsupported("an update of an old version was not refused"),
            };
        }
        unsupported("an update of the current version was refused in every form of its condition")
    }

    /// Several concurrent writers, exactly one of which must win.
    async fn race(&self, key: &str, path: &Path, mode: impl Fn() -> PutMode) -> Result<Round> {
        let mut repeated = 0;
        loop {
            let bodies: Vec<Bytes> = (0..RACERS).map(|_| probe_body()).collect();
            let puts = bodies.iter().map(|body| {
                let options = PutOptions { mode: mode(), ..PutOptions::default() };
                self.inner.put_opts(path, PutPayload::from_bytes(body.clone()), options)
            });
            let answers = join_all(puts).await;
            let won: Vec<_> = answers
                .iter()
                .zip(&bodies)
                .filter(|(answer, _)| answer.is_ok())
                .map(|(_, body)| body)
                .collect();
            let failed = answers.into_iter().filter_map(|answer| answer.err());
            let failed = failed.map(|error| (Answer::of(&error), error)).collect::<Vec<_>>();
            if let Some((_, error)) = failed.iter().find(|(a, _)| *a == Answer::Unsupported) {
                return Ok(Round::Missing(error.to_string()));
            }
            if won.len() > 1 {
                return Ok(Round::Unsafe);
            }
            if let Some((bytes, version)) = self.get_versioned(key).await? {
                // A winner may have been told that it lost, but the stored content must be that of
                // one writer.
                match won.first() {
                    Some(body) if **body != bytes => return Ok(Round::Unsafe),
                    None if !bodies.contains(&bytes) => {}
                    _ => return Ok(Round::Winner(version)),
                }
            } else if !won.is_empty() {
                return Ok(Round::Unsafe);
            }
            let broken = failed.into_iter().find(|(answer, _)| *answer != Answer::Refused);
            repeated += 1;
            match broken {
                None => return Ok(Round::Nobody),
                Some((answer, error)) if answer == Answer::Failed || repeated == ROUNDS => {
                    return Err(self.request("written", key).failed(error));
                }
                Some(_) => {}
            }
        }
    }

    async fn is_refused(&self, key: &str, path: &Path, old: UpdateVersion) -> Result<bool> {
        let mut last = None;
        for _ in 0..ROUNDS {
            let payload = PutPayload::from_bytes(probe_body());
            let options = PutOptions { mode: PutMode::Update(old.clone()), ..Default::default() };
            match self.inner.put_opts(path, payload, options).await {
                Ok(_) => return Ok(false),
                Err(error) if Answer::of(&error) == Answer::Refused => return Ok(true),
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) => self.request("written", key).failed(error),
            None => Error::new(ErrorKind::Store, "the store gave no answer").with("key", key),
        })
    }
}

fn probe_body() -> Bytes {
    format!("partita probe {}\n", uuid::Uuid::new_v4()).into()
}
