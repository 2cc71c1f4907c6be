//! Checking a table against what the store holds, and mending what can be mended.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use hashbrown::{HashMap, HashSet};
use partita_core::{Cancel, Error, ErrorKind, NoProgress, Progress, Result};

use serde_json::Value;

use crate::Table;
use crate::change::load_index;
use crate::facts::facts;
use crate::format::header::Encoding;
use crate::format::index::{Index, value_type};
use crate::format::keys;
use crate::format::schema::{decode_common_metadata, encode_common_metadata};
use crate::format::snapshot::Snapshot;
use crate::format::statistics::manifest;
use crate::history::{ends_well, gap, lost, walk_far};
use crate::mend::mend;
use crate::options::WriteOptions;
use crate::prune::{Plan, plan};
use crate::reindex::read_values;
use crate::scan::{BATCH_ROWS, Read};
use crate::stage::texts;
use crate::state::{State, header_key};

/// What a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// An object that the table names is not in the store.
    Missing,
    /// An object cannot be read.
    Damaged,
    /// Size, row count or bounds of a file are not those recorded.
    Statistics,
    /// An index does not agree with the data.
    Index,
    /// The schema file is not that of the newest commit.
    Schema,
    /// There are two headers; readers use the JSON one.
    Header,
    /// A snapshot that the history needs is missing or damaged.
    History,
}

impl ProblemKind {
    /// The name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Statistics => "statistics",
            Self::Index => "index",
            Self::Schema => "schema",
            Self::Header => "header",
            Self::History => "history",
        }
    }
}

/// Something that is wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub kind: ProblemKind,
    /// The key of the object concerned.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// True if it was put right.
    pub repaired: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repaired = if self.repaired { " (repaired)" } else { "" };
        write!(f, "{}: {}: {}{repaired}", self.kind.name(), self.key, self.message)
    }
}

/// How a table is checked.
#[derive(Clone)]
pub struct VerifyOptions {
    /// Decode all data as well, not only footers and indexed columns.
    pub data: bool,
    /// Put right what can be: rebuild indices, write the schema file again, remove a header that
    /// nobody reads, have the history go on without snapshots that are lost.
    pub repair: bool,
    /// Told about files checked.
    pub progress: Arc<dyn Progress>,
    /// Stops the work.
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

/// Files checked at a time; systems that allow a process few open files allow 64.
const AT_ONCE: usize = 16;

impl Table {
    /// Checks the newest state: that every object it names is there, that sizes, row counts and
    /// bounds are those of the files, that indices agree with the data, that the history can be
    /// read. Reads all footers and all indexed columns.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the table cannot be opened at all;
    /// [`ReadOnly`](ErrorKind::ReadOnly) to repair what may not be written;
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
        self.problems.push(Problem {
            kind,
            key: key.to_owned(),
            message: message.into(),
            repaired,
        });
    }

    async fn headers(&mut self) -> Result<()> {
        let packed = header_key(self.table.name(), Encoding::Msgpack);
        let plain = self.state.encoding == Encoding::Json;
        if plain && self.table.store().head(&packed).await?.is_some() {
            let repair = self.options.repair;
            if repair {
                self.table.store().delete(&packed).await?;
            }
            let message = "a second header, which no reader uses beside the JSON one";
            self.add(ProblemKind::Header, &packed, message, repair);
        }
        Ok(())
    }

