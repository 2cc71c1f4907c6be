//! The distinct values of columns, file by file: what indices are made of.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Cancel, Error, NoProgress, Progress, Result, Store, cores};

use super::{BATCH_ROWS, Read};
use crate::format::index::{distinct, value_type};
use crate::format::schema::cast_column;
use crate::prune::Plan;

/// The distinct values of `columns` in each file of a plan, by label. Several files are read
/// concurrently, each as a stream.
///
/// # Errors
/// Those of a scan.
pub(crate) async fn distinct_values(
    store: &Store,
    table: &SchemaRef,
    plan: Plan,
    columns: &[String],
    progress: &Arc<dyn Progress>,
    cancel: &Cancel,
) -> Result<Vec<(String, Vec<ArrayRef>)>> {
    let fields: Result<Vec<Field>, _> =
        columns.iter().map(|name| table.field_with_name(name).cloned()).collect();
    let schema = Arc::new(Schema::new(fields?));
    let types: Vec<DataType> =
        schema.fields().iter().map(|field| value_type(field.data_type())).collect();
    let labels: Vec<String> = plan.manifest.labels().map(str::to_owned).collect();
    progress.start("files indexed", Some(labels.len() as u64));
    let files: Vec<(String, Plan)> = labels.into_iter().zip(plan.each_file()?).collect();
    let cores = cores();
    let values = stream::iter(files)
        .map(|(label, file)| {
            let read = Read {
                store: store.clone(),
                table: Arc::clone(table),
                schema: Arc::clone(&schema),
                test: None,
                batch_rows: BATCH_ROWS,
                account: Arc::default(),
                progress: Arc::new(NoProgress) as Arc<dyn Progress>,
                cancel: cancel.clone(),
            };
            let types = types.clone();
            let progress = Arc::clone(progress);
            async move {
                let mut batches = read.run(&file);
                let mut parts: Vec<Vec<ArrayRef>> = vec![Vec::new(); types.len()];
                while let Some(batch) = batches.try_next().await? {
                    gather(&batch, &types, &mut parts)?;
                }
                progress.advance(1);
                let values: Result<Vec<ArrayRef>> =
                    parts.iter().zip(&types).map(|(parts, of)| merged(parts, of)).collect();
                Ok::<_, Error>((label, values?))
            }
        })
        .buffered(cores * 2)
        .try_collect()
        .await;
    progress.finish();
    values
}

fn gather(batch: &RecordBatch, types: &[DataType], parts: &mut [Vec<ArrayRef>]) -> Result<()> {
    let fields = batch.schema_ref().fields().iter();
    for (((field, column), data_type), parts) in
        fields.zip(batch.columns()).zip(types).zip(parts.iter_mut())
    {
        parts.push(distinct(&cast_column(field.name(), column, data_type)?)?);
    }
    Ok(())
}

fn merged(parts: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
    match parts.as_slice() {
        [] => Ok(arrow::array::new_empty_array(data_type)),
        parts => distinct(&concat(parts)?),
    }
}
