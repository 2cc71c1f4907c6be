//! Index entries of files that were staged before an index was built, and are committed afterwards.

use std::sync::Arc;

use partita_core::{Cancel, ErrorKind, NoProgress, Progress, Result, Store};

use crate::change::Change;
use crate::explain::Explain;
use crate::format::index::{Index, value_type};
use crate::prune::Plan;
use crate::scan::distinct_values;
use crate::stage::Staged;
use crate::state::{State, partition_values};

/// Reads the values of indexed columns in staged files whose staging did not know of the index. An
/// index that lacks files is not used by Partita, but plateau would leave their rows out.
///
/// # Errors
/// Those of a scan. Files that are missing or damaged are not indexed: whether they can be committed
/// is decided later.
pub(super) async fn index_staged(
    store: &Store,
    base: &State,
    change: &mut Change,
    cancel: &Cancel,
) -> Result<()> {
    if change.creation.is_some() || change.restored.is_some() {
        return Ok(());
    }
    let indices = base.header.indices.keys();
    let kept = indices.filter(|column| {
        !change.indexed.contains_key(*column) && !change.unindexed.contains(*column)
    });
    let kept: Vec<String> = kept.cloned().collect();
    for staged in &mut change.staged {
        let lacks = |column: &&String| !staged.index.contains_key(*column);
        let columns: Vec<String> = kept.iter().filter(lacks).cloned().collect();
        if columns.is_empty() || staged.manifest.is_empty() {
            continue;
        }
        match index_columns(store, base, staged, &columns, cancel).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
            indexed => indexed?,
        }
    }
    Ok(())
}

async fn index_columns(
    store: &Store,
    base: &State,
    staged: &mut Staged,
    columns: &[String],
    cancel: &Cancel,
) -> Result<()> {
    let plan = Plan {
        manifest: staged.manifest.clone(),
        partitions: partition_values(&staged.manifest, &base.partition_by, &base.schema)?,
        bucket: base.own.derived.bucket.clone(),
        explain: Explain::default(),
    };
    let progress: Arc<dyn Progress> = Arc::new(NoProgress);
    let found = distinct_values(store, &base.schema, plan, columns, &progress, cancel).await?;
    for (position, column) in columns.iter().enumerate() {
        let data_type = value_type(base.schema.field_with_name(column)?.data_type());
        let found = found.iter();
        let files = found.filter_map(|(label, own)| Some((label, own.get(position)?)));
        staged.index.insert(column.clone(), Index::of_files(&data_type, files)?);
    }
    Ok(())
}
