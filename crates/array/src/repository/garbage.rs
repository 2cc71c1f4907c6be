//! Letting old states go, and removing what nothing names any more.

use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use icechunk::ops::expiration::{ExpiredRefAction, expire};
use icechunk::ops::gc::{GCConfig, garbage_collect};
use jiff::{SignedDuration, Timestamp};
use partita_core::upkeep::{Garbage, GarbageOptions};
use partita_core::{Error, ErrorKind, Result};

use super::Repository;
use super::failure::Failed;
use super::storage::{Objects, time_of};
use super::sweep::Sweep;
use crate::commit::{stopped_clocks, store_time};

/// How much is looked at at once.
const SNAPSHOTS: NonZeroU16 = NonZeroU16::new(32).expect("not zero");
const MANIFEST_BYTES: NonZeroUsize = NonZeroUsize::new(256 << 20).expect("not zero");
const REQUESTS: NonZeroU16 = NonZeroU16::new(16).expect("not zero");

impl Repository {
    /// Removes objects older than the grace period that no state of a branch or tag names.
    pub fn collect_garbage<'a>(
        &'a self,
        options: &'a GarbageOptions,
    ) -> BoxFuture<'a, Result<Garbage>> {
        async move {
            self.store.check_writable()?;
            let old = self.before(options.grace).await?;
            let before = time_of(old);
            let sweep = Sweep::new(options.dry_run, options.cancel.clone());
            let objects = Arc::new(Objects::swept(self.store.clone(), sweep.clone()));
            // A handle of its own: caches of the other know what is removed here.
            let opened = icechunk::Repository::open(objects).execute().await;
            let repository = opened.map_err(|error| error.failed(&self.url))?;
            let config = GCConfig::clean_all(
                before,
                before,
                None,
                SNAPSHOTS,
                MANIFEST_BYTES,
                MANIFEST_BYTES,
                REQUESTS,
                REQUESTS,
                REQUESTS,
                Some(REQUESTS),
                false,
            );
            let summary = garbage_collect(
                Arc::clone(repository.asset_manager()),
                &config,
                Some(repository.config().repo_update_retries()),
                repository.config().num_updates_per_repo_info_file(),
            )
            .await;
            options.cancel.check()?;
            let summary = summary.map_err(|error| error.failed(&self.url))?;
            if let Some(error) = summary.delete_errors.first() {
                return Err(Error::new(ErrorKind::Store, "some objects could not be removed")
                    .with("store", &self.url)
                    .caused_by(error.clone()));
            }
            let clocks = stopped_clocks(&self.store, old).await?;
            if !options.dry_run {
                let keys = clocks.iter().map(|clock| clock.key.clone()).collect();
                self.store.delete_many(keys).await?;
            }
            sweep.add(clocks.into_iter().map(|clock| (clock.key, clock.size)).collect());
            Ok(sweep.finish())
        }
        .boxed()
    }

    /// Forgets commits older than this, but for those that branches and tags name. Returns the ids
    /// of those that are gone.
    pub fn expire<'a>(&'a self, older_than: SignedDuration) -> BoxFuture<'a, Result<Vec<String>>> {
        async move {
            self.store.check_writable()?;
            let before = time_of(self.before(older_than).await?);
            let config = self.inner.config();
            let gone = expire(
                Arc::clone(self.inner.asset_manager()),
                before,
                ExpiredRefAction::Ignore,
                ExpiredRefAction::Ignore,
                Some(config.repo_update_retries()),
                config.num_updates_per_repo_info_file(),
            )
            .await
            .map_err(|error| error.failed(&self.url))?;
            let mut gone: Vec<String> =
                gone.released_snapshots.iter().map(ToString::to_string).collect();
            gone.sort();
            Ok(gone)
        }
        .boxed()
    }

    /// The time so long ago, by the clock of the store.
    async fn before(&self, age: SignedDuration) -> Result<Timestamp> {
        if age.is_negative() {
            return Err(Error::invalid("the grace period must not be negative"));
        }
        let now = store_time(&self.store).await?;
        let before = now.checked_sub(age);
        before.map_err(|error| Error::invalid("that is no age").caused_by(error))
    }
}
