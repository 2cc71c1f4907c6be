//! Operations that read files, and replace them by others: row deletes, upserts, compaction.
//!
//! Each is a [`Rewrite`]: it looks at *units*, one file or several of one partition, and remembers
//! what becomes of each. A commit applies what is remembered. Where another writer was first, units
//! whose files are gone are forgotten, files that are new are looked at, and the commit is tried
//! again: what was rewritten already is not rewritten twice.

mod delete;
mod keys;
mod optimize;
mod upsert;

pub use optimize::OptimizeOptions;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use hashbrown::HashSet;
use indexmap::IndexMap;
use partita_core::{Cancel, Error, NoProgress, Predicate, Result, Store, cores};

use crate::change::Change;
use crate::commit::{Propose, purpose};
use crate::facts::missing_row_counts;
use crate::feed::feed;
use crate::format::footer::ParquetObject;
use crate::format::schema::{fits_table, with_pandas};
use crate::format::snapshot::Operation;
use crate::options::WriteOptions;
use crate::prune::{Plan, plan};
use crate::scan::{BATCH_ROWS, Except, Read, RowTest};
use crate::stage::{Staged, Target, discard, numbers, stage, texts, total};
use crate::state::State;

/// What a rewrite does to the files it looks at.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// Removes the rows that pass the test. Files that the predicate rules out are not opened.
    Remove { test: Arc<dyn RowTest>, candidates: Predicate },
    /// Puts small files together.
    Compact(OptimizeOptions),
}

/// What becomes of a unit.
#[derive(Debug)]
enum Outcome {
    /// It stays as it is.
    Kept,
    /// Its files are removed, and these, which may be none, take their place.
    Replaced(Option<Box<Staged>>),
}

/// An operation under way.
pub(crate) struct Rewrite {
    store: Store,
    name: String,
    operation: Operation,
    rule: Rule,
    options: WriteOptions,
    /// Data that the commit adds besides.
    added: Vec<Staged>,
    /// True if that was staged by a call of its own.
    added_apart: bool,
    outcomes: IndexMap<Vec<String>, Outcome>,
    planned: bool,
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
        }
    }

    /// The same with data that was staged by a call of its own.
    pub fn staged_apart(self, apart: bool) -> Self {
        Self { added_apart: apart, ..self }
    }

    /// What stops it.
    pub fn cancel(&self) -> Cancel {
        self.options.cancel.clone()
    }

    /// Looks at the files of `state` that were not looked at before.
    pub fn examine<'a>(&'a mut self, state: &'a Arc<State>) -> BoxFuture<'a, Result<()>> {
        async move {
            self.forget_gone(state).await;
            let units = match &self.rule {
                Rule::Remove { candidates, .. } => {
                    let plan =
                        plan(&self.store, state, Some(&candidates.bind(&state.schema)?)).await?;
                    plan.each_file()?
                }
                // Files that others have added meanwhile are left to the next time.
                Rule::Compact(_) if self.planned => Vec::new(),
                Rule::Compact(options) => optimize::units(&self.store, state, options).await?,
            };
            self.planned = true;
            let new: Vec<(Vec<String>, Plan)> = units
                .into_iter()
                .map(|unit| (texts(&unit.manifest, "key").map(str::to_owned).collect(), unit))
                .filter(|(keys, _)| !self.outcomes.contains_key::<Vec<String>>(keys))
                .collect();
            self.options.progress.start("files examined", Some(new.len() as u64));
            let cores = cores();
            // All are waited for, also after a failure: what they wrote must be known to be deleted.
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

    /// Deletes all that it wrote itself, after a failure.
    pub async fn abandon(self) {
        let replaced = self.outcomes.values().filter_map(|outcome| match outcome {
            Outcome::Replaced(staged) => staged.as_deref(),
            Outcome::Kept => None,
        });
        let keys = replaced.flat_map(Staged::keys).collect();
        discard(&self.store, keys).await;
    }

    async fn forget_gone(&mut self, state: &State) {
        let present: HashSet<&str> = texts(&state.manifest, "key").collect();
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
            Rule::Remove { test, .. } => Arc::clone(test),
        };
        let rows = numbers(&unit.manifest, "rows").sum::<Option<u64>>();
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

    /// Writes rows of a unit to new files.
    async fn restage(
        &self,
        state: &State,
        unit: &Plan,
        test: Option<Arc<dyn RowTest>>,
        sort_by: &[String],
    ) -> Result<Staged> {
        let schema = unit_schema(&self.store, state, unit).await?;
        let batches = self.read(state, unit, Arc::clone(&schema), test);
        let target = Target::of(&self.store, &self.name, state);
        let options = WriteOptions {
            progress: Arc::new(NoProgress),
            sort_by: sort_by.to_vec(),
            target_file_bytes: match &self.rule {
                // The estimate of what fits one file was made when the unit was.
                Rule::Compact(_) => u64::MAX,
                Rule::Remove { .. } => self.options.target_file_bytes,
            },
            ..self.options.clone()
        };
        stage(&target, feed(schema, batches), &options).await
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
        // After what was there before.
        change.staged.extend(self.added.iter().cloned());
        change.staged_apart = self.added_apart;
        let nothing = change.removed.is_empty()
            && change.staged.iter().all(|s| total(&s.manifest, "rows") == 0);
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
            Rule::Remove { .. } => None,
            Rule::Compact(options) => options.scope.as_ref(),
        };
        purpose(self.operation, scope)
    }
}

/// The schema in which the rows of a unit are written again: the narrow types of its files where
/// these agree, those of the table elsewhere.
pub(crate) async fn unit_schema(store: &Store, state: &State, unit: &Plan) -> Result<SchemaRef> {
    let sizes = numbers(&unit.manifest, "bytes").zip(numbers(&unit.manifest, "footer"));
    let files: Vec<(String, _)> =
        texts(&unit.manifest, "key").map(str::to_owned).zip(sizes).collect();
    let schemas: Vec<SchemaRef> = stream::iter(files)
        .map(|(key, (bytes, footer))| async move {
            let mut object = ParquetObject::open(store, &key, bytes, footer).await?;
            Ok::<_, Error>(Arc::clone(object.metadata(false).await?.schema()))
        })
        .buffered(16)
        .try_collect()
        .await?;
    let fields: Vec<Field> = state
        .schema
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
    Ok(Arc::new(with_pandas(Schema::new(fields), &state.extensions)))
}
