//! The state of a table at one version: header, schema and manifest, loaded together.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, LargeStringArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use half::f16;
use hashbrown::{HashMap, HashSet};
use partita_core::partition::{PartitionKey, values_of};
use partita_core::predicate::{BoundPredicate, Literal};
use partita_core::store::Version;
use partita_core::{Cancel, Error, ErrorKind, Predicate, Result, Store};

use crate::change::index_keys;
use crate::facts::{complete, unknown, widened_by};
use crate::format::columns::{plain, with_ids};
use crate::format::footer::{ParquetObject, missing};
use crate::format::given::given_schema;
use crate::format::header::{Encoding, Header, LARGEST_HEADER, Own};
use crate::format::index::stored::IndexFile;
use crate::format::keys;
use crate::format::manifest::Manifest;
use crate::format::pandas::{ExtensionTypes, extension_types};
use crate::format::schema::{decode_common_metadata, remembering, table_schema};
use crate::format::snapshot::{Schemas, Snapshot};
use crate::history::of_same_schema;
use crate::scan::{csv_columns, is_csv};

/// A table at one version. Immutable: every commit creates a new one.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub header: Header,
    pub encoding: Encoding,
    /// The store's version of the header object.
    pub stored_as: Version,
    pub table_name: String,
    pub partition_by: Vec<String>,
    /// The schema in the form of `_common_metadata`.
    pub stored: Schema,
    /// The schema of the types in which values are compared.
    pub schema: SchemaRef,
    /// The schema that scans return.
    pub given: SchemaRef,
    pub own: Own,
    /// Pandas extension types by column.
    pub extensions: ExtensionTypes,
    /// The number of the schema, and the older ones.
    pub schemas: Schemas,
    /// True if every file is known to be in every index.
    pub indices_complete: bool,
    /// The entries of the index files, if known.
    pub index_lengths: BTreeMap<String, IndexFile>,
    /// One row per data file, in the order of the header.
    pub manifest: Manifest,
    /// The files that plateau has removed since Partita's last commit.
    pub forgotten: Option<Forgotten>,
}

/// Files that the last snapshot names but the header does not.
#[derive(Debug, Clone)]
pub(crate) struct Forgotten {
    /// The data files, with the manifest rows of the snapshot.
    pub manifest: Manifest,
    /// The index files.
    pub indices: Vec<String>,
}

impl State {
    /// Loads the newest state of the dataset `name`.
    pub fn load<'a>(store: &'a Store, name: &'a str) -> BoxFuture<'a, Result<Self>> {
        async move {
            Self::find(store, name).await?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "there is no table here")
                    .with("dataset", name)
                    .with("store", store.url())
            })
        }
        .boxed()
    }

    /// The newest state of the dataset `name`, if it exists.
    pub fn find<'a>(store: &'a Store, name: &'a str) -> BoxFuture<'a, Result<Option<Self>>> {
        async move {
            match read_header(store, name).await? {
                Some((bytes, stored_as, encoding)) => {
                    Self::from_header(store, name, &bytes, stored_as, encoding).await.map(Some)
                }
                None => Ok(None),
            }
        }
        .boxed()
    }

    /// Loads the objects that the header names.
    pub async fn from_header(
        store: &Store,
        name: &str,
        bytes: &Bytes,
        stored_as: Version,
        encoding: Encoding,
    ) -> Result<Self> {
        let named = |error: Error| error.with("dataset", name);
        let header = Header::decode_summary(bytes, encoding).map_err(named)?;
        header.check_requirements().map_err(named)?;
        let own = header.own().map_err(named)?.unwrap_or_default();
        let mut head = Head { header, encoding, stored_as, own };
        let hash = blake3::hash(bytes).to_hex();
        match newest_snapshot(store, &head.own).await {
            Some(snapshot) if snapshot.document.header_hash == hash.as_str() => {
                head.with_snapshot(snapshot)
            }
            earlier => {
                head.header = Header::decode(bytes, encoding).map_err(named)?;
                let earlier = match earlier {
                    // Without it, columns are read in plateau's types.
                    None => of_same_schema(store, name, &head.own)
                        .await
                        .inspect_err(|error| tracing::warn!(%error, "no older snapshot is read"))
                        .unwrap_or_default(),
                    earlier => earlier,
                };
                head.without_snapshot(store, name, earlier).await
            }
        }
    }

    /// The state recorded in a snapshot of the same table, stored at `key`.
    pub fn at(&self, key: String, snapshot: Snapshot) -> Result<Self> {
        let mut header = self.header.clone();
        header.indices = snapshot.document.indices.clone();
        header.metadata = snapshot.document.metadata.clone();
        let mut own = Own {
            version: snapshot.document.version,
            commit: snapshot.document.commit.clone(),
            snapshot: key,
            columns: snapshot.document.columns.clone(),
            recent: Vec::new(),
            ..self.own.clone()
        };
        own.laid_out_as(&snapshot.document);
        let (encoding, stored_as) = (self.encoding, self.stored_as.clone());
        Head { header, encoding, stored_as, own }.with_snapshot(snapshot)
    }

    /// The same state with rows, sizes and bounds of every file. Reads the footers of files whose
    /// statistics are not known.
    pub fn completed<'a>(
        self: Arc<Self>,
        store: &'a Store,
        cancel: &'a Cancel,
    ) -> BoxFuture<'a, Result<Arc<Self>>> {
        async move {
            if self.manifest.is_complete() {
                return Ok(self);
            }
            let manifest = complete(store, &self.manifest, &self.schema, cancel).await?;
            Ok(Arc::new(Self { manifest, ..self.as_ref().clone() }))
        }
        .boxed()
    }

    /// The predicate on the table's types. Numbers that a column of narrower floats is compared
    /// with are rounded to that column's type, as other engines do: `x == 0.1` finds its 0.1.
    pub fn bind(&self, predicate: &Predicate) -> Result<BoundPredicate> {
        let precisions: HashMap<&str, Precision> = self
            .given
            .fields()
            .iter()
            .filter(|field| !self.partition_by.contains(field.name()))
            .filter_map(|field| Some((field.name().as_str(), Precision::of(field.data_type())?)))
            .collect();
        if precisions.is_empty() {
            return predicate.bind(&self.schema);
        }
        let rounded = |column: &str, literal: &Literal| match (literal, precisions.get(column)) {
            (Literal::Float(value), Some(precision)) => Literal::Float(precision.rounded(*value)),
            _ => literal.clone(),
        };
        predicate.with_literals(&rounded).bind(&self.schema)
    }

    /// Number of data files.
    pub fn num_files(&self) -> usize {
        self.manifest.len()
    }

    /// The partition key of every file, in the order of the manifest.
    pub fn partition_keys(&self) -> Result<Vec<PartitionKey>> {
        partition_keys(&self.manifest)
    }

    /// The value of every partition column for every file, as a batch of the table's types.
    pub fn partition_values(&self) -> Result<RecordBatch> {
        partition_values(&self.manifest, &self.partition_by, &self.schema)
    }
}

