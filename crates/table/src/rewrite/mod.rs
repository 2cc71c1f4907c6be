//! Operations that read files and replace them: row deletes, upserts, compaction.
//!
//! Each is a [`Rewrite`]: it processes *units*, which are one file or several of one partition, and
//! records the outcome of each. A commit applies the recorded outcomes. After a lost race, outcomes
//! of files that no longer exist are dropped, new files are processed, and the commit is retried:
//! nothing is rewritten twice.

mod altered;
mod delete;
mod keys;
mod optimize;
mod renumber;
mod upsert;

pub use optimize::{OptimizeOptions, SmallFiles};
pub(crate) use renumber::Growing;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use hashbrown::HashSet;
use indexmap::IndexMap;
use partita_core::{Cancel, Error, NoProgress, Predicate, Result, Store, cores};

use crate::alter::Alteration;
use crate::change::{Change, Layout};
use crate::commit::{Propose, purpose};
use crate::facts::missing_row_counts;
use crate::feed::feed;
use crate::format::footer::ParquetObject;
use crate::format::pandas::ExtensionTypes;
use crate::format::schema::{fits_table, with_pandas};
use crate::format::snapshot::Operation;
use crate::options::{SchemaMode, WriteOptions};
use crate::prune::{Plan, plan};
use crate::scan::{BATCH_ROWS, Except, Read, RowTest};
use crate::stage::{Columns, Staged, Target, discard, stage};
use crate::state::State;

/// The change that a rewrite makes to the files it processes.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// Removes the rows that pass the test. Files that the predicate excludes are not opened.
    Remove { test: Arc<dyn RowTest>, candidates: Predicate },
    /// Merges small files.
    Compact(OptimizeOptions),
    /// Changes the schema, and writes the files again that hold the column.
    Alter(Arc<Alteration>),
}

/// The outcome of a unit.
#[derive(Debug)]
enum Outcome {
    /// The unit is not changed.
    Kept,
    /// Its files are replaced by these; `None` removes them.
    Replaced(Option<Box<Staged>>),
}

/// An operation in progress.
pub(crate) struct Rewrite {
    store: Store,
    name: String,
    operation: Operation,
    rule: Rule,
    options: WriteOptions,
    /// Staged data that the commit also adds.
    added: Vec<Staged>,
    /// True if that data was staged by a separate call.
    added_apart: bool,
    outcomes: IndexMap<Vec<String>, Outcome>,
    planned: bool,
    /// Files of added data that were written again, see [`renumber`].
    renumbered: Vec<String>,
}

impl Rewrite {
    pub fn new(
        store: &Store,
        name: &str,
        operation: Operation,
        rule: Rule,
        added: Vec<Staged>,
        options: &WriteOptions,
    ) -> Self {
        Self {
            store: store.clone(),
            name: name.to_owned(),
            operation,
            rule,
            options: options.clone(),
            added,
            added_apart: false,
            outcomes: IndexMap::new(),
            planned: false,
            renumbered: Vec::new(),
        }
    }

    /// Marks the added data as staged by a separate call.
    pub fn staged_apart(self, apart: bool) -> Self {
        Self { added_apart: apart, ..self }
    }

    /// True if it changes the schema, so that what it looks for is not there once it is made.
    pub fn alters(&self) -> bool {
        matches!(self.rule, Rule::Alter(_))
    }

    /// True if its commit has an idempotency key.
    pub fn is_keyed(&self) -> bool {
        self.options.idempotency_key.is_some()
    }

    /// The flag that cancels it.
    pub fn cancel(&self) -> Cancel {
        self.options.cancel.clone()
    }

