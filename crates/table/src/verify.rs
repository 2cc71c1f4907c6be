//! Verifying a table against the objects in the store, and repairing it.

mod content;
mod header;

use std::sync::Arc;

use arrow::array::ArrayRef;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use hashbrown::{HashMap, HashSet};
use partita_core::upkeep::{Problem, ProblemKind};
use partita_core::{Cancel, Error, ErrorKind, NoProgress, Progress, Result};
use tracing::Instrument;

use serde_json::Value;

use self::content::check_undecoded;
use self::header::check_header;
use crate::Table;
use crate::change::load_index;
use crate::facts::facts;
use crate::format::columns::plain;
use crate::format::header::Encoding;
use crate::format::index::{Index, value_type};
use crate::format::keys;
use crate::format::manifest::Manifest;
use crate::format::schema::{decode_common_metadata, encode_common_metadata};
use crate::format::snapshot::Snapshot;
use crate::history::{ends_well, gap, lost, walk_far};
use crate::mend::mend;
use crate::options::WriteOptions;
use crate::prune::{Plan, plan};
use crate::scan::{BATCH_ROWS, Read, distinct_values};
use crate::state::{State, header_key};

/// Options of a verification.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Decode all data as well, not only footers and indexed columns, and compare all bytes of the
    /// data files with the digests that were committed.
    pub data: bool,
    /// Repair the faults that can be repaired: rebuild indices, write the schema file again, remove
    /// a header that nobody reads, and relink the history past missing snapshots.
    pub repair: bool,
    /// Receives the number of files checked.
    pub progress: Arc<dyn Progress>,
    /// Stops the verification.
    pub cancel: Cancel,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            data: false,
            repair: false,
            progress: Arc::new(NoProgress),
            cancel: Cancel::default(),
        }
    }
}

/// The maximum number of files checked concurrently; some systems limit a process to 64 open files.
const FILES_IN_FLIGHT: usize = 16;

impl Table {
    /// Checks the newest state: that every object it names exists, that recorded sizes, row counts
    /// and bounds are correct, that indices agree with the data, and that the history can be read.
    /// Reads all footers and all indexed columns.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the table cannot be opened at all;
    /// [`ReadOnly`](ErrorKind::ReadOnly) for a repair of a read-only table;
    /// [`Store`](ErrorKind::Store).
    pub fn verify<'a>(&'a self, options: &'a VerifyOptions) -> BoxFuture<'a, Result<Vec<Problem>>> {
        async move {
            if options.repair {
                self.check_writable()?;
            }
            self.refresh().await?;
            let mut check = Check {
                table: self,
                state: self.state(),
                options,
                problems: Vec::new(),
                unreadable: HashSet::new(),
            };
            check.headers().await?;
            check.schema().await?;
            check.files().await?;
            check.history().await?;
            let wrong = check.indices().await?;
            let mut problems = check.problems;
            if options.repair && !wrong.is_empty() {
                let write =
                    WriteOptions { cancel: options.cancel.clone(), ..WriteOptions::default() };
                self.build_index(&wrong, &write).await?;
                for problem in problems.iter_mut().filter(|p| p.kind == ProblemKind::Index) {
                    problem.repaired = true;
                }
            }
            Ok(problems)
        }
        .instrument(tracing::debug_span!("verify", dataset = %self.place()))
        .boxed()
    }
}

struct Check<'a> {
    table: &'a Table,
    state: Arc<State>,
    options: &'a VerifyOptions,
    problems: Vec<Problem>,
    /// Labels of files that were found missing or damaged.
    unreadable: HashSet<String>,
}

