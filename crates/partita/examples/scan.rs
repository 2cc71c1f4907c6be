//! Reads the rows of a table that satisfy a condition, one record batch after the other.

use std::sync::Arc;

use futures::TryStreamExt;
use partita::arrow::array::{
    ArrayRef, AsArray, Float64Array, RecordBatch, RecordBatchIterator, StringArray,
};
use partita::arrow::compute::sum;
use partita::arrow::datatypes::Float64Type;
use partita::{CreateOptions, Result, StoreOptions, Table, col};

/// Makes a table at `url`, and returns the sum of the fares above 10 in Oslo.
pub async fn run(url: &str) -> Result<f64> {
    let cities: ArrayRef = Arc::new(StringArray::from(vec!["Oslo", "Rome", "Oslo", "Oslo"]));
    let fares: ArrayRef = Arc::new(Float64Array::from(vec![12.5, 30.0, 7.0, 20.0]));
    let trips = RecordBatch::try_from_iter([("city", cities), ("fare", fares)])?;
    let schema = trips.schema();
    let data = Box::new(RecordBatchIterator::new([Ok(trips)], schema));
    let options = CreateOptions { partition_by: vec!["city".into()], ..Default::default() };
    let table = Table::create_from(url, data, &options, &StoreOptions::new()).await?;

    // The condition on the city leaves out whole files, that on the fare row groups and rows.
    let scan = table
        .scan()
        .columns(vec!["fare".into()])
        .filter(col("city").eq("Oslo").and(col("fare").gt(10.0)));
    println!("{}", scan.explain().await?);
    let mut batches = scan.stream().await?;
    let mut total = 0.0;
    while let Some(batch) = batches.try_next().await? {
        let fares = batch.column_by_name("fare").and_then(|c| c.as_primitive_opt::<Float64Type>());
        total += fares.and_then(sum).unwrap_or_default();
    }
    Ok(total)
}

#[tokio::main]
async fn main() -> Result<()> {
    println!("the fares are {}", run("memory://scan/trips").await?);
    Ok(())
}
