//! The seam between collections and what keeps their commits: a plain store, or an Icechunk
//! repository. Nothing else asks which of the two a collection has.
//!
//! `commit::plain` implements it for plain stores, with records beside the published layout;
//! `repository::backend` for Icechunk repositories, whose commits are Icechunk's.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::SignedDuration;
use partita_core::store::repository_url;
use partita_core::upkeep::{Garbage, GarbageOptions};
use partita_core::{At, Result, Store, StoreOptions};

use crate::activity::Activity;
use crate::commit::{Draft, Outcome, Plain, Record, Retention, Snapshot, Staged};
use crate::history::{Expiry, Retained};
use crate::layout::Config;
use crate::repository::Repository;
use crate::statistics::Statistics;

/// Where a collection is kept, and how changes of it become visible.
pub(crate) trait Backend: fmt::Debug + Send + Sync {
    /// The store that it is in.
    fn store(&self) -> &Store;

    /// The URL under which the collection can be opened again.
    fn url(&self) -> &str;

    /// Refuses if nothing can be committed.
    fn check_writable(&self) -> Result<()>;

    /// The newest state; of a view, over `under`, that of its base.
    fn snapshot(&self, under: Option<Snapshot>) -> BoxFuture<'_, Result<Snapshot>>;

    /// The document of the view that is here.
    fn view(&self) -> BoxFuture<'_, Result<Config>>;

    /// The same place as an earlier commit left it, for reading.
    fn at<'a>(&'a self, at: &'a At) -> BoxFuture<'a, Result<Arc<dyn Backend>>>;

    /// The number of the state that is to be restored; refused where a branch is made instead.
    fn number_to_restore<'a>(&'a self, at: &'a At) -> BoxFuture<'a, Result<u64>>;

    /// The commits that are kept, the oldest first.
    fn records(&self) -> BoxFuture<'_, Result<Vec<Record>>>;

    /// The commit with this id, or with this idempotency key.
    fn committed<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Record>>>;

    /// Writes the document that says what the collection or view is that is made here, with the id
    /// of the commit that makes it. Of two that make one here at once, one is refused.
    fn create<'a>(&'a self, config: &'a Config, commit: String) -> BoxFuture<'a, Result<()>>;

    /// Removes a collection that this handle created, unless something was committed to it.
    fn undo_creation<'a>(&'a self, config: &'a Config) -> BoxFuture<'a, Result<()>>;

    /// Commits the changes of a draft, which were made from `snapshot`, and publishes them.
    fn commit<'a>(
        &'a self,
        draft: &'a Draft,
        snapshot: &'a Snapshot,
    ) -> BoxFuture<'a, Result<Outcome>>;

    /// Brings the published layout up to the last commit.
    fn publish(&self) -> BoxFuture<'_, Result<()>>;

    /// The changes of a draft in a form that can be sent to another process.
    fn send(&self, draft: Draft) -> Vec<Staged>;

    /// Takes in what another process has sent.
    fn receive(&self, staged: &mut Staged);

    /// Forgets what was staged in these directories, once that is committed, or kept elsewhere.
    fn forget(&self, directories: Vec<String>);

    /// Removes what is staged in a directory, of which it is proven that no commit names it. If that
    /// fails it is garbage, and collected as such; so are the chunks in a repository.
    fn discard<'a>(&'a self, directory: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Records statistics that were made from the data of `snapshot`, whose partitions are at `paths`.
    fn note_statistics<'a>(
        &'a self,
        made: Statistics,
        snapshot: &'a Snapshot,
        paths: &'a HashSet<&str>,
    ) -> BoxFuture<'a, Result<()>>;

    /// Checks the list of partitions against the partitions. Returns the key of its document and a
    /// description of the difference; with `repair` the list is written anew.
    fn check_catalog<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        repair: bool,
    ) -> BoxFuture<'a, Result<Option<(&'static str, String)>>>;

    /// Removes what no commit names, and tells what.
    fn collect_garbage<'a>(&'a self, options: &'a GarbageOptions)
    -> BoxFuture<'a, Result<Garbage>>;

    /// Ends the history before commits older than this. Returns the ids of those whose states cannot
    /// be read any more.
    fn expire(&self, older_than: SignedDuration) -> BoxFuture<'_, Result<Vec<String>>>;

    /// Ends the history before all but the last `last` states. Returns as [`Backend::expire`].
    fn expire_all_but(&self, last: u64) -> BoxFuture<'_, Result<Vec<String>>>;

    /// The ids of the commits whose states an expiry would end. Nothing is changed.
    fn expirable(&self, expiry: Expiry) -> BoxFuture<'_, Result<Vec<String>>>;

    /// Sets how much history is kept, and the grace period in seconds.
    fn set_retention(&self, retention: Retention, grace: Option<u64>) -> BoxFuture<'_, Result<()>>;

    /// The space that objects beside the published ones take; none where that is not known.
    fn retained(&self) -> BoxFuture<'_, Result<Option<Retained>>>;

    /// What other processes are doing here, as far as the store shows it.
    fn activity(&self) -> BoxFuture<'_, Result<Activity>>;

    /// The repository, for branches and tags, which plain stores do not have.
    fn repository(&self) -> Result<&Repository>;
}

/// The place that a URL names, with a branch or a state of the repository if it names one, or the
/// number of a commit to a plain store.
pub(crate) fn open<'a>(
    url: &'a str,
    options: &'a StoreOptions,
) -> BoxFuture<'a, Result<Arc<dyn Backend>>> {
    async move {
        let opened: Arc<dyn Backend> = match repository_url(url) {
            Some(place) => Arc::new(Repository::open_url(place, options).await?),
            None => Plain::open(url, options)?,
        };
        Ok(opened)
    }
    .boxed()
}
