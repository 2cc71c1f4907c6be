//! Changes of a table, as values that can be reapplied to a newer state.

mod admit;
mod indices;
mod layout;
mod staged;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::not;
use arrow::datatypes::{Schema, SchemaRef};
use futures::FutureExt;
use futures::future::BoxFuture;
use hashbrown::HashSet;
use indexmap::IndexMap;
use jiff::SignedDuration;
use partita_core::upkeep::GRACE;
use partita_core::{Error, ErrorKind, Predicate, Result, Store};
use serde_json::{Map, Value};

use admit::{check_exact, made_doubles};
use indices::Indices;
pub(crate) use indices::load_index;
pub(crate) use layout::Layout;

use crate::alter::Alteration;
use crate::format::columns::plain;
use crate::format::header::{Attempt, Encoding, Files, Header, Own};
use crate::format::index::Index;
use crate::format::keys;
use crate::format::manifest::Manifest;
use crate::format::pandas::ExtensionTypes;
use crate::format::schema::table_schema;
use crate::format::snapshot::{Delta, Document, Operation, Snapshot, Totals};
use crate::options::{Annotate, WriteOptions};
use crate::stage::{Derivations, Staged, check_layout};
use crate::state::State;

/// The properties of a table that this commit creates.
#[derive(Debug, Clone)]
pub(crate) struct Creation {
    pub partition_by: Vec<String>,
    pub index: Vec<String>,
    pub columns: Vec<String>,
    pub extensions: ExtensionTypes,
    pub schema: Schema,
    pub encoding: Encoding,
    pub derived: Derivations,
    pub bloom_filters: Vec<String>,
}

/// A change to a table.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub operation: Operation,
    /// Makes a commit that is sent twice take effect once.
    pub idempotency_key: Option<String>,
    /// Keys of files that are removed, all of them files of the state it is applied to.
    pub removed: HashSet<String>,
    /// Rows that are both in the removed and in the added files.
    pub carried: u64,
    /// The version whose state becomes the newest; all other fields are ignored then.
    pub restored: Option<Arc<Snapshot>>,
    /// A change of the schema, before files are added.
    pub alteration: Option<Alteration>,
    /// Indices of all files of the state, which replace the stored ones.
    pub indexed: BTreeMap<String, Index>,
    /// Columns whose index is dropped.
    pub unindexed: HashSet<String>,
    /// Set if this commit creates or replaces the table.
    pub creation: Option<Creation>,
    pub staged: Vec<Staged>,
    /// True if the files were staged by a separate call, so that they may have been collected as
    /// garbage or committed before.
    pub staged_apart: bool,
    /// The grace period of garbage collections that may run concurrently.
    pub grace: SignedDuration,
    /// Files whose partition this selects are removed.
    pub scope: Option<Predicate>,
    pub metadata: Map<String, Value>,
    /// Computes further annotations from those of the state that the change is applied to.
    pub annotate: Option<Annotate>,
}

/// The state after a change, not yet stored.
pub(crate) struct Next {
    pub header: Header,
    pub encoding: Encoding,
    pub own: Own,
    pub table_name: String,
    pub snapshot: Snapshot,
    /// Index files to write first.
    pub index_files: Vec<(String, bytes::Bytes)>,
    /// True if `_common_metadata` must be written.
    pub schema_changed: bool,
}

impl Change {
    /// An empty change.
    pub fn new(operation: Operation) -> Self {
        Self {
            operation,
            idempotency_key: None,
            removed: HashSet::new(),
            carried: 0,
            restored: None,
            alteration: None,
            indexed: BTreeMap::new(),
            unindexed: HashSet::new(),
            creation: None,
            staged: Vec::new(),
            staged_apart: false,
            grace: GRACE,
            scope: None,
            metadata: Map::new(),
            annotate: None,
        }
    }

    /// Adds the commit options: annotations, idempotency key and grace period.
    pub fn with(self, options: &WriteOptions) -> Self {
        Self {
            metadata: options.metadata.clone(),
            annotate: options.annotate.clone(),
            idempotency_key: options.idempotency_key.clone(),
            grace: options.grace,
            ..self
        }
    }

    fn set_annotations(&self, header: &mut Header) -> Result<()> {
        if let Some(annotate) = &self.annotate {
            let found = annotate.call(&header.user_metadata())?;
            header.merge_metadata(&found);
        }
        header.merge_metadata(&self.metadata);
        Ok(())
    }