    /// Processes the files of `state` that were not processed before.
    pub fn examine<'a>(&'a mut self, state: &'a Arc<State>) -> BoxFuture<'a, Result<()>> {
        async move {
            self.forget_gone(state).await;
            let units = match &self.rule {
                Rule::Remove { candidates, .. } => {
                    let plan = plan(&self.store, state, Some(&state.bind(candidates)?)).await?;
                    plan.each_file()?
                }
                // Files that others have added in the meantime are left to the next compaction.
                Rule::Compact(_) if self.planned => Vec::new(),
                Rule::Compact(options) => optimize::units(&self.store, state, options).await?,
                Rule::Alter(alteration) => altered::units(&self.store, state, alteration).await?,
            };
            self.planned = true;
            let new: Vec<(Vec<String>, Plan)> = units
                .into_iter()
                .map(|unit| (unit.manifest.keys().map(str::to_owned).collect(), unit))
                .filter(|(keys, _)| !self.outcomes.contains_key::<Vec<String>>(keys))
                .collect();
            self.options.progress.start("files examined", Some(new.len() as u64));
            let cores = cores();
            // All units are awaited, even after a failure: their files must be known to be deleted.
            let looked_at: Vec<(Vec<String>, Result<Outcome>)> = stream::iter(new)
                .map(|(keys, unit)| async {
                    let outcome = self.outcome(state, unit).await;
                    self.options.progress.advance(1);
                    (keys, outcome)
                })
                .buffered(cores)
                .collect()
                .await;
            self.options.progress.finish();
            let mut failed = None;
            for (keys, outcome) in looked_at {
                match outcome {
                    Ok(outcome) => drop(self.outcomes.insert(keys, outcome)),
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), Err)
        }
        .boxed()
    }

    /// Deletes all files that it wrote itself, after a failure.
    pub async fn abandon(self) {
        let replaced = self.outcomes.values().filter_map(|outcome| match outcome {
            Outcome::Replaced(staged) => staged.as_deref(),
            Outcome::Kept => None,
        });
        let keys = replaced.flat_map(Staged::keys).chain(self.renumbered.iter().cloned());
        discard(&self.store, keys.collect()).await;
    }

    async fn forget_gone(&mut self, state: &State) {
        let present: HashSet<&str> = state.manifest.keys().collect();
        let mut stale = Vec::new();
        self.outcomes.retain(|keys, outcome| {
            let stays = keys.iter().all(|key| present.contains(key.as_str()));
            if let (false, Outcome::Replaced(Some(staged))) = (stays, outcome) {
                stale.extend(staged.keys());
            }
            stays
        });
        discard(&self.store, stale).await;
    }

    async fn outcome(&self, state: &State, unit: Plan) -> Result<Outcome> {
        self.options.cancel.check()?;
        let test = match &self.rule {
            Rule::Compact(options) => {
                let staged = self.restage(state, &unit, None, &options.sort_by).await?;
                return Ok(Outcome::Replaced(Some(Box::new(staged))));
            }
            Rule::Alter(alteration) => {
                let layout = Layout::of(state);
                let column = alteration.rewrites(&layout).unwrap_or_default();
                if !altered::holds(&self.store, &unit, column).await? {
                    return Ok(Outcome::Kept);
                }
                let staged = self.restage(state, &unit, None, &[]).await?;
                return Ok(Outcome::Replaced(Some(Box::new(staged))));
            }
            Rule::Remove { test, .. } => Arc::clone(test),
        };
        let rows = unit.manifest.rows().sum::<Option<u64>>();
        let rows = rows.ok_or_else(missing_row_counts)?;
        let found = self.count(state, &unit, &test).await?;
        Ok(if found == 0 {
            Outcome::Kept
        } else if found == rows {
            Outcome::Replaced(None)
        } else {
            let rest = Arc::new(Except(test)) as Arc<dyn RowTest>;
            Outcome::Replaced(Some(Box::new(self.restage(state, &unit, Some(rest), &[]).await?)))
        })
    }

    async fn count(&self, state: &State, unit: &Plan, test: &Arc<dyn RowTest>) -> Result<u64> {
        let test = Some(Arc::clone(test));
        let mut batches = self.read(state, unit, Arc::new(Schema::empty()), test);
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await? {
            rows += batch.num_rows() as u64;
        }
        Ok(rows)
    }

    /// Writes the remaining rows of a unit to new files.
    async fn restage(
        &self,
        state: &State,
        unit: &Plan,
        test: Option<Arc<dyn RowTest>>,
        sort_by: &[String],
    ) -> Result<Staged> {
        let schema = unit_schema(&self.store, &state.schema, &state.extensions, unit).await?;
        let (schema, batches, target) = match &self.rule {
            Rule::Alter(alteration) => {
                let layout = altered::altered(state, alteration)?;
                let schema = altered::kept(&schema, alteration);
                let batches = self.read(state, unit, Arc::clone(&schema), test);
                let (schema, batches) = altered::renamed(schema, batches, alteration, &layout);
                let version = state.own.version;
                (schema, batches, Target::laid_out(&self.store, &self.name, layout, version))
            }
            _ => {
                let batches = self.read(state, unit, Arc::clone(&schema), test);
                (schema, batches, Target::of(&self.store, &self.name, state))
            }
        };
        let options = WriteOptions {
            progress: Arc::new(NoProgress),
            sort_by: sort_by.to_vec(),
            schema_mode: SchemaMode::Fixed,
            target_file_bytes: match &self.rule {
                // The unit was planned to fit one file already.
                Rule::Compact(_) => u64::MAX,
                Rule::Remove { .. } | Rule::Alter(_) => self.options.target_file_bytes,
            },
            ..self.options.clone()
        };
        let staged = stage(&target, feed(schema, batches), &options).await?;
        Ok(Staged { columns_are: Columns::Rewritten, ..staged })
    }

