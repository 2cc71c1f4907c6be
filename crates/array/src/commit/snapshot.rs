//! The collection as one commit left it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use partita_core::{Error, ErrorKind, Predicate, Result, Store};

use super::head::Head;
use super::log::{self, read_after};
use super::overlay::Overlay;
use super::past::PastStates;
use super::record::{Action, Record};
use super::retained::Retained;
use super::standing::Standing;
use crate::collection::Partition;
use crate::layout::{
    Config, Layout, decode_config, group_key, list_partitions_below, read_config, read_view,
};
use crate::partitioning::Key;
use crate::protocol::is_fresh;
use crate::repository::State;
use crate::rows::Known;
use crate::select::select;
use crate::statistics::Statistics;

/// The state of a collection after the commit `latest`.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The store as it is.
    pub(super) base: Store,
    /// The store with what is committed, and not published, in its place. Only for reading single
    /// objects.
    pub store: Store,
    /// The configuration of the collection; of a view, with the variables that it stores itself.
    pub config: Arc<Config>,
    /// The configuration for reading: that of a view includes the variables of its base.
    pub whole: Arc<Config>,
    /// Of a view, the state of the collection under it.
    pub under: Option<Arc<Snapshot>>,
    /// The number of the last commit; 0 if there is none.
    pub latest: u64,
    /// The number of the last commit that was known when this state was taken.
    pub(super) seen: u64,
    /// The commits that were not published.
    pub pending: Vec<Record>,
    /// The partitions of an earlier state; those of the newest one are listed when they are asked
    /// for.
    pub(super) listed: Option<Arc<Vec<Partition>>>,
    /// The contents in this earlier state of partitions that later commits have touched.
    pub(super) past: Option<Arc<PastStates>>,
    /// How far commits were published, in a plain store.
    pub(super) head: Arc<Head>,
    /// The state of the Icechunk repository that it is in, if it is in one.
    pub(super) state: Option<State>,
}

impl Snapshot {
    /// The newest state; of a view, over that of its base. Four requests where all commits are
    /// published, of which one is the first; all at once if the mark is still the one that was
    /// `known`.
    ///
    /// The mark is read first: what is published after that is found as a record too, and reading
    /// an object from its new place and from where it was staged is the same. A mark that has not
    /// moved since it was known was the same when the others were asked for: it never moves back.
    pub async fn take(base: &Store, under: Option<Self>, known: Option<u64>) -> Result<Self> {
        let early = async {
            match known {
                Some(known) => read_state(base, under.as_ref(), known).await.map(Some),
                None => Ok(None),
            }
        };
        let (head, early) = futures::join!(Head::read(base), early);
        let head = head?;
        // What was read on the word of another mark is of no use, and neither are its errors.
        let (mut config, pending) = match early {
            Ok(Some(state)) if known == Some(head.published) => state,
            _ => read_state(base, under.as_ref(), head.published).await?,
        };
        for text in pending.iter().filter_map(|record| record.config.as_ref()) {
            config = decode_config(&config, text.as_bytes())?;
        }
        let (config, whole) = laid_over(config, under.as_ref())?;
        let overlay = Overlay::new(base, &head, &pending);
        let store = match overlay {
            None => base.clone(),
            Some(overlay) => base.wrap(|_| Arc::new(overlay)),
        };
        let store = store.with_fallback(Arc::new(Retained::new(base, &config, &head, &pending)));
        let latest = pending.last().map_or(head.published, |record| record.sequence);
        Ok(Self {
            store,
            latest,
            seen: latest,
            pending,
            ..Self::new(base, config, whole, under, head)
        })
    }

    /// The published state of a plain store.
    pub(super) fn new(
        base: &Store,
        config: Arc<Config>,
        whole: Arc<Config>,
        under: Option<Self>,
        head: Head,
    ) -> Self {
        Self {
            base: base.clone(),
            store: base.clone(),
            config,
            whole,
            under: under.map(Arc::new),
            latest: head.published,
            seen: head.published,
            pending: Vec::new(),
            listed: None,
            past: None,
            head: Arc::new(head),
            state: None,
        }
    }

