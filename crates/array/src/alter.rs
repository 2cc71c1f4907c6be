//! Dropping partitions, and changing the variables and attributes of a collection.

use std::collections::{HashMap, HashSet};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use partita_core::{Error, ErrorKind, Predicate, Result};

use crate::collection::{Collection, Partition};
use crate::commit::{Change, Draft, PartitionFacts, Snapshot, store_time};
use crate::conform::{build, fill};
use crate::dataset::{Dataset, Schema, VariableSchema};
use crate::json::Attributes;
use crate::layout::{Config, GroupPlan, immutable_group, read_listing};
use crate::options::Work;
use crate::sizes::stored_sizes;
use crate::statistics::rebuild;
use crate::transact::Stage;

/// Partitions changed concurrently.
const PARTITIONS_IN_FLIGHT: usize = 16;

/// Options of dropping partitions.
#[derive(Debug, Clone, Default)]
pub struct DropOptions {
    /// Drops the partitions for which this is true; all if there is none. The columns are the
    /// fields of the keys.
    pub predicate: Option<Predicate>,
    /// Drops only partitions that were last written longer ago than this, by the clock of the
    /// store.
    pub older_than: Option<SignedDuration>,
    /// The idempotency key of the commit: a commit with the same key is not made twice.
    pub key: Option<String>,
    /// Cancels the operation.
    pub work: Work,
}

/// Options of changing variables and attributes.
#[derive(Debug, Clone, Default)]
pub struct AlterOptions {
    /// The idempotency key of the commit: a commit with the same key is not made twice.
    pub key: Option<String>,
    /// Receives progress in partitions.
    pub work: Work,
}

