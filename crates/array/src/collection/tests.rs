//! Tests that write partitions and read them back, in both layouts.

use partita_core::partition::Resolution;
use proptest::prelude::*;

use super::*;
use crate::dataset::{
    Array, Buffer, Chunks, Codecs, DType, Dataset, Dimension, FillValue, Variable, VariableSchema,
};
use crate::json::{Attributes, Json};
use crate::layout::{Part, open_group, read_variables};
use crate::options::{InsertOptions, ReadOptions, Work};

fn options(layout: Layout) -> CreateOptions {
    CreateOptions { layout, ..CreateOptions::default() }
}

/// `rows` rows of every type, one row per day from `first_day` on.
fn dataset(first_day: i64, rows: usize) -> Dataset {
    let time = DType::parse("<M8[us]").unwrap().0;
    let days = first_day..first_day + i64::try_from(rows).unwrap();
    let bytes: Vec<u8> = days.flat_map(|day| (day * 86_400_000_000).to_le_bytes()).collect();
    let data = Array::from_bytes(time, vec![rows], bytes).unwrap();
    let schema = VariableSchema::new("time", time, &["time"]).with_attribute("axis", "T");
    let mut variables = vec![Variable::new(schema, data).unwrap()];
    let names = [
        "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8",
        "<c16", "<M8[25s]", "<m8[D]", "|S5", "<U3", "|O",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let dtype = DType::parse(name).unwrap().0;
        let schema = VariableSchema::new(&format!("v{number:02}"), dtype, &["time", "x"]);
        variables.push(Variable::new(schema, numbered(dtype, &[rows, 3])).unwrap());
    }
    let across = VariableSchema::new("across", DType::Int32, &["x", "time"]);
    variables.push(Variable::new(across, numbered(DType::Int32, &[3, rows])).unwrap());
    let filled = VariableSchema::new("filled", DType::Float32, &["time", "x"]);
    let filled = filled.with_fill("NaN").unwrap();
    let nan = FillValue::from_bytes(f32::NAN.to_le_bytes().to_vec());
    let data = Array::full(DType::Float32, vec![rows, 3], Some(&nan)).unwrap();
    variables.push(Variable::new(filled, data).unwrap());
    let lut = VariableSchema::new("lut", DType::Int16, &["x"]);
    variables.push(Variable::new(lut, numbered(DType::Int16, &[3])).unwrap());
    let scalar = VariableSchema::new::<&str>("scalar", DType::Text, &[]);
    let data = Array::new(DType::Text, vec![], Buffer::of_items(["one"]).unwrap()).unwrap();
    variables.push(Variable::new(scalar, data).unwrap());
    let attributes = Attributes::from([
        ("title".to_owned(), "tést".into()),
        ("range".to_owned(), Json::List(vec![Json::Float(-1.5), Json::Int(3)])),
    ]);
    let mut dataset = Dataset::new(variables, attributes).unwrap();
    dataset.set_chunks("time", Chunks::Size(4));
    dataset.set_chunks("x", Chunks::Size(2));
    dataset
}

fn numbered(dtype: DType, shape: &[usize]) -> Array {
    let items: usize = shape.iter().product();
    let buffer = match dtype.item_size() {
        None => Buffer::of_items((0..items).map(|i| "é".repeat(i % 4))).unwrap(),
        Some(size) => {
            let item = |i: usize| match dtype {
                DType::Bool => vec![u8::from(i.is_multiple_of(3))],
                DType::FixedText(_) => {
                    let mut item = u32::from('a').to_le_bytes().to_vec();
                    item.resize(size, 0);
                    item
                }
                _ => {
                    (0..size).map(|byte| u8::try_from((i * 7 + byte) % 120 + 1).unwrap()).collect()
                }
            };
            Buffer::Fixed((0..items).flat_map(item).collect::<Vec<u8>>().into())
        }
    };
    Array::new(dtype, shape.to_vec(), buffer).unwrap()
}

