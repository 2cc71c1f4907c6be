//! Makes a collection of arrays with a partition for each month, and reads some of it.

use partita::array::dataset::{Chunks, Dimension};
use partita::array::json::Attributes;
use partita::array::{
    Array, Collection, CreateOptions, DType, Dataset, InsertOptions, Partitioning, ReadOptions,
    Variable, VariableSchema,
};
use partita::partition::{CalendarUnit, Resolution};
use partita::{Predicate, Result, StoreOptions};

const DAYS: usize = 60;
/// A day in seconds.
const DAY: usize = 86_400;
/// 2024-01-01 in seconds since 1970.
const FIRST: i64 = 1_704_067_200;

/// Sixty days of heights at three points.
fn heights() -> Result<Dataset> {
    let seconds = (FIRST..).step_by(DAY).take(DAYS);
    let seconds: Vec<u8> = seconds.flat_map(i64::to_le_bytes).collect();
    let time = VariableSchema::new("time", DType::DateTime(CalendarUnit::Second, 1), &["time"]);
    let time = Variable::new(time.clone(), Array::from_bytes(time.dtype, vec![DAYS], seconds)?)?;

    let metres: Vec<u8> = (0..DAYS * 3).flat_map(|item| (item as f32).to_le_bytes()).collect();
    let ssh = VariableSchema::new("ssh", DType::Float32, &["time", "x"])
        .with_fill("NaN")?
        .with_attribute("units", "m");
    let ssh = Variable::new(ssh, Array::from_bytes(DType::Float32, vec![DAYS, 3], metres)?)?;
    Dataset::new(vec![time, ssh], Attributes::new())
}

/// Makes a collection at `url`. Returns the number of its partitions, and the shape of what the
/// second month holds.
pub async fn run(url: &str) -> Result<(usize, Vec<usize>)> {
    let data = heights()?;
    let mut schema = data.schema();
    schema.dimensions = vec![
        Dimension::new("time").with_chunks(Chunks::Size(30)),
        Dimension::new("x").with_size(3).with_chunks(Chunks::Whole),
    ];
    let by_month = Partitioning::date("time", Resolution::Month);
    let (options, store) = (CreateOptions::default(), StoreOptions::new());
    let collection = Collection::create(url, schema, "time", by_month, &options, &store).await?;
    let partitions = collection.insert(&data, &InsertOptions::default()).await?;

    let second = ReadOptions {
        predicate: Some(Predicate::parse("time >= '2024-02-01'")?),
        variables: Some(vec!["ssh".into()]),
        ..Default::default()
    };
    let read = collection.read(&second).await?;
    Ok((partitions.len(), read.require("ssh")?.data().shape().to_vec()))
}

#[tokio::main]
async fn main() -> Result<()> {
    let (partitions, shape) = run("memory://arrays/ssh").await?;
    println!("{partitions} partitions; of the second, ssh has the shape {shape:?}");
    Ok(())
}