    /// The same state of a view over the newest one of its base.
    pub async fn over_newest(&self) -> Result<Self> {
        let Some(under) = &self.under else { return Ok(self.clone()) };
        let under = match &under.state {
            Some(state) => Box::pin(Self::of(state.newest().await?, None)).await?,
            None => Box::pin(Self::take(&under.base, None, Some(under.head.published))).await?,
        };
        let whole = Arc::new(self.config.laid_over(&under.config));
        Ok(Self { whole, under: Some(Arc::new(under)), ..self.clone() })
    }

    /// The collection in a state of an Icechunk repository; a view, over a state of its base.
    pub async fn of(state: State, under: Option<Self>) -> Result<Self> {
        let view = state.view().clone();
        let config = read_document(&view, under.as_ref()).await?;
        if config.layout == Layout::ZarrV2 {
            return Err(Error::corrupt("an Icechunk repository holds Zarr v3 only")
                .with("store", view.url()));
        }
        let (config, whole) = laid_over(config, under.as_ref())?;
        Ok(Self {
            latest: state.latest(),
            state: Some(state),
            ..Self::new(&view, config, whole, under, Head::default())
        })
    }

    /// The state of the Icechunk repository that it is in.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// The fingerprints of the objects in each directory; none where objects are immutable, so that
    /// commits say all that is to be known. A request for each.
    pub async fn fingerprints(
        &self,
        directories: &[String],
    ) -> Result<Option<Vec<Option<String>>>> {
        match self.state {
            Some(_) => Ok(None),
            None => self.base.fingerprints(directories).await.map(Some),
        }
    }

    /// The statistics that commits carry; none where they stand in documents beside the commits.
    pub fn statistics_of_commits(&self) -> Option<Statistics> {
        self.state.as_ref().map(State::statistics)
    }

    /// The state that an earlier commit left, where such states are kept: those of a view, and of
    /// its base.
    pub async fn earlier(&self, known: Known) -> Result<Option<Self>> {
        let Some(state) = &self.state else { return Ok(None) };
        let under = match (&self.under, known.base) {
            (None, _) => None,
            (Some(_), None) => return Ok(None),
            (Some(under), Some(own)) => {
                let known = Known { own, base: None };
                let Some(earlier) = Box::pin(under.earlier(known)).await? else { return Ok(None) };
                Some(earlier)
            }
        };
        match state.earlier(known.own).await? {
            Some(earlier) => Self::of(earlier, under).await.map(Some),
            None => Ok(None),
        }
    }

    /// The record of the newest commit with this idempotency key, of those after the number `after`.
    pub(super) async fn find_key(&self, key: &str, after: u64) -> Result<Option<Record>> {
        match &self.state {
            Some(state) => Ok(state.find_key(key, after)),
            None => log::find_key(&self.base, after, self.latest, key).await,
        }
    }