/// Floats narrower than 64 bits, in a column or in its lists.
#[derive(Debug, Clone, Copy)]
enum Precision {
    Half,
    Single,
}

impl Precision {
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Float16 => Some(Self::Half),
            DataType::Float32 => Some(Self::Single),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                Self::of(item.data_type())
            }
            _ => None,
        }
    }

    /// The nearest number of this precision; numbers beyond its range stay as they are.
    fn rounded(self, value: f64) -> f64 {
        let near = match self {
            Self::Half => f16::from_f64(value).to_f64(),
            #[expect(clippy::cast_possible_truncation, reason = "rounding is what is wanted")]
            Self::Single => f64::from(value as f32),
        };
        if near.is_finite() { near } else { value }
    }
}

/// The header with its stored form.
struct Head {
    header: Header,
    encoding: Encoding,
    stored_as: Version,
    own: Own,
}

impl Head {
    fn with_snapshot(self, snapshot: Snapshot) -> Result<State> {
        let document = snapshot.document;
        let (stored, own) = numbered(&snapshot.schema, self.own);
        let schema = table_schema(&stored, &own.columns, &document.extension_types);
        let given = given_schema(&stored, &own.columns, &document.extension_types);
        Ok(State {
            given,
            table_name: document.table_name,
            manifest: snapshot
                .manifest
                .aligned(&Manifest::schema_of(&schema, &document.partition_by))?,
            partition_by: document.partition_by,
            extensions: document.extension_types,
            schemas: document.schemas,
            indices_complete: document.indices_complete,
            index_lengths: document.index_lengths,
            stored,
            schema,
            header: self.header,
            encoding: self.encoding,
            stored_as: self.stored_as,
            own,
            forgotten: None,
        })
    }

