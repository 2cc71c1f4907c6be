//! Checking a collection against what the store holds, and mending what can be mended.

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use partita_core::upkeep::{Problem, ProblemKind};
use partita_core::{Error, ErrorKind, Predicate, Result};
use tracing::Instrument;

use crate::collection::{Collection, Partition};
use crate::commit::{Draft, Snapshot};
use crate::layout::{immutable_group, open_group};
use crate::options::{ReadOptions, Work};
use crate::read::{Wanted, read};
use crate::select::select;
use crate::statistics::{PartitionStatistics, Statistics, rebuild, summarise};
use crate::transact::Stage;

/// Partitions checked at once.
const AT_ONCE: usize = 8;

/// Options of a verification.
#[derive(Debug, Clone, Default)]
pub struct VerifyOptions {
    /// Which partitions; all if there is none. The columns are the fields of the keys.
    pub predicate: Option<Predicate>,
    /// Decode every chunk, and check that rows lie where they belong.
    pub data: bool,
    /// Write the list of partitions anew where it is wrong, and statistics where they are wrong or
    /// missing.
    pub repair: bool,
    /// Told about partitions.
    pub work: Work,
}

impl Collection {
    /// With `data`, compares the objects that commits published with the digests in their
    /// manifests. Checks that every partition has the variables that the collection has, with
    /// shapes that go together, and that the list of partitions is true; with `data`, that all of
    /// it can be decoded. Returns what is wrong, in the order of the keys.
    ///
    /// # Errors
    /// The errors are those of the store, and of reading what the collection is; what is wrong with
    /// a partition is no error.
    pub fn verify<'a>(&'a self, options: &'a VerifyOptions) -> BoxFuture<'a, Result<Vec<Problem>>> {
        async move {
            if options.repair {
                self.check_writable()?;
                self.backend().publish().await?;
            }
            let mut problems = match options.data {
                true => self.check_objects(options).await?,
                false => Vec::new(),
            };
            let snapshot = self.snapshot().await?;
            let listed = self.backend().check_catalog(&snapshot, options.repair).await?;
            problems.extend(listed.map(|(path, message)| Problem {
                kind: ProblemKind::Catalog,
                at: path.to_owned(),
                message,
                repaired: options.repair,
            }));
            let partitions = snapshot.partitions(options.predicate.as_ref()).await?;
            let progress = options.work.progress.as_ref();
            progress.start("verify", Some(partitions.len() as u64));
            let known = match options.data {
                true => snapshot.statistics(&partitions).await?,
                false => Statistics::new(),
            };
            let one = async |partition: Partition| {
                options.work.cancel.check()?;
                let found = check(&snapshot, &partition, known.get(&partition.path), options).await;
                progress.advance(1);
                found
            };
            let found: Result<Vec<Vec<Problem>>> =
                stream::iter(partitions).map(one).buffered(AT_ONCE).try_collect().await;
            progress.finish();
            let mut found: Vec<Problem> = found?.into_iter().flatten().collect();
            if options.repair && options.data {
                let damaged = |problem: &&mut Problem| {
                    matches!(problem.kind, ProblemKind::Damaged | ProblemKind::Missing)
                };
                for problem in found.iter_mut().filter(damaged) {
                    problem.repaired = self.mend(&problem.at).await?;
                }
            }
            problems.extend(found);
            problems.extend(check_immutable(&snapshot, options).await?);
            if options.repair {
                let wrong = problems.iter_mut().filter(|one| one.kind == ProblemKind::Statistics);
                let wrong = wrong.map(|one| {
                    one.repaired = true;
                    one.at.clone()
                });
                rebuild(self, &wrong.collect(), &options.work).await?;
            }
            Ok(problems)
        }
        .instrument(tracing::debug_span!("verify", dataset = %self.place()))
        .boxed()
    }
}

/// Makes partitions what was committed, by a commit of its own.
struct Mend<'a> {
    paths: &'a [String],
}

impl Stage for Mend<'_> {
    fn stage<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        draft: &'a mut Draft,
        only: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let is_wanted = |path: &&String| only.is_none_or(|only| only.contains(path));
            for path in self.paths.iter().filter(is_wanted) {
                match snapshot.stage_mended(path, draft.stage()).await? {
                    Some(change) => draft.add(change, true),
                    None => draft.remove(path),
                }
            }
            Ok(())
        }
        .boxed()
    }
}

