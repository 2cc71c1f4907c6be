//! Rows of a small table of taxi trips, for tests.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatchIterator;
use partita_core::Store;
use partita_core::testing::FaultStore;
use partita_table::{BatchSource, Scan};

/// A trip: city (the partition), rider (indexed, may be null) and fare.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub struct Trip {
    pub city: String,
    pub rider: Option<i64>,
    pub fare: f64,
}

pub fn trip(city: &str, rider: impl Into<Option<i64>>, fare: f64) -> Trip {
    Trip { city: city.into(), rider: rider.into(), fare }
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("city", DataType::Utf8, true),
        Field::new("rider", DataType::Int64, true),
        Field::new("fare", DataType::Float64, true),
    ]))
}

pub fn batch(trips: &[Trip]) -> RecordBatch {
    let city: ArrayRef = Arc::new(StringArray::from_iter_values(trips.iter().map(|t| &t.city)));
    let rider: ArrayRef = Arc::new(trips.iter().map(|t| t.rider).collect::<Int64Array>());
    let fare: ArrayRef = Arc::new(trips.iter().map(|t| t.fare).collect::<Float64Array>());
    RecordBatch::try_new(schema(), vec![city, rider, fare]).unwrap()
}

pub fn source(trips: &[Trip]) -> BatchSource {
    Box::new(RecordBatchIterator::new([Ok(batch(trips))], schema()))
}

/// The view of a process that dies at its write number `stop`, and the counter of its writes.
#[allow(dead_code, reason = "not every test kills")]
pub fn dying(store: &Store, stop: u64) -> (Store, FaultStore) {
    let mut faults = None;
    let dying = store.wrap(|inner| {
        let wrapper = FaultStore::new(inner).stop_writes_at(stop);
        faults = Some(wrapper.clone());
        Arc::new(wrapper)
    });
    (dying, faults.unwrap())
}

/// All rows of a scan, sorted.
pub async fn rows(scan: Scan) -> Vec<Trip> {
    let mut trips = Vec::new();
    for batch in scan.collect().await.unwrap() {
        let column = |name| batch.column_by_name(name).unwrap();
        // Without a snapshot the type is plateau's.
        let city = cast(column("city"), &DataType::LargeUtf8).unwrap();
        let city = city.as_string::<i64>();
        let rider = column("rider").as_primitive::<Int64Type>();
        let fare = column("fare").as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let rider = rider.is_valid(row).then(|| rider.value(row));
            trips.push(trip(city.value(row), rider, fare.value(row)));
        }
    }
    trips.sort_by(|a, b| a.partial_cmp(b).unwrap());
    trips
}