impl Collection {
    /// Drops partitions, in one commit. Returns those that were dropped, ordered by key; none if a
    /// commit with the same `key` was made before.
    ///
    /// # Errors
    /// [`InvalidPredicate`](ErrorKind::InvalidPredicate) as [`Collection::partitions`];
    /// [`ReadOnly`](ErrorKind::ReadOnly); [`CommitConflict`](ErrorKind::CommitConflict).
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn drop_partitions(&self, options: &DropOptions) -> Result<Vec<Partition>> {
        let before = match options.older_than {
            None => None,
            Some(age) => {
                self.check_writable()?;
                let before = store_time(self.store()).await?.checked_sub(age);
                let out_of_range = "the age is out of range";
                Some(before.map_err(|error| Error::invalid(out_of_range).caused_by(error))?)
            }
        };
        let dropped = std::sync::Mutex::default();
        let drops = Drops { options, before, dropped: &dropped };
        self.transact("drop_partitions", options.key.as_deref(), &drops).await?;
        Ok(dropped.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Adds a variable to the collection, and to every partition, filled with its fill value, in
    /// one commit. It must have the partitioned dimension and otherwise only existing dimensions.
    /// `group` is the path of its group, which is created if it does not exist; an empty path is
    /// the root.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists); [`InvalidArgument`](ErrorKind::InvalidArgument)
    /// or [`NotFound`](ErrorKind::NotFound), with the variable or its dimension;
    /// [`ReadOnly`](ErrorKind::ReadOnly); [`CommitConflict`](ErrorKind::CommitConflict).
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn add_variable(
        &self,
        group: &str,
        variable: &VariableSchema,
        options: &AlterOptions,
    ) -> Result<()> {
        let alter = Alter { edit: Edit::Add { group, variable }, work: &options.work };
        self.transact("add_variable", options.key.as_deref(), &alter).await.map(drop)
    }

    /// Removes a variable from the collection and from every partition, in one commit.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`InvalidArgument`](ErrorKind::InvalidArgument) if it is
    /// the axis, or rows are partitioned by it; [`ReadOnly`](ErrorKind::ReadOnly);
    /// [`CommitConflict`](ErrorKind::CommitConflict).
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn drop_variable(&self, path: &str, options: &AlterOptions) -> Result<()> {
        let alter = Alter { edit: Edit::Drop { path }, work: &options.work };
        self.transact("drop_variable", options.key.as_deref(), &alter).await.map(drop)
    }

    /// Replaces the attributes of the collection, or of one variable or group.
    ///
    /// Attributes in the documents of partitions stay as they are: ZCollection's Zarr v2 layout
    /// keeps none there.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such variable or group;
    /// [`ReadOnly`](ErrorKind::ReadOnly); [`CommitConflict`](ErrorKind::CommitConflict).
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn set_attributes(
        &self,
        variable: Option<&str>,
        attributes: Attributes,
        options: &AlterOptions,
    ) -> Result<()> {
        let edit = Edit::Attributes { variable, attributes };
        let alter = Alter { edit, work: &options.work };
        self.transact("set_attributes", options.key.as_deref(), &alter).await.map(drop)
    }
}

impl Collection {
    /// Sets the variables, besides the axis, of which statistics are kept, and computes them: the
    /// smallest and largest values in each partition. A condition on such a variable then skips
    /// partitions that cannot hold matching rows.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a variable that does not have the
    /// partitioned dimension alone, or whose values cannot be compared;
    /// [`ReadOnly`](ErrorKind::ReadOnly); [`CommitConflict`](ErrorKind::CommitConflict); the errors
    /// of reading the variables.
    #[tracing::instrument(level = "debug", skip_all, fields(dataset = %self.place()))]
    pub async fn set_statistics(&self, variables: &[String], options: &AlterOptions) -> Result<()> {
        let alter = Alter { edit: Edit::Statistics { variables }, work: &options.work };
        self.transact("set_statistics", options.key.as_deref(), &alter).await?;
        rebuild(self, &HashSet::new(), &options.work).await
    }
}

struct Drops<'a> {
    options: &'a DropOptions,
    before: Option<Timestamp>,
    dropped: &'a std::sync::Mutex<Vec<Partition>>,
}

impl Stage for Drops<'_> {
    fn stage<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        draft: &'a mut Draft,
        _only: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            draft.clear();
            let why = "partitions are dropped from the base of a view; then sync the view";
            snapshot.config.check_no_view(why)?;
            let found = snapshot.partitions(self.options.predicate.as_ref()).await?;
            let is_old = async |partition: Partition| {
                self.options.work.cancel.check()?;
                let Some(before) = self.before else { return Ok(Some(partition)) };
                let written = snapshot.written(&partition.path).await?;
                let old = written.is_some_and(|written| written < before);
                Ok::<_, Error>(old.then_some(partition))
            };
            let old: Vec<Option<Partition>> = stream::iter(found)
                .map(is_old)
                .buffered(PARTITIONS_IN_FLIGHT)
                .try_collect()
                .await?;
            let gone: Vec<Partition> = old.into_iter().flatten().collect();
            for partition in &gone {
                snapshot.base().check_removable(&partition.path)?;
            }
            // The age of a partition changes if somebody writes it meanwhile, so that a drop by age
            // depends on it.
            let reads = self.before.is_some();
            gone.iter().for_each(|partition| draft.add(Change::drop(&partition.path), reads));
            *self.dropped.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = gone;
            Ok(())
        }
        .boxed()
    }
}

enum Edit<'a> {
    Add { group: &'a str, variable: &'a VariableSchema },
    Drop { path: &'a str },
    Attributes { variable: Option<&'a str>, attributes: Attributes },
    Statistics { variables: &'a [String] },
}

struct Alter<'a> {
    edit: Edit<'a>,
    work: &'a Work,
}

impl Stage for Alter<'_> {
    fn stage<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        draft: &'a mut Draft,
        _only: Option<&'a [String]>,
    ) -> BoxFuture<'a, Result<()>> {
        self.stage_all(snapshot, draft).boxed()
    }
}