impl Collection {
    /// The partitions of which published objects are not what was committed; with `repair` they are
    /// written again from retained objects, as far as there are any.
    async fn check_objects(&self, options: &VerifyOptions) -> Result<Vec<Problem>> {
        let snapshot = self.snapshot().await?;
        let listed = snapshot.partitions(None).await?;
        let mut problems = self.check_vanished(&snapshot, &listed, options).await?;
        let partitioning = &snapshot.config.partitioning;
        let chosen = select(listed, partitioning, options.predicate.as_ref())?.into_iter();
        let mut paths: Vec<String> = chosen.map(|partition| partition.path).collect();
        paths.push(immutable_group(snapshot.config.layout).to_owned());
        let check = async |path: String| {
            options.work.cancel.check()?;
            let message = match snapshot.spoilt(&path).await {
                // A manifest cannot be read.
                Err(error) if error.kind() == ErrorKind::Corrupt => Some(error.to_string()),
                names => Some(names?).filter(|names| !names.is_empty()).map(|names| {
                    format!("what is stored is not what was committed: {}", names.join(", "))
                }),
            };
            Ok::<_, Error>((path, message))
        };
        let found: Vec<(String, Option<String>)> =
            stream::iter(paths).map(check).buffered(AT_ONCE).try_collect().await?;
        let found = found.into_iter().filter_map(|(path, message)| Some((path, message?)));
        for (path, message) in found {
            let repaired = options.repair && self.mend(&path).await?;
            problems.push(Problem { kind: ProblemKind::Damaged, at: path, message, repaired });
        }
        Ok(problems)
    }

    /// The partitions that were committed and are gone without a commit that dropped them; with
    /// `repair` they are written again from retained objects, as far as there are any.
    async fn check_vanished(
        &self,
        snapshot: &Snapshot,
        listed: &[Partition],
        options: &VerifyOptions,
    ) -> Result<Vec<Problem>> {
        let immutable = immutable_group(snapshot.config.layout);
        let listed = listed.iter().map(|one| one.path.as_str()).chain([immutable]).collect();
        let partitioning = &snapshot.config.partitioning;
        let vanished = snapshot.vanished(&listed).await?.into_iter();
        let gone = vanished.filter_map(|path| {
            let key = partitioning.parse(&path)?;
            Some(Partition { key, path })
        });
        let gone = select(gone.collect(), partitioning, options.predicate.as_ref())?;
        let mut problems = Vec::with_capacity(gone.len());
        for Partition { path, .. } in gone {
            let repaired = options.repair && self.mend(&path).await?;
            let message = "the partition was committed, and is gone: its objects were lost, or \
                           another program has dropped it";
            let (kind, message) = (ProblemKind::Missing, message.to_owned());
            problems.push(Problem { kind, at: path, message, repaired });
        }
        Ok(problems)
    }

    /// Makes a partition what was committed. False if nothing tells what that was, or no copy of an
    /// object is left.
    async fn mend(&self, path: &str) -> Result<bool> {
        let paths = &[path.to_owned()];
        match self.transact("verify", None, &Mend { paths }).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(false),
            mended => Ok(mended? > 0),
        }
    }
}

impl Snapshot {
    /// The valid statistics of these partitions.
    async fn statistics(&self, partitions: &[Partition]) -> Result<Statistics> {
        let published = partitions.iter().map(|partition| partition.path.as_str());
        let is_pending = |path: &&str| self.pending.iter().any(|record| record.touches(path));
        let paths = published.filter(|path| !is_pending(path)).collect();
        self.valid_statistics(&paths, &self.config.summarised()).await
    }
}

