//! Appends to a table once, although the program runs twice, and looks at its versions.

use std::sync::Arc;

use partita::arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator};
use partita::{BatchSource, CreateOptions, ErrorKind, Result, StoreOptions, Table, WriteOptions};

/// The rows of one delivery.
fn delivery(ids: Vec<i64>) -> Result<BatchSource> {
    let ids: ArrayRef = Arc::new(Int64Array::from(ids));
    let rows = RecordBatch::try_from_iter([("id", ids)])?;
    let schema = rows.schema();
    Ok(Box::new(RecordBatchIterator::new([Ok(rows)], schema)))
}

/// Stores two deliveries in the table at `url`, which is made if there is none. Returns the number
/// of rows and of versions.
pub async fn run(url: &str) -> Result<(u64, usize)> {
    let store = StoreOptions::new();
    let table = match Table::open(url, &store).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Table::create_from(url, delivery(vec![1, 2])?, &CreateOptions::default(), &store)
                .await?
        }
        opened => opened?,
    };
    // A commit with a key that was used before is not made again, so this may be repeated.
    let once = WriteOptions { idempotency_key: Some("2026-01-31".into()), ..Default::default() };
    table.append(delivery(vec![3, 4, 5])?, &once).await?;
    let versions = table.history().await?;
    for version in &versions {
        println!("{} {}: {} rows", version.version, version.operation.name(), version.rows);
    }
    Ok((table.scan().count().await?, versions.len()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let (rows, versions) = run("memory://append/deliveries").await?;
    println!("{rows} rows in {versions} versions");
    Ok(())
}