/// A nested group below the dataset.
fn nested(mut dataset: Dataset) -> Dataset {
    let rows = dataset.size("time").unwrap();
    let power = VariableSchema::new("power", DType::Float64, &["time"]);
    let power = Variable::new(power, numbered(DType::Float64, &[rows])).unwrap();
    let table = VariableSchema::new("table", DType::UInt8, &["z"]);
    let table = Variable::new(table, numbered(DType::UInt8, &[5])).unwrap();
    let group = Dataset::new(vec![power, table], Attributes::new()).unwrap();
    let mut outer = Dataset::new(Vec::new(), Attributes::new()).unwrap();
    outer.add_group("ku", group).unwrap();
    dataset.add_group("data_01", outer).unwrap();
    dataset
}

/// A collection of the dataset, whose partitions are written one by one.
async fn written(store: Store, layout: Layout, data: &Dataset) -> Collection {
    let partitioning = Partitioning::date("time", Resolution::Month);
    let schema = data.schema();
    let made = Collection::create_in(store, schema, "time", partitioning, &options(layout)).await;
    let collection = made.unwrap();
    collection.insert(data, &InsertOptions::default()).await.unwrap();
    collection
}

fn same(found: &Dataset, expected: &Dataset) {
    let paths = expected.schema();
    assert_eq!(found.schema().paths().len(), paths.paths().len());
    for (path, _) in paths.paths() {
        let (found, expected) = (found.variable(&path).unwrap(), expected.variable(&path).unwrap());
        assert_eq!(found.data(), expected.data(), "{path}");
        assert_eq!(found.schema().attributes, expected.schema().attributes, "{path}");
        assert_eq!(found.schema().fill, expected.schema().fill, "{path}");
    }
    assert_eq!(found.attributes(), expected.attributes());
}

fn memory() -> Store {
    let url = format!("memory://{}", Uuid::new_v4().simple());
    Store::open(&url, &StoreOptions::default()).unwrap()
}

#[tokio::test]
async fn what_was_written_is_read() {
    let data = dataset(25, 40);
    for layout in [Layout::ZarrV2, Layout::ZarrV3] {
        let data = if layout == Layout::ZarrV3 { nested(data.clone()) } else { data.clone() };
        let store = memory();
        written(store.clone(), layout, &data).await;
        let collection = Collection::open_in(store).await.unwrap();
        let keys: Vec<String> = collection
            .partitions(None)
            .await
            .unwrap()
            .iter()
            .map(|partition| partition.key.to_string())
            .collect();
        assert_eq!(keys, ["year=1970/month=1", "year=1970/month=2", "year=1970/month=3"]);
        same(&collection.read(&ReadOptions::default()).await.unwrap(), &data);
    }
}

/// Keeps the collection for other programs to read, if `PARTITA_TEST_KEEP` names a directory.
#[tokio::test]
async fn on_disk_for_other_programs() {
    let kept = std::env::var("PARTITA_TEST_KEEP").ok();
    let directory = tempfile::tempdir().unwrap();
    let root = kept.map_or_else(|| directory.path().to_owned(), Into::into);
    for (name, layout) in [("v2", Layout::ZarrV2), ("v3", Layout::ZarrV3)] {
        let data = dataset(25, 40);
        let data = if layout == Layout::ZarrV3 { nested(data) } else { data };
        let url = root.join(name);
        let store = Store::open(url.to_str().unwrap(), &StoreOptions::default()).unwrap();
        written(store.clone(), layout, &data).await;
        same(
            &Collection::open_in(store).await.unwrap().read(&ReadOptions::default()).await.unwrap(),
            &data,
        );
    }
}

