//! Files of a column that is renamed, dropped or given a type for which they must be written again.

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::StreamExt;
use futures::stream::BoxStream;
use partita_core::{Result, Store};
use std::sync::Arc;

use crate::alter::Alteration;
use crate::change::Layout;
use crate::format::footer::ParquetObject;
use crate::format::schema::with_pandas;
use crate::prune::{Plan, plan};
use crate::state::State;

/// The layout of `state` once it is altered.
pub(super) fn altered(state: &State, alteration: &Alteration) -> Result<Layout> {
    let mut layout = Layout::of(state);
    alteration.apply(&mut layout)?;
    Ok(layout)
}

/// The files to look into, each a unit of its own.
pub(super) async fn units(
    store: &Store,
    state: &State,
    alteration: &Alteration,
) -> Result<Vec<Plan>> {
    altered(state, alteration)?;
    match alteration.rewrites(&Layout::of(state)) {
        Some(_) => plan(store, state, None).await?.each_file(),
        None => Ok(Vec::new()),
    }
}

/// True if a file holds the column. Files that were written before it was added do not. Two requests.
pub(super) async fn holds(store: &Store, unit: &Plan, column: &str) -> Result<bool> {
    let sizes = unit.manifest.bytes().zip(unit.manifest.footers());
    for (key, (bytes, footer)) in unit.manifest.keys().zip(sizes) {
        let mut object = ParquetObject::open(store, key, bytes, footer).await?;
        if object.metadata(false).await?.schema().index_of(column).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The columns that are read to be written again: all but one that is dropped.
pub(super) fn kept(schema: &SchemaRef, alteration: &Alteration) -> SchemaRef {
    let Alteration::Drop(column) = alteration else { return Arc::clone(schema) };
    let fields = schema.fields().iter().filter(|field| field.name() != column).cloned();
    let metadata = schema.metadata().clone();
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata))
}

/// Batches of `schema` with the column that is renamed under its new name.
pub(super) fn renamed(
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
    alteration: &Alteration,
    layout: &Layout,
) -> (SchemaRef, BoxStream<'static, Result<RecordBatch>>) {
    let Alteration::Rename(from, to) = alteration else { return (schema, batches) };
    let fields = schema.fields().iter().map(|field| match field.name() == from {
        true => field.as_ref().clone().with_name(to),
        false => field.as_ref().clone(),
    });
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let schema = Arc::new(with_pandas(schema, &layout.extensions));
    let named = Arc::clone(&schema);
    let batches = batches.map(move |batch| {
        let batch = batch?;
        Ok(RecordBatch::try_new(Arc::clone(&named), batch.columns().to_vec())?)
    });
    (schema, batches.boxed())
}
