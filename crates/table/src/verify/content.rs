//! Comparing the bytes of a data file with what was committed, where decoding it does not.

use arrow::datatypes::Schema;
use parquet::arrow::async_reader::AsyncFileReader;
use partita_core::{Result, Store};

use crate::format::digests::{FileDigests, range};
use crate::format::footer::{ParquetObject, unreadable};

/// Compares what lies between column chunks and footer, and the column chunks that the table does not
/// have, which older versions may. One request for each of these, and two.
///
/// # Errors
/// [`Corrupt`](partita_core::ErrorKind::Corrupt) naming what is not what was committed.
pub(super) async fn check_undecoded(
    store: &Store,
    key: &str,
    digests: FileDigests,
    footer: Option<u64>,
    table: &Schema,
) -> Result<()> {
    let object = ParquetObject::open(store, key, None, footer).await?;
    let mut object = object.committed_as(Some(digests));
    let metadata = object.metadata(false).await?;
    object.check_rest(metadata.metadata()).await?;
    for group in metadata.metadata().row_groups() {
        for chunk in group.columns() {
            let column = chunk.column_path().parts().first();
            if column.is_none_or(|column| table.field_with_name(column).is_err()) {
                let fetched = object.get_bytes(range(chunk)).await;
                fetched.map_err(|error| unreadable(key, error))?;
            }
        }
    }
    Ok(())
}