impl Check<'_> {
    fn add(&mut self, kind: ProblemKind, key: &str, message: impl Into<String>, repaired: bool) {
        self.problems.push(Problem { kind, at: key.to_owned(), message: message.into(), repaired });
    }

    async fn headers(&mut self) -> Result<()> {
        let packed = header_key(self.table.name(), Encoding::Msgpack);
        let plain = self.state.encoding == Encoding::Json;
        if plain && self.table.store().head(&packed).await?.is_some() {
            let repair = self.options.repair;
            if repair {
                self.table.store().delete(&packed).await?;
            }
            let message = "a second header, which readers ignore because there is a JSON one";
            self.add(ProblemKind::Header, &packed, message, repair);
        }
        if let Some((key, message)) = check_header(self.table.store(), self.table.name()).await? {
            self.add(ProblemKind::Header, &key, message, false);
        }
        Ok(())
    }

    async fn schema(&mut self) -> Result<()> {
        let key = keys::common_metadata(self.table.name(), &self.state.table_name);
        let stored = match self.table.store().get_opt(&key).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => Some(Err(error)),
            stored => stored?.map(|bytes| decode_common_metadata(&bytes)),
        };
        let message = match stored {
            Some(Ok(schema)) if schema.fields() == plain(&self.state.stored).fields() => {
                return Ok(());
            }
            Some(Ok(_)) => "the schema file is not that of the newest commit".to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "the schema file is not in the store".to_owned(),
        };
        let mut repaired = false;
        if self.options.repair {
            let content = encode_common_metadata(&self.state.stored)?;
            repaired = match self.table.store().put(&key, content).await {
                // A directory is in its place.
                Err(error) if error.kind() == ErrorKind::Corrupt => false,
                written => written.map(|()| true)?,
            };
        }
        self.add(ProblemKind::Schema, &key, message, repaired);
        Ok(())
    }

    async fn files(&mut self) -> Result<()> {
        let prefix = format!("{}/", self.table.name());
        let sizes: HashMap<String, u64> = self
            .table
            .store()
            .list(&prefix)
            .map_ok(|object| (object.key, object.size))
            .try_collect()
            .await?;
        let plan = plan(self.table.store(), &self.state, None).await?;
        let files = plan.each_file()?;
        self.options.progress.start("files checked", Some(files.len() as u64));
        let found: Vec<Result<Option<(String, Problem)>>> = stream::iter(files)
            .map(|file| {
                let size = file.manifest.keys().next().and_then(|key| sizes.get(key));
                let size = size.copied();
                let (table, state, options) = (self.table, &self.state, self.options);
                async move {
                    options.cancel.check()?;
                    let problem = check_file(table, state, file, size, options).await;
                    options.progress.advance(1);
                    problem
                }
            })
            .buffered(FILES_IN_FLIGHT)
            .collect()
            .await;
        self.options.progress.finish();
        for problem in found {
            if let Some((label, problem)) = problem? {
                if problem.kind != ProblemKind::Statistics {
                    self.unreadable.insert(label);
                }
                self.problems.push(problem);
            }
        }
        Ok(())
    }

    async fn history(&mut self) -> Result<()> {
        let (store, state) = (self.table.store(), Arc::clone(&self.state));
        let (mut found, mut error) = walk_far(store, &state, |_| false).await?;
        for number in 0..found.len() {
            self.options.cancel.check()?;
            let Some(recorded) = found.get(number) else { break };
            // Only the footer was read so far; the rows may be damaged.
            let read = Snapshot::fetch(store, &recorded.key).await;
            match read {
                Ok(_) => {}
                Err(failed) if matches!(failed.kind(), ErrorKind::Store | ErrorKind::NotFound) => {
                    return Err(failed);
                }
                Err(damage) => {
                    found.truncate(number);
                    error = Some(damage);
                }
            }
        }
        if error.is_none()
            && let Some(missing) = gap(&state, &found)
            && !ends_well(store, &state, &found).await?
        {
            error = Some(lost(missing));
        }
        if let Some(error) = error {
            let mut repaired = false;
            if self.options.repair {
                repaired = match mend(store, &state, &found, &self.options.cancel).await {
                    // A directory is in the place of a snapshot.
                    Err(error) if error.kind() == ErrorKind::Corrupt => false,
                    mended => mended.map(|()| true)?,
                };
                self.table.refresh().await?;
            }
            let key = error.context().iter().find(|(name, _)| *name == "key");
            let key = key.map_or_else(|| state.own.snapshot.clone(), |(_, key)| key.clone());
            self.add(ProblemKind::History, &key, error.to_string(), repaired);
        }
        Ok(())
    }

    /// Compares indices with the data; returns the columns whose indices differ.
    async fn indices(&mut self) -> Result<Vec<String>> {
        let columns: Vec<String> = self.state.header.indices.keys().cloned().collect();
        if columns.is_empty() {
            return Ok(columns);
        }
        let readable: arrow::array::BooleanArray = self
            .state
            .manifest
            .labels()
            .map(|label| Some(!self.unreadable.contains(label)))
            .collect();
        let plan = plan(self.table.store(), &self.state, None).await?.only(&readable)?;
        let VerifyOptions { progress, cancel, .. } = self.options;
        let (store, schema) = (self.table.store(), &self.state.schema);
        let found = distinct_values(store, schema, plan, &columns, progress, cancel).await?;
        let mut wrong = Vec::new();
        for (position, column) in columns.iter().enumerate() {
            let Some(stored) = self.state.header.indices.get(column) else { continue };
            let key = stored.as_str().unwrap_or_default().to_owned();
            if let Some(message) = self.compare(column, stored, position, &found).await? {
                self.add(ProblemKind::Index, &key, message, false);
                wrong.push(column.clone());
            }
        }
        Ok(wrong)
    }

    async fn compare(
        &self,
        column: &str,
        stored: &Value,
        position: usize,
        found: &[(String, Vec<ArrayRef>)],
    ) -> Result<Option<String>> {
        let data_type = value_type(self.state.schema.field_with_name(column)?.data_type());
        let store = self.table.store().comparing_digests();
        let recorded = self.state.index_lengths.get(column);
        let stored = match load_index(&store, stored, column, &data_type, recorded).await {
            Ok(index) => index,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                return Ok(Some(format!("the index on {column} cannot be read: {error}")));
            }
            Err(error) => return Err(error),
        };
        let mut parts = vec![Index::empty(&data_type)];
        for (label, values) in found {
            let values = values.get(position).into_iter();
            parts.extend(values.map(|values| Index::of_file(Arc::clone(values), label)));
        }
        let unreadable: HashSet<&str> = self.unreadable.iter().map(String::as_str).collect();
        let stored = stored.without(&unreadable)?;
        let agree = stored.same(&Index::merge(&parts)?)?;
        Ok((!agree).then(|| format!("the index on {column} does not agree with the data")))
    }
}