impl Alter<'_> {
    async fn stage_all(&self, snapshot: &Snapshot, draft: &mut Draft) -> Result<()> {
        draft.clear();
        let mut config = snapshot.config.as_ref().clone();
        let path = match &snapshot.under {
            Some(under) => self.edit_view(&mut config, &under.config)?,
            None => self.edit_config(&mut config)?,
        };
        config.check()?;
        if let Some(path) = path {
            let partitions = snapshot.partitions(None).await?;
            let sizes = stored_sizes(snapshot.under.as_deref().unwrap_or(snapshot), &partitions);
            let sizes = sizes.await?;
            let mut groups: Vec<Option<Partition>> = partitions.into_iter().map(Some).collect();
            let own = snapshot.config.schema.variable(&path);
            if own.is_some_and(|own| own.axis(&config.dimension).is_none()) {
                groups = vec![None];
            }
            let progress = self.work.progress.as_ref();
            progress.start("alter", Some(groups.len() as u64));
            let (stages, config) = (&*draft, &config);
            let one = async |group: Option<Partition>| {
                self.work.cancel.check()?;
                let change =
                    self.change(snapshot, config, stages.stage(), group.as_ref(), &path, &sizes);
                let change = match &group {
                    Some(group) => change.await.map_err(|e| e.with("partition", &group.path)),
                    None => change.await,
                };
                progress.advance(1);
                change
            };
            let changes =
                stream::iter(groups).map(one).buffer_unordered(PARTITIONS_IN_FLIGHT).try_collect();
            let changes: Result<Vec<Option<Change>>> = changes.await;
            progress.finish();
            for change in changes?.into_iter().flatten() {
                draft.add(change, true);
            }
        }
        draft.set_config(config);
        Ok(())
    }

    /// Like `edit_config`, for a view, of which only its own variables can be changed.
    fn edit_view(&self, config: &mut Config, base: &Config) -> Result<Option<String>> {
        let named = |error: Error, path: &str| error.with("variable", path);
        let path = match &self.edit {
            Edit::Add { group, variable } => {
                config.schema.add_groups(&base.schema, group);
                let path = join(group, &variable.name);
                check_override(base, &path).map_err(|error| named(error, &path))?;
                return self.edit_config(config);
            }
            Edit::Drop { path } => Some(*path),
            Edit::Attributes { variable, .. } => *variable,
            Edit::Statistics { .. } => None,
        };
        if let Some(path) = path
            && config.schema.variable(path).is_none()
            && base.schema.variable(path).is_some()
        {
            let why = "the variable belongs to the base of the view, which is not changed through \
                       the view";
            return Err(named(Error::invalid(why), path));
        }
        self.edit_config(config)
    }

    /// Edits the configuration; returns the variable whose arrays change, if there is one.
    fn edit_config(&self, config: &mut Config) -> Result<Option<String>> {
        match &self.edit {
            Edit::Add { group, variable } => add(config, group, variable).map(Some),
            Edit::Drop { path } => {
                let named = |error: Error| error.with("variable", path);
                if config.schema.variable(path).is_none() {
                    let error = Error::new(ErrorKind::NotFound, "there is no such variable");
                    return Err(named(error));
                }
                if config.axis == *path || config.partitioning.variables().contains(path) {
                    return Err(named(Error::invalid(
                        "this variable is the axis of the collection, or the collection is \
                         partitioned by it",
                    )));
                }
                config.schema = config.schema.filtered(&|other, _| other != *path);
                config.statistics.retain(|other| other != path);
                Ok(Some((*path).to_owned()))
            }
            Edit::Statistics { variables } => {
                config.statistics = variables.to_vec();
                Ok(None)
            }
            Edit::Attributes { variable: None, attributes } => {
                config.schema.attributes = attributes.clone();
                Ok(None)
            }
            Edit::Attributes { variable: Some(path), attributes } => {
                let found = attributes_of(&mut config.schema, path).ok_or_else(|| {
                    Error::new(ErrorKind::NotFound, "there is no such variable or group")
                        .with("variable", path)
                })?;
                found.clone_from(attributes);
                Ok(None)
            }
        }
    }

    /// The change of the variable's arrays in one partition, or in the group of variables that are
    /// not partitioned.
    async fn change(
        &self,
        snapshot: &Snapshot,
        config: &Config,
        stage: String,
        partition: Option<&Partition>,
        path: &str,
        sizes: &HashMap<String, usize>,
    ) -> Result<Option<Change>> {
        let directory = match partition {
            Some(partition) => partition.path.as_str(),
            None => immutable_group(config.layout),
        };
        let listing = match read_listing(&snapshot.store, config, directory).await {
            // The first insert that contains such a variable stores it.
            Err(error) if error.kind() == ErrorKind::NotFound && partition.is_none() => {
                return Ok(None);
            }
            listing => listing?,
        };
        let (dataset, removed) = match (&self.edit, partition) {
            (Edit::Add { .. }, Some(partition)) => {
                let rows = snapshot.length(partition).await?;
                (filled(config, path, rows, sizes)?, Vec::new())
            }
            _ => (Dataset::new(Vec::new(), Attributes::new())?, vec![path.to_owned()]),
        };
        let plan = GroupPlan::variables(config, directory, &dataset, listing.as_deref(), &removed)?;
        let mut replaced = plan.replaced(directory, &[]);
        replaced.extend(removed);
        let (facts, work) = (PartitionFacts::default(), self.work.quiet());
        snapshot.stage_patch(stage, directory, plan, replaced, facts, &work).await.map(Some)
    }
}