    /// Refuses to commit what was staged so many seconds ago, if garbage collection may take it
    /// before the commit is made.
    pub(crate) fn check_staged_age(&self, age: u64) -> Result<()> {
        if is_fresh(age, self.head.grace) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::StagedExpired,
            "what is to be committed was staged longer ago than half the grace period of the \
             collection; stage it again, or set a longer grace period beforehand",
        )
        .with("age", format!("{age} s"))
        .with("grace", format!("{} s", self.head.grace))
        .with("store", self.base.url()))
    }

    /// The id of the commit of a number; none if it is not known any more.
    pub async fn commit_id(&self, number: u64) -> Result<Option<String>> {
        match &self.state {
            Some(state) => Ok(state.id_of(number)),
            None => log::commit_id(&self.base, number).await,
        }
    }

    /// When a partition was written last, by the clock of the store; by the clocks of the writers
    /// in an Icechunk repository.
    pub async fn written(&self, path: &str) -> Result<Option<Timestamp>> {
        match &self.state {
            Some(state) => Ok(state.written(path)),
            None => {
                let written = self.base.head(&group_key(self.config.layout, path)).await?;
                Ok(written.map(|info| info.last_modified))
            }
        }
    }

    /// Whether all that this state names is kept for certain, so many seconds after it was taken.
    /// It is not where commits were not published: what these have staged is removed earlier.
    pub fn is_kept(&self, age: u64) -> bool {
        self.pending.is_empty()
            && age < self.head.grace / 2
            && self.under.as_ref().is_none_or(|under| under.is_kept(age))
    }

    /// It is a state of an Icechunk repository, which does not change; of a view, so is its base.
    pub fn is_in_repository(&self) -> bool {
        self.state.is_some() && self.under.as_ref().is_none_or(|under| under.is_in_repository())
    }

    /// It is an earlier state. Its content does not change, but the partitions that were not
    /// touched since are read where later commits put theirs.
    pub fn is_past(&self) -> bool {
        self.listed.is_some()
    }

    /// The store as it is, for writing.
    pub fn base(&self) -> &Store {
        &self.base
    }

    /// The partitions for which the predicate on the fields of keys is true, ordered by key.
    pub async fn partitions(&self, predicate: Option<&Predicate>) -> Result<Vec<Partition>> {
        if let Some(listed) = &self.listed {
            return select(listed.to_vec(), &self.config.partitioning, predicate);
        }
        let listed = list_partitions_below(&self.base, &self.config, self.directories()).await?;
        if self.pending.is_empty() && self.head.young.is_empty() {
            return select(listed, &self.config.partitioning, predicate);
        }
        let mut found: BTreeMap<Key, String> =
            listed.into_iter().map(|found| (found.key, found.path)).collect();
        self.correct_listing(&mut found).await?;
        for change in self.pending.iter().flat_map(|record| &record.changes) {
            let Some(key) = self.config.partitioning.parse(&change.path) else { continue };
            match change.action {
                Action::Drop => drop(found.remove(&key)),
                _ => drop(found.insert(key, change.path.clone())),
            }
        }
        let found = found.into_iter().map(|(key, path)| Partition { key, path }).collect();
        select(found, &self.config.partitioning, predicate)
    }

    /// Corrects a listing of the published layout by what the head says: requests that are carried
    /// out late may have removed the objects of a partition, or brought back those of a dropped one.
    async fn correct_listing(&self, found: &mut BTreeMap<Key, String>) -> Result<()> {
        let now = Timestamp::now();
        for path in self.head.young.keys() {
            let Some(young) = self.head.young(path, now) else { continue };
            let Some(key) = self.config.partitioning.parse(path) else { continue };
            match (&young.stage, found.contains_key(&key)) {
                (Some(_), false) => drop(found.insert(key, path.clone())),
                // Unless another program has made the partition anew.
                (None, true) => match Standing::find(&self.base, path, &young.note).await? {
                    Standing::AsItLies => {}
                    Standing::Managed(_) => drop(found.remove(&key)),
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// The commits after the number `base`, in order, with what is not to be trusted any more: the
    /// paths that were read from where they were staged, if they have been published since.
    pub async fn since(&self, base: u64) -> Result<Since> {
        if let Some(state) = &self.state {
            return state.since(base).await;
        }
        let (head, early) =
            futures::try_join!(Head::read(&self.base), read_after(&self.base, base))?;
        let known = early.last().map_or(base, |record| record.sequence);
        let mut records = early;
        if known < head.published {
            // One may have been committed after it was looked for, or is not kept any more.
            records.extend(read_after(&self.base, known).await?);
            if records.last().is_none_or(|last| last.sequence < head.published) {
                return Ok(Since { records: Vec::new(), unknown: true, moved: Vec::new() });
            }
        }
        let published = |record: &&Record| record.sequence <= head.published;
        let moved = self.pending.iter().filter(published);
        // Objects that versions before manifests have staged are moved when they are published.
        let moved = moved.flat_map(|record| &record.changes).filter(|own| !own.has_manifest);
        let moved = moved.map(|change| change.path.clone());
        Ok(Since { records, unknown: false, moved: moved.collect() })
    }

    /// True if there were commits since, or some were published; of a view, also in its base.
    pub async fn is_outdated(&self) -> Result<bool> {
        if let Some(under) = &self.under
            && Box::pin(under.is_outdated()).await?
        {
            return Ok(true);
        }
        let since = self.since(self.latest).await?;
        Ok(since.unknown || !since.records.is_empty() || !since.moved.is_empty())
    }

    /// True if nothing that was read from these partitions can have changed meanwhile. `listed`
    /// says that it also matters which partitions there are.
    pub async fn is_current(&self, paths: &[&str], listed: bool) -> Result<bool> {
        if let Some(under) = &self.under
            && !Box::pin(under.is_current(paths, listed)).await?
        {
            return Ok(false);
        }
        // A state of a repository does not change.
        if self.state.is_some() {
            return Ok(true);
        }
        if let Some(past) = &self.past {
            // Which partitions an earlier state has is known since it was taken.
            let is_live = |path: &&&str| !past.contains_key(**path);
            return match paths.iter().find(is_live) {
                None => Ok(true),
                Some(_) => {
                    let since = self.since(self.seen).await?;
                    Ok(!paths.iter().filter(is_live).any(|path| since.touched(path, self.seen)))
                }
            };
        }
        Ok(self.is_steady(&self.since(self.latest).await?, paths, listed))
    }

    /// As [`Snapshot::is_current`], by what happened since this state, or since an earlier one.
    pub fn is_steady(&self, since: &Since, paths: &[&str], listed: bool) -> bool {
        let newer = |record: &&Record| record.sequence > self.latest;
        let mut newer = since.records.iter().filter(newer);
        if since.unknown || (listed && newer.any(Record::changes_listing)) {
            return false;
        }
        let moved = |path: &str| since.moved.iter().any(|moved| moved == path);
        !paths.iter().any(|path| since.touched(path, self.latest) || moved(path))
    }
}

/// Reads what a collection or view is, and the commits after a number.
async fn read_state(
    store: &Store,
    under: Option<&Snapshot>,
    published: u64,
) -> Result<(Config, Vec<Record>)> {
    futures::try_join!(read_document(store, under), read_after(store, published))
}

/// Reads what a collection is, or over this one a view.
pub(super) async fn read_document(store: &Store, under: Option<&Snapshot>) -> Result<Config> {
    match under {
        None => read_config(store).await,
        Some(under) => read_view(store, Some(under.config.layout)).await,
    }
}

/// The configurations of what a collection or view stores itself, and of what can be read.
pub(super) fn laid_over(
    config: Config,
    under: Option<&Snapshot>,
) -> Result<(Arc<Config>, Arc<Config>)> {
    let Some(under) = under else {
        let config = Arc::new(config);
        return Ok((Arc::clone(&config), config));
    };
    let config = config.over(&under.config)?;
    let whole = config.laid_over(&under.config);
    Ok((Arc::new(config), Arc::new(whole)))
}

/// The commits since a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Since {
    /// The commits, in order.
    pub records: Vec<Record>,
    /// Some are not kept any more.
    pub unknown: bool,
    /// Paths whose objects may not be where the snapshot looks for them.
    pub moved: Vec<String>,
}

impl Since {
    /// True if a commit after the number `base` may have touched what is at a path.
    pub fn touched(&self, path: &str, base: u64) -> bool {
        let newer = |record: &Record| record.sequence > base && record.touches(path);
        self.unknown || self.records.iter().any(newer)
    }
}
