//! Collections of rows with a time and a value, seven rows a day, partitioned by day.

use std::sync::atomic::{AtomicU64, Ordering};

use partita_array::json::Attributes;
use partita_array::layout::Layout;
use partita_array::{
    Array, Collection, CreateOptions, DType, Dataset, InsertOptions, Merge, MergeWith,
    Partitioning, ReadOptions, Variable, VariableSchema,
};
use partita_core::partition::{CalendarUnit, Resolution};
use partita_core::{Result, Store, StoreOptions};

pub const DAY: i64 = 86_400;

/// A row: its time in seconds, and a value.
pub type Row = (i64, i32);

pub fn dataset(rows: &[Row]) -> Dataset {
    let time = DType::DateTime(CalendarUnit::Second, 1);
    let times: Vec<u8> = rows.iter().flat_map(|(time, _)| time.to_le_bytes()).collect();
    // The variable has two columns, so that a row has more than one item.
    let values: Vec<u8> =
        rows.iter().flat_map(|(_, value)| [*value, -*value]).flat_map(i32::to_le_bytes).collect();
    let times = Array::from_bytes(time, vec![rows.len()], times).unwrap();
    let values = Array::from_bytes(DType::Int32, vec![rows.len(), 2], values).unwrap();
    let variables = vec![
        Variable::new(VariableSchema::new("time", time, &["time"]), times).unwrap(),
        Variable::new(VariableSchema::new("v", DType::Int32, &["time", "x"]), values).unwrap(),
    ];
    let mut dataset = Dataset::new(variables, Attributes::new()).unwrap();
    dataset.set_chunks("time", partita_array::dataset::Chunks::Size(3));
    dataset
}

pub fn rows_of(data: &Dataset) -> Vec<Row> {
    let times = data.variable("time").unwrap().data().integers().unwrap();
    let values = data.variable("v").unwrap().data().integers().unwrap();
    assert_eq!(values.len(), times.len() * 2);
    let pairs = times.into_iter().zip(values.chunks(2));
    pairs
        .map(|(time, pair)| {
            assert_eq!(pair[0], -pair[1], "a torn row");
            (i64::try_from(time).unwrap(), i32::try_from(pair[0]).unwrap())
        })
        .collect()
}

pub fn memory() -> Store {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let url = format!("memory://changes-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    Store::open(&url, &StoreOptions::default()).unwrap()
}

/// How a collection is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain(Layout),
    Icechunk,
}

impl Kind {
    pub const ALL: [Self; 3] =
        [Self::Plain(Layout::ZarrV2), Self::Plain(Layout::ZarrV3), Self::Icechunk];
}

impl From<Layout> for Kind {
    fn from(layout: Layout) -> Self {
        Self::Plain(layout)
    }
}

pub async fn create(store: Store, kind: impl Into<Kind>) -> Collection {
    try_create(store, kind.into()).await.unwrap()
}

pub async fn try_create(store: Store, kind: Kind) -> Result<Collection> {
    let partitioning = Partitioning::date("time", Resolution::Day);
    let schema = dataset(&[]).schema();
    let (layout, plain) = match kind {
        Kind::Plain(layout) => (layout, true),
        Kind::Icechunk => (Layout::ZarrV3, false),
    };
    let options =
        CreateOptions { layout, catalog: layout == Layout::ZarrV3, ..CreateOptions::default() };
    match plain {
        true => Collection::create_in(store, schema, "time", partitioning, &options).await,
        false => {
            Collection::create_in_repository(store, schema, "time", partitioning, &options).await
        }
    }
}

pub async fn open(store: Store, kind: Kind) -> Collection {
    try_open(store, kind).await.unwrap()
}

pub async fn try_open(store: Store, kind: Kind) -> Result<Collection> {
    match kind {
        Kind::Plain(_) => Collection::open_in(store).await,
        Kind::Icechunk => Collection::open_in_repository(store).await,
    }
}

pub fn merging(merge: Merge) -> InsertOptions {
    InsertOptions { merge: MergeWith::Strategy(merge), ..InsertOptions::default() }
}

pub async fn read(collection: &Collection) -> Vec<Row> {
    rows_of(&collection.read(&ReadOptions::default()).await.unwrap())
}

pub fn days(days: std::ops::Range<i64>, value: i32) -> Vec<Row> {
    days.flat_map(|day| (0..7).map(move |hour| (day * DAY + hour * 3600, value))).collect()
}
