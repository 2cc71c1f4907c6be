//! Checks before staged files are committed: the files exist, garbage collection will not remove
//! them during the commit, and no earlier commit has added them.

use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::HashSet;
use jiff::{SignedDuration, Timestamp};
use partita_core::{Error, ErrorKind, Result, Store};

use super::Change;
use crate::garbage::store_time;
use crate::history::walk;
use crate::stage::Staged;
use crate::state::State;

/// The maximum number of existence checks in flight.
const CHECKS_IN_FLIGHT: usize = 64;

impl Change {
    /// Refuses staged files that were collected as garbage, that may be collected before the swap,
    /// or that the history knows already.
    ///
    /// No request for files that this operation staged itself within a short time; otherwise one
    /// for each file, three more for the store's time if another process staged them, and two for
    /// each version since they were staged.
    pub(super) async fn check_staged(
        &self,
        store: &Store,
        name: &str,
        base: Option<&State>,
    ) -> Result<()> {
        let half = self.grace / 2;
        for staged in &self.staged {
            let here = staged.begun.elapsed_here();
            let is_young = here.is_some_and(|age| age < half);
            if is_young && !self.staged_apart {
                continue;
            }
            let oldest = look(store, staged).await?;
            if let (false, Some(oldest)) = (is_young, oldest) {
                let age = store_time(store, name).await?.duration_since(oldest);
                if age >= half {
                    return Err(expired(
                        "the files were staged longer ago than half the grace period of garbage \
                         collection, so they may be removed before they are committed",
                        age,
                    )
                    .with("grace", format!("{:#}", self.grace)));
                }
            }
        }
        match base {
            // Files that replace the table were staged without a base, so they carry no version.
            Some(base) if self.staged_apart && self.creation.is_none() => {
                self.check_not_committed(store, base).await
            }
            _ => Ok(()),
        }
    }

    /// Fails if a commit since the staging has added the files, even if they have been replaced
    /// since.
    async fn check_not_committed(&self, store: &Store, base: &State) -> Result<()> {
        let staged = self.staged.iter().filter(|staged| !staged.ids.is_empty());
        let Some(since) = staged.clone().map(|staged| staged.version).min() else { return Ok(()) };
        if base.own.version <= since {
            return Ok(());
        }
        let ids: HashSet<&String> = staged.flat_map(|staged| &staged.ids).collect();
        let walked = walk(store, base, |recorded| recorded.document.version <= since + 1).await?;
        let since = walked.iter().filter(|recorded| recorded.document.version > since);
        for recorded in since {
            if recorded.document.staged.iter().any(|id| ids.contains(id)) {
                return Err(already_committed(recorded.document.version));
            }
        }
        Ok(())
    }
}

/// The error of a staged descriptor that is committed again.
fn already_committed(version: u64) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        "these staged files were committed before; stage the rows again to add them twice",
    )
    .with("version", version)
}

/// The time at which the oldest of the files was written, by the store's clock.
async fn look(store: &Store, staged: &Staged) -> Result<Option<Timestamp>> {
    let keys = staged.keys();
    let mut ages = stream::iter(keys)
        .map(|key| async move { Ok::<_, Error>((store.head(&key).await?, key)) })
        .buffer_unordered(CHECKS_IN_FLIGHT);
    let mut oldest = None;
    while let Some((object, key)) = ages.try_next().await? {
        let Some(object) = object else {
            let age = Timestamp::now().duration_since(staged.begun.at());
            return Err(expired(
                "a staged file is gone: it was collected as garbage before the commit",
                age,
            )
            .with("key", key));
        };
        oldest = oldest.into_iter().chain([object.last_modified]).min();
    }
    Ok(oldest)
}

/// The error of files that were staged `age` ago.
fn expired(why: &str, age: SignedDuration) -> Error {
    // Rounded up to the next minute, so that the suggested period leaves some margin.
    let enough = SignedDuration::from_mins((age * 2).as_mins() + 1);
    Error::new(ErrorKind::StagedExpired, format!("{why}; stage them again"))
        .with("age", format!("{:#}", SignedDuration::from_secs(age.as_secs())))
        .with("grace that would have been long enough", format!("{enough:#}"))
}