    /// The state after a commit of another library, or whose snapshot is lost; `earlier` is the
    /// newest snapshot before it.
    async fn without_snapshot(
        mut self,
        store: &Store,
        name: &str,
        earlier: Option<Snapshot>,
    ) -> Result<State> {
        let header = &mut self.header;
        if header.partitions.is_none() && !self.own.snapshot.is_empty() {
            return Err(Error::corrupt(
                "the header lacks its partitions, which every commit of Partita writes; put it back \
                 as it was, or make one with `rebuild`",
            )
            .with("dataset", name));
        }
        if header.partitions.is_none() {
            list_partitions(store, name, header).await?;
        }
        let table_name = match table_name(header)? {
            Some(name) => name,
            None => find_table_name(store, name).await?,
        };
        let partition_by = match &header.partition_keys {
            Some(keys) => keys.clone(),
            None => inferred_partition_keys(header)?,
        };
        let key = keys::common_metadata(&header.uuid, &table_name);
        let bytes = store.get_opt(&key).await?.ok_or_else(|| missing(&key))?;
        // Ids that Arrow libraries make up when they read a file are none of ours.
        let stored = decode_common_metadata(&bytes).map_err(|error| error.with("key", &key))?;
        let stored = plain(&stored);
        for column in &partition_by {
            if stored.field_with_name(column).is_err() {
                return Err(Error::corrupt("the schema lacks a partition column")
                    .with("column", column)
                    .with("key", &key));
            }
        }
        let files: Vec<(&str, &str)> = files(header).collect();
        let last = earlier.as_ref().filter(|last| last.document.version == self.own.version);
        let forgotten = last.map(|last| forgotten(last, header, &files)).transpose()?;
        let mut schemas = Schemas::default();
        let (extensions, known, stored) = match earlier {
            Some(earlier) => {
                let stored = remembering(&stored, &earlier.schema);
                let new = unknown(&files, &earlier.manifest);
                let stored = widened_by(store, stored, new).await?;
                schemas = earlier.document.schemas;
                if stored != earlier.schema {
                    schemas.retire(&earlier.schema)?;
                }
                (earlier.document.extension_types, earlier.manifest, stored)
            }
            None => {
                // The schema file contains neither the order of the columns nor all pandas types.
                let file = match files.first() {
                    Some((_, key)) if is_csv(key) => {
                        csv_columns(store, key).await.unwrap_or_else(|_| Schema::empty())
                    }
                    Some((_, key)) => file_schema(store, key).await,
                    None => Schema::empty(),
                };
                // If the snapshot is missing, the header may still list the columns in order.
                if self.own.columns.is_empty() {
                    let names = file.fields().iter().map(|field| field.name().clone());
                    self.own.columns = partition_by.iter().cloned().chain(names).collect();
                }
                let known = Manifest::empty(Manifest::schema_of(&Schema::empty(), &[]));
                (extension_types(&file), known, stored)
            }
        };
        let (stored, own) = numbered(&stored, self.own);
        let schema = table_schema(&stored, &own.columns, &extensions);
        let given = given_schema(&stored, &own.columns, &extensions);
        let manifest =
            known.aligned(&Manifest::schema_of(&schema, &partition_by))?.of_files(&files)?;
        Ok(State {
            given,
            manifest,
            table_name,
            partition_by,
            stored,
            schema,
            extensions,
            schemas,
            indices_complete: false,
            index_lengths: BTreeMap::new(),
            header: self.header,
            encoding: self.encoding,
            stored_as: self.stored_as,
            own,
            forgotten,
        })
    }
}

/// The stored schema with an id for every column: tables of plateau and of early releases have none
/// before the next commit.
fn numbered(stored: &Schema, mut own: Own) -> (Schema, Own) {
    let (stored, last) = with_ids(stored, own.last_column_id);
    own.last_column_id = last;
    (stored, own)
}

/// The files and indices that `earlier` names and the header, with its `files`, does not.
fn forgotten(earlier: &Snapshot, header: &Header, files: &[(&str, &str)]) -> Result<Forgotten> {
    let named: HashSet<&str> = files.iter().map(|(_, key)| *key).collect();
    let gone: BooleanArray =
        earlier.manifest.keys().map(|key| Some(!named.contains(key))).collect();
    let indices: HashSet<&str> = index_keys(&header.indices).collect();
    let before = index_keys(&earlier.document.indices);
    Ok(Forgotten {
        manifest: earlier.manifest.filter(&gone)?,
        indices: before.filter(|key| !indices.contains(key)).map(str::to_owned).collect(),
    })
}

/// The partition key of every file of a manifest.
pub(crate) fn partition_keys(manifest: &Manifest) -> Result<Vec<PartitionKey>> {
    manifest.keys().map(|key| keys::parse_data_file(key).map(|(_, k)| k)).collect()
}

/// The value of every partition column for every file of a manifest, in the types of `schema`.
pub(crate) fn partition_values(
    manifest: &Manifest,
    partition_by: &[String],
    schema: &Schema,
) -> Result<RecordBatch> {
    let keys = partition_keys(manifest)?;
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for name in partition_by {
        let field = schema.field_with_name(name)?;
        let mut texts = Vec::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            texts.push(key.get(name).ok_or_else(|| {
                Error::corrupt("a data file's key lacks a partition column")
                    .with("column", name)
                    .with("key", manifest.keys().nth(row).unwrap_or(""))
            })?);
        }
        let texts = LargeStringArray::from_iter_values(texts);
        columns.push(values_of(name, &texts, field.data_type())?);
        fields.push(field.clone());
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(keys.len()));
    let values = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new_with_options(values, columns, &options)?)
}