async fn check(
    snapshot: &Snapshot,
    partition: &Partition,
    known: Option<&PartitionStatistics>,
    options: &VerifyOptions,
) -> Result<Vec<Problem>> {
    let (config, path) = (&snapshot.config, &partition.path);
    let problem = |kind: ProblemKind, message: String| Problem {
        kind,
        at: path.clone(),
        message,
        repaired: false,
    };
    let schema = config.partitioned();
    let opened = match open_group(&snapshot.store, config, path, &schema).await {
        Ok(Some(opened)) => opened,
        // Before a view has variables its partitions have none.
        Ok(None) if schema.paths().is_empty() => Vec::new(),
        Ok(None) => {
            let message = "the partition is not complete: its writer died";
            return Ok(vec![problem(ProblemKind::Missing, message.to_owned())]);
        }
        Err(error) if error.kind() == ErrorKind::Store => return Err(error),
        Err(error) => return Ok(vec![problem(ProblemKind::Damaged, error.to_string())]),
    };
    let missing = opened.iter().filter(|(_, array)| array.is_none());
    let missing = missing.map(|(variable, _)| {
        let message = format!("the variable {variable} is missing; it reads as its fill value");
        problem(ProblemKind::Missing, message)
    });
    let mut problems: Vec<Problem> = missing.collect();
    if snapshot.under.is_some() {
        problems.extend(check_view(snapshot, partition, options).await?);
        return Ok(problems);
    }
    let variables = match options.data {
        true => None,
        // Enough to see that the lengths agree.
        false => Some(config.partitioning.variables().into_iter().map(str::to_owned).collect()),
    };
    let checked = snapshot.length(partition).await;
    let read_options =
        ReadOptions { variables, work: options.work.quiet(), ..ReadOptions::default() };
    let wanted = [Wanted::whole(partition)];
    let data = match checked {
        Ok(_) => read(&snapshot.store, config, &wanted, &read_options).await,
        Err(error) => Err(error),
    };
    if let (Some(known), Ok(data)) = (known, &data) {
        let true_ones = summarise(config, data)?;
        let wrong = known.iter().filter(|(variable, own)| {
            true_ones.get(*variable).is_some_and(|true_one| !own.agrees(true_one))
        });
        problems.extend(wrong.map(|(variable, _)| {
            let message = format!("what is noted of the values of {variable} is not true");
            problem(ProblemKind::Statistics, message)
        }));
    }
    match data.and_then(|data| config.partitioning.split(&data, &config.schema)) {
        Err(error) if matches!(error.kind(), ErrorKind::Store | ErrorKind::Interrupted) => {
            return Err(error);
        }
        Err(error) => problems.push(problem(ProblemKind::Damaged, error.to_string())),
        Ok(groups) => {
            if let Some(other) = groups.iter().find(|group| group.key != partition.key) {
                let message = format!("{} of its rows belong to {}", other.len(), other.key);
                problems.push(problem(ProblemKind::Misplaced, message));
            }
        }
    }
    Ok(problems)
}

/// Checks a partition of a view: its rows against the base, and the variables that the view stores.
async fn check_view(
    snapshot: &Snapshot,
    partition: &Partition,
    options: &VerifyOptions,
) -> Result<Vec<Problem>> {
    let problem = |error: &Error| {
        let kind = match error.kind() {
            ErrorKind::OutOfSync => ProblemKind::Unsynced,
            _ => ProblemKind::Damaged,
        };
        Problem { kind, at: partition.path.clone(), message: error.to_string(), repaired: false }
    };
    let synced = snapshot.check_synced(std::slice::from_ref(partition), &options.work).await;
    let data = match options.data {
        true if !snapshot.config.schema.paths().is_empty() => {
            let work = options.work.quiet();
            let read_options = ReadOptions { work, ..ReadOptions::default() };
            let wanted = [Wanted::whole(partition)];
            read(&snapshot.store, &snapshot.config, &wanted, &read_options).await.map(drop)
        }
        _ => Ok(()),
    };
    let mut problems = Vec::new();
    for checked in [synced, data] {
        match checked {
            Err(error) if matches!(error.kind(), ErrorKind::Store | ErrorKind::Interrupted) => {
                return Err(error);
            }
            Err(error) => problems.push(problem(&error)),
            Ok(()) => {}
        }
    }
    Ok(problems)
}

async fn check_immutable(snapshot: &Snapshot, options: &VerifyOptions) -> Result<Vec<Problem>> {
    let config = &snapshot.config;
    let schema = config.immutable();
    if schema.paths().is_empty() || !options.data {
        return Ok(Vec::new());
    }
    let variables = Some(schema.names());
    let read_options =
        ReadOptions { variables, work: options.work.quiet(), ..ReadOptions::default() };
    match read(&snapshot.store, config, &[], &read_options).await {
        Ok(_) => Ok(Vec::new()),
        Err(error) if matches!(error.kind(), ErrorKind::Store | ErrorKind::Interrupted) => {
            Err(error)
        }
        Err(error) => Ok(vec![Problem {
            kind: ProblemKind::Damaged,
            at: immutable_group(config.layout).to_owned(),
            message: error.to_string(),
            repaired: false,
        }]),
    }
}