/// Refuses a view that would override the axis or a variable that partitions.
pub(crate) fn check_override(base: &Config, path: &str) -> Result<()> {
    let rows = base.rows_variable();
    if rows.as_deref() == Some(path) || base.partitioning.variables().contains(&path) {
        return Err(Error::invalid(
            "this variable is the axis of the base of the view, or the base is partitioned by it",
        ));
    }
    Ok(())
}

fn join(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") }
}

pub(crate) fn add(config: &mut Config, group: &str, variable: &VariableSchema) -> Result<String> {
    let path = join(group, &variable.name);
    let named = |error: Error| error.with("variable", &path);
    if config.schema.variable(&path).is_some() {
        return Err(named(Error::new(
            ErrorKind::AlreadyExists,
            "a variable with this name exists already",
        )));
    }
    if variable.axis(&config.dimension).is_none() {
        return Err(named(
            Error::invalid("a variable that is added must have the partitioned dimension")
                .with("dimension", &config.dimension),
        ));
    }
    let known = config.schema.all_dimensions();
    let is_known = |name: &String| known.iter().any(|dimension| dimension.name == *name);
    if let Some(unknown) = variable.dimensions.iter().find(|name| !is_known(name)) {
        let error = Error::new(ErrorKind::NotFound, "the collection has no such dimension");
        return Err(named(error.with("dimension", unknown)));
    }
    let names = group.split('/').filter(|name| !name.is_empty());
    let schema = names
        .fold(&mut config.schema, |schema, name| schema.groups.entry(name.to_owned()).or_default());
    schema.add(variable.clone())?;
    config.schema.share_dimensions(&config.dimension);
    Ok(path)
}

/// The attributes of a variable or group.
fn attributes_of<'a>(schema: &'a mut Schema, path: &str) -> Option<&'a mut Attributes> {
    match path.split_once('/') {
        Some((group, rest)) => attributes_of(schema.groups.get_mut(group)?, rest),
        None if schema.variables.contains_key(path) => {
            schema.variables.get_mut(path).map(|variable| &mut variable.attributes)
        }
        None => schema.groups.get_mut(path).map(|group| &mut group.attributes),
    }
}

fn filled(
    config: &Config,
    path: &str,
    rows: usize,
    sizes: &HashMap<String, usize>,
) -> Result<Dataset> {
    let size = |name: &str| match name == config.dimension {
        true => Some(rows),
        false => sizes.get(name).copied(),
    };
    let schema = config.schema.filtered(&|other, _| other == path);
    build(&schema, "", &|path, own| fill(path, own, &size).map(Some))
}