/// The key of a header with the given encoding.
pub(crate) fn header_key(name: &str, encoding: Encoding) -> String {
    match encoding {
        Encoding::Json => keys::json_header(name),
        Encoding::Msgpack => keys::msgpack_header(name),
    }
}

/// The header's bytes; the JSON form takes precedence if both exist, as in plateau.
pub(crate) async fn read_header(
    store: &Store,
    name: &str,
) -> Result<Option<(Bytes, Version, Encoding)>> {
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        let key = header_key(name, encoding);
        let found = store.get_versioned_within(&key, LARGEST_HEADER).await?;
        if let Some((bytes, version)) = found {
            return Ok(Some((bytes, version, encoding)));
        }
    }
    Ok(None)
}

/// The snapshot that the header names. It describes this header, or an earlier one if another
/// library has committed since. If it is missing or damaged, the state can still be read from the
/// header; the history cannot, and reading it fails.
async fn newest_snapshot(store: &Store, own: &Own) -> Option<Snapshot> {
    if own.snapshot.is_empty() {
        return None;
    }
    Snapshot::fetch(store, &own.snapshot)
        .await
        .inspect_err(|error| {
            tracing::warn!(%error, "a snapshot cannot be read; going on without its statistics");
        })
        .ok()
}

/// The schema of a data file; empty if it cannot be read, which a scan will report.
async fn file_schema(store: &Store, key: &str) -> Schema {
    let footer = async { ParquetObject::open(store, key, None, None).await?.metadata(false).await };
    footer.await.map_or_else(|_| Schema::empty(), |footer| footer.schema().as_ref().clone())
}

/// Label and key of every file that the header names, in its order.
pub(crate) fn files(header: &Header) -> impl Iterator<Item = (&str, &str)> {
    header.partitions.iter().flatten().filter_map(|(label, files)| {
        files.files.values().next().map(|key| (label.as_str(), key.as_str()))
    })
}

/// The name of the single table of the files; `None` if there are no files.
fn table_name(header: &Header) -> Result<Option<String>> {
    let mut found: Option<&str> = None;
    for files in header.partitions.iter().flatten().map(|(_, files)| files) {
        for name in files.files.keys() {
            match found {
                Some(other) if other != name => {
                    return Err(Error::corrupt("the dataset holds more than one table")
                        .with("table", other)
                        .with("table", name));
                }
                _ => found = Some(name),
            }
        }
    }
    Ok(found.map(str::to_owned))
}

/// The name of the table of a dataset without files: the one that has a schema file.
async fn find_table_name(store: &Store, name: &str) -> Result<String> {
    let default = keys::common_metadata(name, keys::DEFAULT_TABLE_NAME);
    if store.head(&default).await?.is_some() {
        return Ok(keys::DEFAULT_TABLE_NAME.to_owned());
    }
    let mut objects = store.list(&format!("{name}/"));
    while let Some(object) = objects.try_next().await? {
        let mut components = object.key.split('/').skip(1);
        if let (Some(table), Some("_common_metadata"), None) =
            (components.next(), components.next(), components.next())
        {
            return Ok(table.to_owned());
        }
    }
    Err(missing(&default))
}

/// Finds the partitions of a dataset whose header names none, by listing its files.
pub(crate) async fn list_partitions(store: &Store, name: &str, header: &mut Header) -> Result<()> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut objects = store.list(&format!("{name}/"));
    while let Some(object) = objects.try_next().await? {
        let key = object.key;
        let mut rest = key.splitn(3, '/').skip(1);
        let (Some(table), Some(path)) = (rest.next(), rest.next()) else { continue };
        if matches!(table, "indices" | "_partita") {
            continue;
        }
        if let Some(label) = path.strip_suffix(".parquet") {
            found.push((label.to_owned(), table.to_owned(), key.clone()));
        }
    }
    found.sort();
    header.partitions = Some(
        found
            .into_iter()
            .map(|(label, table, key)| {
                (
                    label,
                    crate::format::header::Files { files: [(table, key)].into_iter().collect() },
                )
            })
            .collect(),
    );
    Ok(())
}

fn inferred_partition_keys(header: &Header) -> Result<Vec<String>> {
    let Some((_, key)) = files(header).next() else { return Ok(Vec::new()) };
    let (_, partition) = keys::parse_data_file(key)?;
    Ok(partition.pairs().iter().map(|(field, _)| field.clone()).collect())
}