/// Checks one file; returns the problem together with the label.
async fn check_file(
    table: &Table,
    state: &State,
    file: Plan,
    size: Option<u64>,
    options: &VerifyOptions,
) -> Result<Option<(String, Problem)>> {
    let of = |name: Option<&str>| name.unwrap_or_default().to_owned();
    let (label, key) = (of(file.manifest.labels().next()), of(file.manifest.keys().next()));
    let problem = |kind, message: String| {
        let problem = Problem { kind, at: key.clone(), message, repaired: false };
        Ok(Some((label.clone(), problem)))
    };
    if size.is_none() {
        return problem(ProblemKind::Missing, "the file is not in the store".into());
    }
    let damaged = |error: Error| match error.kind() {
        ErrorKind::Corrupt | ErrorKind::SchemaMismatch => Ok(error.to_string()),
        _ => Err(error),
    };
    // They are compared whatever the options of the store say.
    let store = &table.store().comparing_digests();
    let digests = file.manifest.digests().into_iter().flatten().next();
    let known = match facts(store, label.clone(), key.clone(), digests, &state.schema).await {
        Ok(facts) => Manifest::of(&[facts], &file.manifest.schema())?,
        Err(error) => return problem(ProblemKind::Damaged, damaged(error)?),
    };
    if let Some(column) = file.manifest.first_difference(&known) {
        let message = format!("{column} differs from the snapshot");
        return problem(ProblemKind::Statistics, message);
    }
    if options.data {
        let read = Read {
            store: store.clone(),
            table: Arc::clone(&state.schema),
            schema: Arc::clone(&state.schema),
            test: None,
            batch_rows: BATCH_ROWS,
            account: Arc::default(),
            progress: Arc::new(NoProgress),
            cancel: options.cancel.clone(),
        };
        let mut batches = read.run(&file);
        loop {
            match batches.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return problem(ProblemKind::Damaged, damaged(error)?),
            }
        }
        if let Some(digests) = digests {
            let footer = file.manifest.footers().flatten().next();
            let checked = check_undecoded(store, &key, digests, footer, &state.schema).await;
            if let Err(error) = checked {
                return problem(ProblemKind::Damaged, damaged(error)?);
            }
        }
    }
    Ok(None)
}
