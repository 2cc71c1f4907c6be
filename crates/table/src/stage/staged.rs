//! The descriptor of staged files: small and serialisable, so that it can be sent to other
//! processes.

use std::collections::BTreeMap;
use std::time::Instant;

use arrow::array::BooleanArray;
use arrow::compute::not;
use arrow::datatypes::{Schema, SchemaRef};
use hashbrown::HashSet;
use jiff::{SignedDuration, Timestamp};
use partita_core::{Error, Result, guarded};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Target;
use super::gather::File;
use crate::format::index::Index;
use crate::format::ipc::{decode_batch, decode_schema, encode_batch, encode_schema};
use crate::format::manifest::Manifest;
use crate::format::pandas::ExtensionTypes;

/// Per indexed column, the values of the staged files.
pub(crate) type StagedIndex = BTreeMap<String, Index>;

/// Which columns staged files may lack or bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Columns {
    /// They have those of the table, and no others.
    #[default]
    All,
    /// They hold rows that were read from the table, and lack columns that it has got since.
    Rewritten,
    /// They may lack columns of the table, and bring new ones and wider types.
    Merged,
}

/// Files that are written but not yet part of the table; the input of [`Table::commit`].
///
/// It may be serialised, sent to another machine and committed there, once. Files whose `Staged`
/// is never committed are garbage.
///
/// [`Table::commit`]: crate::Table::commit
#[derive(Debug, Clone)]
pub struct Staged {
    pub(crate) table_name: String,
    pub(crate) partition_by: Vec<String>,
    /// The columns in the order of the data.
    pub(crate) columns: Vec<String>,
    pub(crate) extensions: ExtensionTypes,
    /// The stored schema of the data.
    pub(crate) schema: Schema,
    pub(crate) manifest: Manifest,
    pub(crate) index: StagedIndex,
    /// The ids of the staging calls that wrote the files, which identify a second commit of the
    /// same files.
    pub(crate) ids: Vec<String>,
    /// A lower bound of the version of the table when they were staged: no earlier commit contains
    /// them.
    pub(crate) version: u64,
    pub(crate) columns_are: Columns,
    /// The largest id of a column of the table when they were staged. Larger ones in the schema are
    /// those of columns that they bring.
    pub(crate) last_column_id: i32,
    /// When the staging began.
    pub(crate) begun: Begun,
}

/// The time at which staging began: by the host's clock, which may differ from those of other
/// hosts, and within the same process also by a monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun {
    at: Timestamp,
    here: Option<Instant>,
}

impl Begun {
    pub fn now() -> Self {
        Self { at: Timestamp::now(), here: Some(Instant::now()) }
    }

    /// The time by the host's clock.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The elapsed time; `None` in other processes. A monotonic clock may stop while a machine is
    /// suspended, so the longer of both times is used.
    pub fn elapsed_here(&self) -> Option<SignedDuration> {
        let watched = SignedDuration::try_from(self.here?.elapsed()).ok()?;
        Some(watched.max(Timestamp::now().duration_since(self.at)))
    }

    fn earlier(self, other: Self) -> Self {
        Self {
            at: self.at.min(other.at),
            here: self.here.and_then(|here| Some(here.min(other.here?))),
        }
    }
}

impl Staged {
    pub(super) fn new(
        target: &Target,
        schema: Schema,
        columns: Vec<String>,
        extensions: ExtensionTypes,
        table: &SchemaRef,
        files: Vec<File>,
        begun: Begun,
    ) -> Result<Self> {
        let mut index: BTreeMap<String, Vec<Index>> = BTreeMap::new();
        let mut facts = Vec::with_capacity(files.len());
        for file in files {
            facts.push(file.facts);
            for (column, part) in file.index {
                index.entry(column).or_default().push(part);
            }
        }
        let merged: Result<StagedIndex> =
            index.into_iter().map(|(column, parts)| Ok((column, Index::merge(&parts)?))).collect();
        Ok(Self {
            table_name: target.table_name.clone(),
            partition_by: target.partition_by.clone(),
            columns,
            extensions,
            schema,
            manifest: Manifest::of(&facts, &Manifest::schema_of(table, &target.partition_by))?,
            index: merged?,
            ids: vec![uuid::Uuid::new_v4().simple().to_string()],
            version: target.version,
            columns_are: Columns::All,
            last_column_id: target.last_column_id,
            begun,
        })
    }

    /// Merges several descriptors into as few as possible: one for each schema among them.
    /// Committing the result commits all of them, and it is smaller.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if a descriptor is inconsistent.
    pub fn merge(parts: Vec<Self>) -> Result<Vec<Self>> {
        let mut groups: Vec<Vec<Self>> = Vec::new();
        for part in parts {
            let alike =
                |group: &&mut Vec<Self>| group.first().is_some_and(|one| one.is_like(&part));
            match groups.iter_mut().find(alike) {
                Some(group) => group.push(part),
                None => groups.push(vec![part]),
            }
        }
        groups.into_iter().map(Self::joined).collect()
    }

