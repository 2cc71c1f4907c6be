//! Tests that collections written by other programs are read exactly.

use std::path::PathBuf;

use partita_array::json::Json;
use partita_array::layout::Layout;
use partita_array::{Collection, Dataset, Partitioning, ReadOptions};
use partita_core::partition::Resolution;
use partita_core::{ErrorKind, Predicate, StoreOptions};

fn golden(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../../tests/golden/zcollection").canonicalize().unwrap().join(name)
}

async fn open(name: &str) -> Collection {
    let options = StoreOptions::default();
    Collection::open(golden(name).to_str().unwrap(), &options).await.unwrap()
}

async fn paths(collection: &Collection) -> Vec<String> {
    let partitions = collection.partitions(None).await.unwrap();
    partitions.into_iter().map(|partition| partition.path).collect()
}

async fn read(collection: &Collection, predicate: Option<&str>, names: &[&str]) -> Dataset {
    let variables = names.iter().map(|name| (*name).to_owned()).collect();
    let options = ReadOptions {
        predicate: predicate.map(|text| Predicate::parse(text).unwrap()),
        variables: (!names.is_empty()).then_some(variables),
        ..ReadOptions::default()
    };
    collection.read(&options).await.unwrap()
}

fn integers(dataset: &Dataset, path: &str) -> Vec<i128> {
    dataset.variable(path).unwrap().data().integers().unwrap()
}

fn floats(dataset: &Dataset, path: &str) -> Vec<f64> {
    let data = dataset.variable(path).unwrap().data();
    let bytes = data.bytes().unwrap();
    match data.dtype().item_size() {
        Some(4) => {
            bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
        }
        _ => bytes.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
    }
}

/// Microseconds from 1970 to midnight of a day in 2022; days are counted from the first of January.
fn day_of_2022(day: i128) -> i128 {
    (18_993 + day) * 86_400_000_000
}

#[tokio::test]
async fn by_month_in_zarr_v2() {
    let collection = open("v1-date").await;
    let config = collection.config();
    assert_eq!(config.layout, Layout::ZarrV2);
    assert_eq!(config.partitioning, Partitioning::date("time", Resolution::Month));
    assert_eq!(paths(&collection).await, ["year=2022/month=01", "year=2022/month=02"]);

    let data = read(&collection, None, &[]).await;
    assert_eq!(data.attributes().get("title"), Some(&Json::from("demo")));
    assert_eq!(integers(&data, "time"), [29, 30, 31, 32].map(day_of_2022));
    assert_eq!(integers(&data, "cycle"), [1, 1, 1, 2]);
    assert_eq!(integers(&data, "lut"), [0, 1, 2]);
    assert_eq!(floats(&data, "var1"), (0..12).map(f64::from).collect::<Vec<_>>());
    for row in floats(&data, "ssh").chunks(3) {
        assert!(row[0] == 1.0 && row[1] == 2.0 && row[2].is_nan());
    }
    let var1 = data.variable("var1").unwrap().schema();
    assert_eq!(var1.attributes.get("valid_min"), Some(&Json::Float(0.5)));
    assert_eq!(var1.fill.as_ref().unwrap().to_json(var1.dtype), Json::Float(65.536));
    let ssh = data.variable("ssh").unwrap().schema();
    assert_eq!(ssh.fill.as_ref().unwrap().to_json(ssh.dtype), Json::from("NaN"));
    assert!(data.variable("time").unwrap().schema().fill.is_none());
}

#[tokio::test]
async fn partitions_and_variables_are_selected() {
    let collection = open("v1-date").await;
    let data = read(&collection, Some("month == 2 and year in (2021, 2022)"), &["var1"]).await;
    assert_eq!(data.variables().count(), 1);
    assert_eq!(floats(&data, "var1"), (6..12).map(f64::from).collect::<Vec<_>>());
    let none = read(&collection, Some("month > 2"), &[]).await;
    assert_eq!(none.variable("var1").unwrap().data().shape(), [0, 3]);
    assert_eq!(integers(&none, "lut"), [0, 1, 2]);

    let options = ReadOptions { variables: Some(vec!["nothing".into()]), ..ReadOptions::default() };
    let error = collection.read(&options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("variable: nothing"), "{error}");
    let predicate = Predicate::parse("week == 1").unwrap();
    let error = collection.partitions(Some(&predicate)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPredicate);
}