#[tokio::test]
async fn a_variable_that_a_partition_lacks_is_filled() {
    let data = dataset(25, 40);
    for layout in [Layout::ZarrV2, Layout::ZarrV3] {
        let collection = written(memory(), layout, &data).await;
        let digits = layout.digits();
        let group =
            &collection.config().partitioning.split(&data, &collection.config().schema).unwrap()[1];
        let path = collection.config().partitioning.path(&group.key, digits);
        for key in ["filled", "v03", "v18"] {
            for document in [".zarray", "zarr.json"] {
                let key = format!("{path}/{key}/{document}");
                collection.store().delete(&key).await.unwrap();
            }
        }
        if layout == Layout::ZarrV2 {
            let key = format!("{path}/.zmetadata");
            let text = collection.store().get(&key).await.unwrap();
            let text = String::from_utf8(text.to_vec()).unwrap();
            let text = text
                .replace("\"v03/", "\"w03/")
                .replace("\"filled/", "\"w/")
                .replace("\"v18/", "\"w18/");
            collection.store().put(&key, text.into()).await.unwrap();
        }
        // A program that does not know commits leaves a collection like this.
        collection.store().delete_directory(".partita", ".scratch").await.unwrap();
        let names = ["v03", "filled", "v18"];
        for names in [&names[..], &names[..1]] {
            let variables = Some(names.iter().map(|name| (*name).to_owned()).collect());
            let read = collection.read(&ReadOptions { variables, ..ReadOptions::default() }).await;
            let read = read.unwrap();
            let v03 = read.variable("v03").unwrap().data();
            assert_eq!(v03.shape(), [40, 3]);
            let rows = group.rows[0].clone();
            assert!(
                v03.slice(0, rows.clone()).unwrap().integers().unwrap().iter().all(|v| *v == 0)
            );
            let after = v03.slice(0, rows.end..40).unwrap();
            let expected = data.variable("v03").unwrap().data().slice(0, rows.end..40).unwrap();
            assert_eq!(after, expected);
        }
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_and_nothing_written() {
    let by_month = || Partitioning::date("time", Resolution::Month);
    let schema = nested(dataset(0, 1)).schema();
    let store = memory();
    let create = async |schema: Schema, axis: &str, partitioning: Partitioning| {
        let options = options(Layout::ZarrV2);
        Collection::create_in(store.clone(), schema, axis, partitioning, &options)
            .await
            .unwrap_err()
    };
    let error = create(schema, "time", by_month()).await;
    assert!(error.to_string().contains("group: data_01"), "{error}");
    let schema = dataset(0, 1).schema();
    assert_eq!(create(schema.clone(), "nothing", by_month()).await.kind(), ErrorKind::NotFound);
    let error = create(schema.clone(), "v00", by_month()).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = create(schema.clone(), "time", Partitioning::sequence(&["v03"])).await;
    assert!(error.to_string().contains("variable: v03"), "{error}");
    let error = create(schema.clone(), "time", Partitioning::date("v03", Resolution::Day)).await;
    assert!(error.to_string().contains("variable: v03"), "{error}");
    assert_eq!(Collection::open_in(store.clone()).await.unwrap_err().kind(), ErrorKind::NotFound);

    for layout in [Layout::ZarrV2, Layout::ZarrV3] {
        let store = memory();
        let make = || {
            let (store, schema) = (store.clone(), schema.clone());
            async move {
                Collection::create_in(store, schema, "time", by_month(), &options(layout)).await
            }
        };
        make().await.unwrap();
        assert_eq!(make().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}

#[tokio::test]
async fn damage_is_named_and_foreign_directories_are_passed_over() {
    let data = dataset(0, 10);
    for (layout, chunk) in [(Layout::ZarrV2, "v04/0.0"), (Layout::ZarrV3, "v04/c/0/0")] {
        let collection = written(memory(), layout, &data).await;
        let store = collection.store();
        for key in
            ["junk/x", "year=1970/junk/x", "year=x/month=01/x", ".partita/stage/a/x", "year=1"]
        {
            store.put(key, "x".into()).await.unwrap();
        }
        assert_eq!(collection.partitions(None).await.unwrap().len(), 1);
        same(&collection.read(&ReadOptions::default()).await.unwrap(), &data);
        let key = format!("year=1970/month=01/{chunk}");
        store.put(&key, "damaged".into()).await.unwrap();
        let error = collection.read(&ReadOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("v04"), "{error}");
    }
}

#[tokio::test]
async fn codecs_of_the_other_generation_are_translated() {
    let mut schema = dataset(0, 1).schema();
    let zstd = Json::parse(
        br#"{"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": -1, "blocksize": 0}"#,
    )
    .unwrap();
    let delta = Json::parse(br#"{"id": "delta", "dtype": "<i4"}"#).unwrap();
    let codecs = |filters: Vec<Json>| Codecs::V2 {
        compressor: Some(zstd.clone()),
        filters,
        order: Default::default(),
    };
    schema.variables["v03"].codecs = codecs(Vec::new());
    let by_month = || Partitioning::date("time", Resolution::Month);
    let v3 = options(Layout::ZarrV3);
    Collection::create_in(memory(), schema.clone(), "time", by_month(), &v3).await.unwrap();
    schema.variables["v03"].codecs = codecs(vec![delta]);
    let made = Collection::create_in(memory(), schema, "time", by_month(), &v3).await;
    assert!(made.unwrap_err().to_string().contains("variable: v03"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The property holds for any shape, chunks and shards, and any selection of rows.
    #[test]
    fn shapes_chunks_and_shards(
        rows in 1..20usize, columns in 0..7usize,
        chunk_rows in 1..9usize, chunk_columns in 1..5usize, shard in 1..600u64, v3 in any::<bool>(),
        ends in (0..20usize, 0..20usize),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let layout = if v3 { Layout::ZarrV3 } else { Layout::ZarrV2 };
        let time = DType::parse("<M8[D]").unwrap().0;
        let days: Vec<u8> = (0..rows as i64).flat_map(|row| (row * 9).to_le_bytes()).collect();
        let codec = |text: &str| Json::parse(text.as_bytes()).unwrap();
        let codecs = Codecs::V3 {
            array_to_array: Vec::new(),
            array_to_bytes: codec(r#"{"name": "bytes", "configuration": {"endian": "little"}}"#),
            bytes_to_bytes: vec![codec(r#"{"name": "zstd", "configuration": {"level": 1, "checksum": false}}"#)],
            shard_bytes: Some(shard),
        };
        let schema = VariableSchema::new("time", time, &["time"]);
        let data = Array::from_bytes(time, vec![rows], days).unwrap();
        let mut variables = vec![Variable::new(schema, data).unwrap()];
        for (name, dtype) in [("a", DType::Int32), ("t", DType::Text)] {
            let schema = VariableSchema::new(name, dtype, &["time", "x"]).with_codecs(codecs.clone());
            variables.push(Variable::new(schema, numbered(dtype, &[rows, columns])).unwrap());
        }
        let schema = VariableSchema::new("b", DType::Int32, &["x", "time"]);
        let schema = schema.with_codecs(codecs).with_fill(Json::Int(1)).unwrap();
        variables.push(Variable::new(schema, numbered(DType::Int32, &[columns, rows])).unwrap());
        let mut data = Dataset::new(variables, Attributes::new()).unwrap();
        data.set_chunks("time", Chunks::Size(chunk_rows));
        data.set_chunks("x", Chunks::Size(chunk_columns));
        runtime.block_on(async {
            let collection = written(memory(), layout, &data).await;
            same(&collection.read(&ReadOptions::default()).await.unwrap(), &data);
            some_rows(&collection, &data, ends).await;
        });
    }
}

/// Reads some rows of the first partition.
async fn some_rows(collection: &Collection, data: &Dataset, ends: (usize, usize)) {
    let first =
        &collection.config().partitioning.split(data, &collection.config().schema).unwrap()[0];
    let path =
        collection.config().partitioning.path(&first.key, collection.config().layout.digits());
    let (a, b) = (ends.0 % (first.len() + 1), ends.1 % (first.len() + 1));
    let rows = a.min(b)..a.max(b);
    let schema = collection.config().partitioned();
    let group = open_group(collection.store(), &collection.config(), &path, &schema).await;
    let parts = group.unwrap().unwrap().into_iter().map(|(name, array)| {
        let part = Part::Stored { array: Arc::new(array.unwrap()), rows: Some(rows.clone()) };
        (collection.store(), schema.variables[&name].clone(), vec![part])
    });
    let variables: Vec<_> = parts.collect();
    let names: Vec<String> = variables.iter().map(|(_, schema, _)| schema.name.clone()).collect();
    let read = read_variables(variables, "time", &Work::default()).await;
    for (name, array) in names.iter().zip(read.unwrap()) {
        let variable = data.variable(name).unwrap();
        let axis = variable.schema().axis("time").unwrap();
        let expected = variable.data().take_ranges(axis, &first.rows).unwrap();
        assert_eq!(array, expected.slice(axis, rows.clone()).unwrap(), "{name}");
    }
}

#[test]
fn dimensions_of_unknown_size_are_added() {
    let variable = VariableSchema::new("a", DType::Int8, &["time", "x"]);
    let schema = Schema::new(vec![Dimension::new("time")], vec![variable]).unwrap();
    assert_eq!(schema.dimension("x"), Some(&Dimension::new("x")));
}