    fn is_like(&self, other: &Self) -> bool {
        self.table_name == other.table_name
            && self.partition_by == other.partition_by
            && self.columns == other.columns
            && self.extensions == other.extensions
            && self.schema == other.schema
            && self.columns_are == other.columns_are
            && self.last_column_id == other.last_column_id
            && self.manifest.schema() == other.manifest.schema()
            && self.index.keys().eq(other.index.keys())
    }

    fn joined(mut group: Vec<Self>) -> Result<Self> {
        let Some(first) = group.first() else {
            return Err(Error::invalid("there are no staged files to merge"));
        };
        let manifests = group.iter().map(|part| &part.manifest);
        let manifest = Manifest::concat(&first.manifest.schema(), manifests)?;
        let mut index: BTreeMap<String, Vec<Index>> = BTreeMap::new();
        for part in &mut group {
            for (column, values) in std::mem::take(&mut part.index) {
                index.entry(column).or_default().push(values);
            }
        }
        let merged: Result<StagedIndex> =
            index.into_iter().map(|(column, parts)| Ok((column, Index::merge(&parts)?))).collect();
        let ids = group.iter().flat_map(|part| part.ids.clone()).collect();
        let version = group.iter().map(|part| part.version).min().unwrap_or(0);
        let begun = group.iter().map(|part| part.begun).reduce(Begun::earlier);
        let Some(first) = group.into_iter().next() else {
            return Err(Error::invalid("there are no staged files to merge"));
        };
        let begun = begun.unwrap_or(first.begun);
        Ok(Self { manifest, index: merged?, ids, version, begun, ..first })
    }

    /// The keys of the files.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.manifest.keys().map(str::to_owned).collect()
    }

    /// Removes some files from the descriptor; they become garbage.
    ///
    /// # Errors
    /// Data cannot cause an error; errors of Arrow are passed on.
    pub fn without(&self, keys: &[String]) -> Result<Self> {
        let keys: HashSet<&str> = keys.iter().map(String::as_str).collect();
        let stays: BooleanArray =
            self.manifest.keys().map(|key| Some(!keys.contains(key))).collect();
        let gone = self.manifest.filter(&not(&stays)?)?;
        let labels: HashSet<&str> = gone.labels().collect();
        let index: Result<StagedIndex> = self
            .index
            .iter()
            .map(|(column, index)| Ok((column.clone(), index.without(&labels)?)))
            .collect();
        let manifest = self.manifest.filter(&stays)?;
        Ok(Self { manifest, index: index?, ..self.clone() })
    }

    /// Number of rows staged.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.manifest.total_rows()
    }

    /// Bytes of the files staged.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.manifest.total_bytes()
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    table_name: String,
    partition_by: Vec<String>,
    columns: Vec<String>,
    extensions: ExtensionTypes,
    schema: String,
    manifest: String,
    index: BTreeMap<String, String>,
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    version: u64,
    #[serde(default)]
    columns_are: Columns,
    #[serde(default)]
    last_column_id: i32,
    #[serde(default)]
    begun: Option<Timestamp>,
}

impl Serialize for Staged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        let document = || -> Result<Document> {
            Ok(Document {
                table_name: self.table_name.clone(),
                partition_by: self.partition_by.clone(),
                columns: self.columns.clone(),
                extensions: self.extensions.clone(),
                schema: encode_schema(&self.schema)?,
                manifest: encode_batch(self.manifest.as_batch())?,
                index: self
                    .index
                    .iter()
                    .map(|(column, index)| Ok((column.clone(), encode_batch(&index.to_batch()?)?)))
                    .collect::<Result<_>>()?,
                ids: self.ids.clone(),
                version: self.version,
                columns_are: self.columns_are,
                last_column_id: self.last_column_id,
                begun: Some(self.begun.at),
            })
        };
        document().map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Staged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(deserializer)?;
        let staged = || -> Result<Self> {
            Ok(Self {
                table_name: document.table_name,
                partition_by: document.partition_by,
                columns: document.columns,
                extensions: document.extensions,
                schema: decode_schema(&document.schema).map_err(damaged)?,
                manifest: decode_batch(&document.manifest)
                    .and_then(Manifest::new)
                    .map_err(damaged)?,
                index: document
                    .index
                    .iter()
                    .map(|(column, text)| {
                        let values = decode_batch(text).map_err(damaged)?;
                        Ok((column.clone(), Index::from_batch(&values)?))
                    })
                    .collect::<Result<_>>()?,
                ids: document.ids,
                version: document.version,
                columns_are: document.columns_are,
                last_column_id: document.last_column_id,
                begun: Begun { at: document.begun.unwrap_or(Timestamp::now()), here: None },
            })
        };
        guarded(staged).map_err(de::Error::custom)
    }
}

fn damaged(error: Error) -> Error {
    Error::corrupt("a staged descriptor cannot be read").caused_by(error)
}