#[tokio::test]
async fn by_cycle_in_zarr_v2() {
    let collection = open("v1-seq").await;
    assert_eq!(collection.config().partitioning, Partitioning::sequence(&["cycle"]));
    assert_eq!(paths(&collection).await, ["cycle=1", "cycle=2"]);
    let data = read(&collection, Some("cycle == 2"), &["time"]).await;
    assert_eq!(integers(&data, "time"), [day_of_2022(32)]);
}

#[tokio::test]
async fn every_type_compressor_and_filter_of_zarr_v2() {
    let collection = open("v1-types").await;
    let data = read(&collection, None, &[]).await;
    let expected = std::fs::read(golden("v1-types.json")).unwrap();
    let expected = Json::parse(&expected).unwrap();
    let expected = expected.as_map().unwrap();
    assert_eq!(data.variables().count(), expected.len());
    for (name, hexadecimal) in expected {
        let bytes = data.variable(name).unwrap().data().bytes().unwrap();
        let found: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Some(found.as_str()), hexadecimal.as_text(), "{name}");
    }
    let limits = data.variable("type00").unwrap().schema().attributes.get("limits");
    let limits = limits.and_then(Json::as_list).unwrap();
    assert_eq!(limits[..2], [Json::Float(f64::NAN), Json::Float(f64::INFINITY)]);
}

#[tokio::test]
async fn the_unreleased_line_of_2025() {
    let collection = open("dev-grouped").await;
    let config = collection.config();
    assert_eq!(config.version.as_deref(), Some("2025.7"));
    assert_eq!(config.partitioning, Partitioning::grouped_sequence(&["p"], 10, 1));
    assert_eq!(config.schema.dimension("x").unwrap().size, Some(3));
    assert_eq!(paths(&collection).await, ["p=1", "p=11"]);
    let data = read(&collection, None, &["p", "a"]).await;
    let p = integers(&data, "p");
    assert!(p.iter().all(|value| (1..21).contains(value)) && p.is_sorted());
    assert_eq!(data.variable("a").unwrap().data().shape(), [p.len(), 3]);
}

#[tokio::test]
async fn nested_groups_in_zarr_v3() {
    let collection = open("v3-date").await;
    assert_eq!(collection.config().layout, Layout::ZarrV3);
    assert!(collection.config().catalog);
    assert_eq!(paths(&collection).await, ["year=2022/month=01", "year=2022/month=02"]);

    let data = read(&collection, None, &[]).await;
    let first = day_of_2022(31) - 3_600_000_000;
    let seconds: Vec<i128> = (0..10_000).map(|i| first + i * 1_000_000).collect();
    assert_eq!(integers(&data, "time"), seconds);
    assert_eq!(integers(&data, "cycle"), (0..10_000).map(|i| i / 1000).collect::<Vec<i128>>());
    assert_eq!(integers(&data, "lut"), [0, 1, 2]);
    assert!(floats(&data, "ssh").iter().chain(&floats(&data, "big")).all(|value| *value == 1.0));
    let power = data.variable("data_01/ku/power").unwrap();
    assert_eq!(power.data().shape(), [10_000, 3]);
    assert!(floats(&data, "data_01/ku/power").iter().all(|value| *value == 0.0));
    assert_eq!(data.attributes().keys().collect::<Vec<_>>(), ["title"]);
    let units = data.variable("ssh").unwrap().schema().attributes.get("units");
    assert_eq!(units, Some(&Json::from("m")));

    let nested = read(&collection, Some("month == 1"), &["data_01/ku/power"]).await;
    assert_eq!(nested.variables().count(), 0);
    assert_eq!(nested.variable("data_01/ku/power").unwrap().data().shape(), [3600, 3]);
}

#[tokio::test]
async fn groups_of_values_in_zarr_v3_are_ordered_by_value() {
    let collection = open("v3-grouped").await;
    assert_eq!(paths(&collection).await, ["cycle=-3", "cycle=1", "cycle=5", "cycle=9"]);
    let cycles = integers(&read(&collection, None, &["cycle"]).await, "cycle");
    assert!(cycles.is_sorted() && !cycles.is_empty());
    let below = integers(&read(&collection, Some("cycle < 1"), &["cycle"]).await, "cycle");
    assert!(below.iter().all(|cycle| (-3..1).contains(cycle)));
}