    /// Applies the change to `base`, or to nothing if the table does not exist.
    pub fn apply<'a>(
        &'a self,
        store: &'a Store,
        name: &'a str,
        made: &'a Attempt,
        base: Option<&'a State>,
    ) -> BoxFuture<'a, Result<Next>> {
        async move {
            if let (Some(restored), Some(base)) = (&self.restored, base) {
                return self.restore(name, made, base, restored);
            }
            self.check_staged(store, name, base).await?;
            let kept = self.kept(base)?;
            let mut layout = match (&self.creation, base) {
                (Some(creation), _) => Layout::made(creation),
                (None, Some(base)) => Layout::of(base),
                (None, None) => {
                    return Err(Error::new(ErrorKind::NotFound, "the table no longer exists")
                        .with("dataset", name));
                }
            };
            let before = layout.schema.clone();
            self.lay_out(store, &kept, &mut layout).await?;
            let schema_changed = self.creation.is_some() || plain(&layout.schema) != plain(&before);
            if let Some(key) = self.already_committed(&kept) {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    "these staged files are part of the table already",
                )
                .with("key", key));
            }
            check_layout(&layout.schema, &layout.partition_by, &layout.index)?;
            let mut own = base.map(|base| base.own.clone()).unwrap_or_default();
            layout.schemas.advance(&before, &layout.schema, own.version + 1)?;
            let manifest = self.manifest(&kept, &layout)?;
            own.derived.clone_from(&layout.derived);
            own.bloom_filters.clone_from(&layout.bloom_filters);
            own.last_column_id = layout.last_column_id;
            own.schema = layout.schemas.current;
            let version = own.version + 1;
            let own = own.next(made, keys::snapshot(name, version, made), layout.columns.clone());

            let mut header = Header::new(name, layout.partition_by.clone());
            if let Some(base) = base
                && self.creation.is_none()
            {
                header.metadata = base.header.metadata.clone();
            }
            let time = crate::commit::now();
            header.metadata.entry("creation_time").or_insert_with(|| Value::String(time.clone()));
            self.set_annotations(&mut header)?;
            header.set_own(&own)?;
            header.partitions = Some(partitions(&manifest, &layout.table_name));
            let indices = Indices {
                store,
                name,
                time: &time,
                made,
                base,
                kept: &kept,
                change: self,
                schema: &layout.schema,
            };
            let index = indices.next(&layout.index).await?;
            header.indices = index.entries;

            let mut document = Document::new(version, &made.commit, self.operation, time);
            document.requires.clone_from(&own.requires);
            document.staged = self.staged.iter().flat_map(|staged| staged.ids.clone()).collect();
            document.removed_indices = removed_indices(base, &header);
            document.parent = base.map(|b| b.own.snapshot.clone()).filter(|key| !key.is_empty());
            document.table_name = layout.table_name.clone();
            document.columns = layout.columns.clone();
            document.partition_by = layout.partition_by.clone();
            document.derived = Some(own.derived.clone());
            document.bloom_filters.clone_from(&own.bloom_filters);
            document.indices = header.indices.clone();
            document.indices_complete = index.complete;
            document.index_lengths = index.lengths;
            document.metadata = header.user_metadata();
            document.extension_types = layout.extensions;
            document.last_column_id = own.last_column_id;
            document.schemas = layout.schemas;
            let used: HashSet<u64> = manifest.schema_ids().flatten().collect();
            document.schemas.older.retain(|id, _| used.contains(id));
            document.files = manifest.len() as u64;
            document.rows = manifest.total_rows();
            document.bytes = manifest.total_bytes();
            document.change = self.totals(&kept);
            let delta = delta(base, &kept, &manifest)?;
            let made_as = self.creation.as_ref().map(|creation| creation.encoding);
            Ok(Next {
                header,
                encoding: base.map(|base| base.encoding).or(made_as).unwrap_or(Encoding::Json),
                own,
                table_name: layout.table_name,
                snapshot: Snapshot {
                    document,
                    schema: layout.schema,
                    manifest,
                    delta: Some(delta),
                },
                index_files: index.files,
                schema_changed,
            })
        }
        .boxed()
    }

    /// Changes the layout as the change says and the staged files need it.
    async fn lay_out(&self, store: &Store, kept: &Kept, layout: &mut Layout) -> Result<()> {
        let before = layout.schema.clone();
        if let Some(alteration) = &self.alteration {
            alteration.apply(layout)?;
        }
        layout.index.retain(|column| !self.unindexed.contains(column));
        let new = self.indexed.keys().filter(|column| !layout.index.contains(column));
        let new: Vec<String> = new.cloned().collect();
        layout.index.extend(new);
        for staged in &self.staged {
            layout.admit(staged)?;
            if staged.partition_by != layout.partition_by {
                return Err(Error::invalid(
                    "the staged files are partitioned by other columns than the table",
                )
                .with("staged", staged.partition_by.join(", "))
                .with("table", layout.partition_by.join(", ")));
            }
        }
        let stored = kept.stay.iter().map(|files| (&before, files));
        let staged = self.staged.iter().map(|staged| (&staged.schema, &staged.manifest));
        for (schema, files) in stored.chain(staged) {
            for column in made_doubles(schema, &layout.schema) {
                check_exact(store, &column, files).await?;
            }
        }
        Ok(())
    }

    /// True for a delete that selects nothing, and for an alteration that alters nothing.
    pub fn is_idle(&self, base: Option<&Arc<State>>) -> Result<bool> {
        if let (Some(alteration), Some(base)) = (&self.alteration, base) {
            return Ok(self.annotates_nothing() && alteration.is_idle(&Layout::of(base)));
        }
        match (self.operation, &self.scope, base) {
            (Operation::Delete, Some(scope), Some(base)) if self.annotates_nothing() => {
                Ok(in_scope(base, scope)?.true_count() == 0)
            }
            _ => Ok(false),
        }
    }

    fn annotates_nothing(&self) -> bool {
        self.metadata.is_empty() && self.annotate.is_none()
    }

    /// The label of a staged file that the state already contains.
    fn already_committed(&self, kept: &Kept) -> Option<&str> {
        let known: HashSet<&str> =
            kept.stay.iter().chain(&kept.go).flat_map(|files| files.keys()).collect();
        self.staged.iter().flat_map(|staged| staged.manifest.keys()).find(|key| known.contains(key))
    }

    /// Builds a state after `base` that equals the one of an older version.
    fn restore(&self, name: &str, made: &Attempt, base: &State, old: &Snapshot) -> Result<Next> {
        let version = base.own.version + 1;
        let key = keys::snapshot(name, version, made);
        let mut own = base.own.next(made, key, old.document.columns.clone());
        own.laid_out_as(&old.document);
        let mut document = old.document.again(version, &made.commit, self.operation);
        document.requires.clone_from(&own.requires);
        let mut header = Header::new(name, document.partition_by.clone());
        header.metadata = document.metadata.clone();
        self.set_annotations(&mut header)?;
        header.set_own(&own)?;
        header.indices = document.indices.clone();
        header.partitions = Some(partitions(&old.manifest, &document.table_name));
        let (before, after) = (keys_of(&base.manifest), keys_of(&old.manifest));
        let added: BooleanArray =
            old.manifest.keys().map(|key| Some(!before.contains(key))).collect();
        let gone = base.manifest.keys().map(|key| Some(!after.contains(key))).collect();
        let kept = Kept { stay: None, go: Some(base.manifest.filter(&gone)?) };
        let both = old.manifest.filter(&not(&added)?)?.total_rows();
        let delta = Delta { removed: removed(Some(base), &kept, &old.manifest.schema())?, added };
        document.change = Totals {
            files_added: delta.added.true_count() as u64,
            files_removed: gone_files(&kept),
            rows_added: old.manifest.total_rows() - both,
            rows_removed: base.manifest.total_rows().saturating_sub(both),
            bytes_added: 0,
        };
        document.removed_indices = removed_indices(Some(base), &header);
        document.parent = Some(base.own.snapshot.clone()).filter(|key| !key.is_empty());
        document.metadata = header.user_metadata();
        Ok(Next {
            header,
            encoding: base.encoding,
            own,
            table_name: document.table_name.clone(),
            snapshot: Snapshot {
                document,
                schema: old.schema.clone(),
                manifest: old.manifest.clone(),
                delta: Some(delta),
            },
            index_files: Vec::new(),
            schema_changed: plain(&old.schema) != plain(&base.stored),
        })
    }

    /// Splits the files of `base` into those that stay and those that are removed.
    fn kept(&self, base: Option<&State>) -> Result<Kept> {
        let Some(base) = base else { return Ok(Kept::default()) };
        let all = &base.manifest;
        let gone = match (&self.creation, &self.scope) {
            (Some(_), _) => BooleanArray::from(vec![true; all.len()]),
            (None, Some(scope)) => in_scope(base, scope)?,
            (None, None) => all.keys().map(|key| Some(self.removed.contains(key))).collect(),
        };
        Ok(Kept { stay: Some(all.filter(&not(&gone)?)?), go: Some(all.filter(&gone)?) })
    }

    fn manifest(&self, kept: &Kept, layout: &Layout) -> Result<Manifest> {
        let table = table_schema(&layout.schema, &layout.columns, &layout.extensions);
        let target = Manifest::schema_of(&table, &layout.partition_by);
        let parts = kept.stay.iter().chain(self.staged.iter().map(|staged| &staged.manifest));
        let parts: Result<Vec<Manifest>> = parts.map(|part| part.aligned(&target)).collect();
        let known = kept.stay.as_ref().map_or(0, Manifest::len);
        Manifest::concat(&target, &parts?)?.with_schema_id(known, layout.schemas.current)
    }

    fn totals(&self, kept: &Kept) -> Totals {
        let staged = |of: fn(&Staged) -> u64| self.staged.iter().map(of).sum();
        Totals {
            files_added: staged(|s| s.manifest.len() as u64),
            files_removed: gone_files(kept),
            rows_added: staged(Staged::rows).saturating_sub(self.carried),
            rows_removed: kept
                .go
                .as_ref()
                .map_or(0, |go| go.total_rows())
                .saturating_sub(self.carried),
            bytes_added: staged(Staged::bytes),
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    stay: Option<Manifest>,
    go: Option<Manifest>,
}

/// The files of `state` whose partition the scope selects.
///
/// A scope that names other columns than the partition columns is refused: it would require
/// removing rows within files.
pub(crate) fn in_scope(state: &State, scope: &Predicate) -> Result<BooleanArray> {
    let bound = state.bind(scope)?;
    for column in scope.columns() {
        if !state.partition_by.contains(&column) {
            return Err(Error::invalid(format!(
                "a scope selects whole partitions, so it may name only partition columns ({})",
                if state.partition_by.is_empty() {
                    "none here".to_owned()
                } else {
                    state.partition_by.join(", ")
                }
            ))
            .with("column", column));
        }
    }
    let mask = bound.evaluate(&state.partition_values()?)?;
    Ok(mask.iter().map(|selected| Some(selected.unwrap_or(false))).collect())
}

fn gone_files(kept: &Kept) -> u64 {
    kept.go.as_ref().map_or(0, |go| go.len() as u64)
}

/// The files that a commit adds to and removes from `base`. Remaining files come first in the new
/// manifest.
fn delta(base: Option<&State>, kept: &Kept, manifest: &Manifest) -> Result<Delta> {
    let stay = kept.stay.as_ref().map_or(0, Manifest::len);
    Ok(Delta {
        added: (0..manifest.len()).map(|row| Some(row >= stay)).collect(),
        removed: removed(base, kept, &manifest.schema())?,
    })
}

/// The files that no longer belong to the table, with those that plateau removed before.
fn removed(base: Option<&State>, kept: &Kept, schema: &SchemaRef) -> Result<Manifest> {
    let forgotten = base.and_then(|base| base.forgotten.as_ref()).map(|files| &files.manifest);
    let parts = kept.go.iter().chain(forgotten);
    let parts: Result<Vec<Manifest>> = parts.map(|part| part.aligned(schema)).collect();
    Manifest::concat(schema, &parts?)
}

/// The index files of `base` that a header does not name.
fn removed_indices(base: Option<&State>, header: &Header) -> Vec<String> {
    let Some(base) = base else { return Vec::new() };
    let named: HashSet<&str> = index_keys(&header.indices).collect();
    let forgotten = base.forgotten.iter().flat_map(|files| &files.indices).map(String::as_str);
    let before = index_keys(&base.header.indices).chain(forgotten);
    before.filter(|key| !named.contains(key)).map(str::to_owned).collect()
}

/// The keys of the index files that a header names.
pub(crate) fn index_keys(indices: &IndexMap<String, Value>) -> impl Iterator<Item = &str> {
    indices.values().filter_map(Value::as_str)
}

fn keys_of(manifest: &Manifest) -> HashSet<&str> {
    manifest.keys().collect()
}

fn partitions(manifest: &Manifest, table_name: &str) -> IndexMap<String, Files> {
    manifest
        .labels()
        .zip(manifest.keys())
        .map(|(label, key)| {
            let files = [(table_name.to_owned(), key.to_owned())].into_iter().collect();
            (label.to_owned(), Files { files })
        })
        .collect()
}