    fn read(
        &self,
        state: &State,
        unit: &Plan,
        schema: SchemaRef,
        test: Option<Arc<dyn RowTest>>,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let read = Read {
            store: self.store.clone(),
            table: Arc::clone(&state.schema),
            schema,
            test,
            batch_rows: BATCH_ROWS,
            account: Arc::default(),
            progress: Arc::new(NoProgress),
            cancel: self.options.cancel.clone(),
        };
        read.run(unit)
    }
}

impl Propose for &mut Rewrite {
    async fn propose(&mut self, base: Option<&Arc<State>>) -> Result<Option<Change>> {
        let base = base.ok_or_else(|| Error::corrupt("there is no table to rewrite"))?;
        self.examine(base).await?;
        let table = (&self.store, self.name.as_str());
        let added = (self.added.as_mut_slice(), self.added_apart);
        renumber::renumber(table, base, added, &self.options, &mut self.renumbered).await?;
        let mut change = Change::new(self.operation);
        change = change.with(&self.options);
        for (keys, outcome) in &self.outcomes {
            let Outcome::Replaced(staged) = outcome else { continue };
            change.removed.extend(keys.iter().cloned());
            if let Some(staged) = staged {
                change.carried += staged.rows();
                change.staged.push(staged.as_ref().clone());
            }
        }
        // Added data comes after the rewritten data.
        change.staged.extend(self.added.iter().cloned());
        change.staged_apart = self.added_apart;
        if let Rule::Alter(alteration) = &self.rule {
            change.alteration = Some(alteration.as_ref().clone());
            return Ok((!change.is_idle(Some(base))?).then_some(change));
        }
        let nothing =
            change.removed.is_empty() && change.staged.iter().all(|s| s.manifest.total_rows() == 0);
        Ok((!nothing).then_some(change))
    }

    fn idempotency_key(&self) -> Option<&str> {
        self.options.idempotency_key.as_deref()
    }

    fn purpose(&self) -> String {
        let scope = match &self.rule {
            // The predicate of an upsert is derived from its data.
            Rule::Remove { candidates, .. } if self.operation != Operation::Upsert => {
                Some(candidates)
            }
            Rule::Remove { .. } | Rule::Alter(_) => None,
            Rule::Compact(options) => options.scope.as_ref(),
        };
        let purpose = purpose(self.operation, scope);
        match &self.rule {
            Rule::Alter(alteration) => format!("{purpose} to {}", alteration.purpose()),
            _ => purpose,
        }
    }
}

/// The schema for rewriting the rows of a unit: the narrow types of its files if these agree,
/// otherwise those of the table.
pub(crate) async fn unit_schema(
    store: &Store,
    table: &Schema,
    extensions: &ExtensionTypes,
    unit: &Plan,
) -> Result<SchemaRef> {
    let sizes = unit.manifest.bytes().zip(unit.manifest.footers());
    let files: Vec<(String, _)> = unit.manifest.keys().map(str::to_owned).zip(sizes).collect();
    let schemas: Vec<SchemaRef> = stream::iter(files)
        .map(|(key, (bytes, footer))| async move {
            let mut object = ParquetObject::open(store, &key, bytes, footer).await?;
            Ok::<_, Error>(Arc::clone(object.metadata(false).await?.schema()))
        })
        .buffered(16)
        .try_collect()
        .await?;
    let fields: Vec<Field> = table
        .fields()
        .iter()
        .map(|field| {
            let mut types = schemas
                .iter()
                .map(|file| file.field_with_name(field.name()).ok().map(Field::data_type));
            match types.next().flatten() {
                Some(first)
                    if types.all(|other| other == Some(first))
                        && fits_table(first, field.data_type()) =>
                {
                    field.as_ref().clone().with_data_type(first.clone())
                }
                _ => field.as_ref().clone(),
            }
        })
        .collect();
    Ok(Arc::new(with_pandas(Schema::new(fields), extensions)))
}