    async fn schema(&mut self) -> Result<()> {
        let key = keys::common_metadata(self.table.name(), &self.state.table_name);
        let stored = self.table.store().get_opt(&key).await?;
        let message = match stored.map(|bytes| decode_common_metadata(&bytes)) {
            Some(Ok(schema)) if schema.fields() == self.state.stored.fields() => return Ok(()),
            Some(Ok(_)) => "the schema file is not that of the newest commit",
            Some(Err(_)) => "the schema file cannot be read",
            None => "the schema file is not in the store",
        };
        let repair = self.options.repair;
        if repair {
            self.table.store().put(&key, encode_common_metadata(&self.state.stored)?).await?;
        }
        self.add(ProblemKind::Schema, &key, message, repair);
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
                let size = texts(&file.manifest, "key").next().and_then(|key| sizes.get(key));
                let size = size.copied();
                let (table, state, options) = (self.table, &self.state, self.options);
                async move {
                    options.cancel.check()?;
                    let problem = check_file(table, state, file, size, options).await;
                    options.progress.advance(1);
                    problem
                }
            })
            .buffered(AT_ONCE)
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
            let bytes = store.get(&recorded.key).await?;
            // The footer was read; the rows may be damaged all the same.
            if let Err(damage) = Snapshot::decode(bytes, &recorded.key) {
                found.truncate(number);
                error = Some(damage);
            }
        }
        if error.is_none()
            && let Some(missing) = gap(&state, &found)
            && !ends_well(store, &state, &found).await?
        {
            error = Some(lost(missing));
        }
        if let Some(error) = error {
            let repair = self.options.repair;
            if repair {
                mend(store, &state, &found, &self.options.cancel).await?;
                self.table.refresh().await?;
            }
            let key = error.context().iter().find(|(name, _)| *name == "key");
            let key = key.map_or_else(|| state.own.snapshot.clone(), |(_, key)| key.clone());
            self.add(ProblemKind::History, &key, error.to_string(), repair);
        }
        Ok(())
    }

    /// Compares indices with the data; returns the columns of those that differ.
    async fn indices(&mut self) -> Result<Vec<String>> {
        let columns: Vec<String> = self.state.header.indices.keys().cloned().collect();
        if columns.is_empty() {
            return Ok(columns);
        }
        let readable: arrow::array::BooleanArray = texts(&self.state.manifest, "label")
            .map(|label| Some(!self.unreadable.contains(label)))
            .collect();
        let plan = plan(self.table.store(), &self.state, None).await?.only(&readable)?;
        let write = WriteOptions {
            progress: Arc::clone(&self.options.progress),
            cancel: self.options.cancel.clone(),
            ..WriteOptions::default()
        };
        let found = read_values(self.table.store(), &self.state, plan, &columns, &write).await?;
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
        let stored = match load_index(self.table.store(), stored, column, &data_type).await {
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

/// Checks one file; a problem comes with the label.
async fn check_file(
    table: &Table,
    state: &State,
    file: Plan,
    size: Option<u64>,
    options: &VerifyOptions,
) -> Result<Option<(String, Problem)>> {
    let of = |column| texts(&file.manifest, column).next().unwrap_or_default().to_owned();
    let (label, key) = (of("label"), of("key"));
    let problem = |kind, message: String| {
        let problem = Problem { kind, key: key.clone(), message, repaired: false };
        Ok(Some((label.clone(), problem)))
    };
    if size.is_none() {
        return problem(ProblemKind::Missing, "the file is not in the store".into());
    }
    let damaged = |error: Error| match error.kind() {
        ErrorKind::Corrupt | ErrorKind::SchemaMismatch => Ok(error.to_string()),
        _ => Err(error),
    };
    let known = match facts(table.store(), label.clone(), key.clone(), &state.schema).await {
        Ok(facts) => manifest(&[facts], &file.manifest.schema())?,
        Err(error) => return problem(ProblemKind::Damaged, damaged(error)?),
    };
    if let Some(column) = differs(&file.manifest, &known) {
        let message = format!("{column} is not what the snapshot says");
        return problem(ProblemKind::Statistics, message);
    }
    if options.data {
        let read = Read {
            store: table.store().clone(),
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
    }
    Ok(None)
}

/// The first column that the snapshot knows otherwise than the file.
fn differs(recorded: &RecordBatch, file: &RecordBatch) -> Option<String> {
    let schema = recorded.schema_ref();
    let columns = schema.fields().iter().zip(recorded.columns()).zip(file.columns());
    columns
        .filter(|((field, recorded), _)| {
            recorded.null_count() == 0
                && !matches!(field.name().as_str(), "footer" | "buckets" | "label" | "key")
        })
        .find(|((_, recorded), file)| recorded != file)
        .map(|((field, _), _)| field.name().clone())
}
