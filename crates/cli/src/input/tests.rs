use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, TimeUnit};
use partita::convert::to_texts;

use super::*;

fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

fn opened(paths: &[PathBuf]) -> RecordBatch {
    opened_with(paths, &InputOptions::default())
}

fn opened_with(paths: &[PathBuf], options: &InputOptions) -> RecordBatch {
    let source = open(paths, options, None).unwrap();
    let schema = source.schema();
    let batches: Vec<RecordBatch> = source.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn refused(paths: &[PathBuf], like: Option<SchemaRef>) -> String {
    match open(paths, &InputOptions::default(), like) {
        Err(failure) => format!("{failure:?}"),
        Ok(mut source) => source.find_map(Result::err).unwrap().to_string(),
    }
}

/// A column as text, `null` where it is null.
fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let texts = to_texts(batch.column_by_name(column).unwrap()).unwrap();
    texts.iter().map(|text| text.unwrap_or("null").to_owned()).collect()
}

#[test]
fn files_of_different_formats_make_one_source() {
    let directory = tempfile::tempdir().unwrap();
    let csv = file(&directory, "a.csv", "id,name\n1,x\n2,\n");
    let json = file(&directory, "b.ndjson", "\u{feff}{\"name\": \"y\", \"id\": 2.5}\n{\"id\":3}\n");
    let rows = opened(&[csv, json]);
    assert_eq!(texts(&rows, "id"), ["1.0", "2.0", "2.5", "3.0"]);
    assert_eq!(texts(&rows, "name"), ["x", "null", "y", "null"]);
}

#[test]
fn folders_name_columns() {
    let directory = tempfile::tempdir().unwrap();
    for (folder, rows) in [
        ("year=2025/city=a%20b", "id\n1\n2\n"),
        ("year=__HIVE_DEFAULT_PARTITION__/city=7", "id\n3\n"),
        ("_temporary", "id\n4\n"),
    ] {
        file(&directory, &format!("{folder}/x.csv"), rows);
        file(&directory, &format!("{folder}/_SUCCESS"), "");
    }
    let rows = opened(&[directory.path().to_owned()]);
    assert_eq!(texts(&rows, "year"), ["2025", "2025", "null"]);
    assert_eq!(texts(&rows, "city"), ["a b", "a b", "7"]);
    let empty = tempfile::tempdir().unwrap();
    let paths = [empty.path().to_owned()];
    let failure = open(&paths, &InputOptions::default(), None).err().unwrap();
    assert!(matches!(failure, Failure::Usage(_)));
}

#[test]
fn codes_with_leading_zeros_stay_apart() {
    let directory = tempfile::tempdir().unwrap();
    for folder in ["_m=01", "_m=1"] {
        file(&directory, &format!("{folder}/x.csv"), "zip\n00123\n");
    }
    let rows = opened(&[directory.path().to_owned()]);
    assert_eq!(texts(&rows, "_m"), ["01", "1"]);
    assert_eq!(texts(&rows, "zip"), ["00123", "00123"]);
}

#[test]
fn a_folder_and_its_file_must_say_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let folder =
        file(&directory, "a/y=1/x.csv", "y,v\n1,2\n").ancestors().nth(2).unwrap().to_owned();
    assert_eq!(texts(&opened(&[folder]), "y"), ["1"]);
    let folder =
        file(&directory, "b/y=1/x.csv", "y,v\n3,2\n").ancestors().nth(2).unwrap().to_owned();
    let error = refused(&[folder], None);
    assert!(error.contains("x.csv") && error.contains("folder"), "{error}");
}

#[test]
fn a_differing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let first = file(&directory, "a.csv", "id\n1\n");
    let second = file(&directory, "b.csv", "id,more\n1,2\n");
    let paths = [first, second];
    let error = refused(&paths, None);
    assert!(error.contains("a.csv") && error.contains("more"), "{error}");
    let union = InputOptions { union: true, ..Default::default() };
    assert_eq!(texts(&opened_with(&paths, &union), "more"), ["null", "2"]);
}

#[test]
fn what_a_column_cannot_hold_is_refused_by_row() {
    let directory = tempfile::tempdir().unwrap();
    let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
    for (data_type, text) in [
        (DataType::Int64, "2.7"),
        (DataType::UInt64, "-1"),
        (DataType::Int8, "128"),
        (DataType::Float64, "1e400"),
        (DataType::Float64, "9007199254740993"),
        (DataType::Decimal128(10, 2), "1.239"),
        (DataType::Date32, "2020-01-01T23:59:59"),
        (DataType::Time64(TimeUnit::Microsecond), "01:02:03.0000005"),
        (naive.clone(), "2020-01-01T00:00:00+02:00"),
        (naive, "2020-01-01T00:00:00.0000001"),
    ] {
        let like = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("c", data_type.clone(), true),
        ]));
        let csv = file(&directory, "a.csv", &format!("id,c\n1,\n2,{text}\n"));
        let quoted =
            if text.parse::<f64>().is_ok() { text.to_owned() } else { format!("{text:?}") };
        let json =
            file(&directory, "a.jsonl", &format!("{{\"id\":1}}\n{{\"id\":2,\"c\":{quoted}}}\n"));
        for path in [csv, json] {
            let error = refused(&[path], Some(Arc::clone(&like)));
            assert!(
                error.contains("row: 1") && error.contains("column: c"),
                "{data_type}: {error}"
            );
        }
    }
}

#[test]
fn options_say_what_text_is() {
    let directory = tempfile::tempdir().unwrap();
    let csv = file(&directory, "a.csv", "a,b,c\n1, 2.5,NA\n-,NA,\n");
    let plain = opened(std::slice::from_ref(&csv));
    assert_eq!(texts(&plain, "b"), ["2.5", "null"]);
    assert_eq!(texts(&plain, "c"), ["NA", "null"]);
    let options = InputOptions {
        null: vec!["-".into(), "NA".into()],
        types: vec![Field::new("a", DataType::Decimal128(5, 1), true)].into(),
        ..Default::default()
    };
    let rows = opened_with(std::slice::from_ref(&csv), &options);
    assert_eq!(texts(&rows, "a"), ["1.0", "null"]);
    let strings = InputOptions { strings: true, ..Default::default() };
    assert_eq!(texts(&opened_with(&[csv], &strings), "b"), [" 2.5", "NA"]);
}

#[test]
fn a_heading_names_every_column_once() {
    let directory = tempfile::tempdir().unwrap();
    for heading in [",a", "a,a"] {
        let csv = file(&directory, "a.csv", &format!("{heading}\n1,2\n"));
        assert!(refused(&[csv], None).contains("a.csv"), "{heading}");
    }
}

#[test]
fn unknown_endings_are_a_usage_error() {
    let paths = [PathBuf::from("a.xls")];
    let failure = open(&paths, &InputOptions::default(), None).err().unwrap();
    assert!(matches!(failure, Failure::Usage(_)));
}
