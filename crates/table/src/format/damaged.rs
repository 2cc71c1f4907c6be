//! Damaged files of tables: none makes a decoder panic, and what is decoded can be written again.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use partita_core::testing::damaged;

use super::header::{Attempt, Encoding, Header, Own};
use super::index::Index;
use super::manifest::Manifest;
use super::pandas::ExtensionTypes;
use super::schema::{decode_common_metadata, encode_common_metadata};
use super::snapshot::{Delta, Document, Operation, Snapshot};
use crate::stage::{Begun, Columns, Staged};

fn header() -> Header {
    let text = r#"{"dataset_metadata_version": 4, "dataset_uuid": "u", "indices": {"i":
        "u/indices/i/x.by-dataset-index.parquet"}, "metadata": {"creation_time": "2026-01-01", "k":
        {"nested": [1, 2]}}, "partitions": {"p=a%20b/1": {"files": {"table":
        "u/table/p=a%20b/1.parquet"}}}, "partition_keys": ["p"]}"#;
    let mut header = Header::decode(text.as_bytes(), Encoding::Json).unwrap();
    let made = Attempt { commit: "c".to_owned(), id: "a".to_owned() };
    let own = Own::default().next(&made, "u/_partita/snapshots/x".to_owned(), vec!["p".to_owned()]);
    header.set_own(&own).unwrap();
    header
}

#[test]
fn headers() {
    for encoding in [Encoding::Json, Encoding::Msgpack] {
        damaged(&[header().encode(encoding).unwrap()], |bytes| {
            let _ = Header::decode_summary(bytes, encoding).map(|header| header.own());
            let Ok(header) = Header::decode(bytes, encoding) else { return };
            let _ = (header.own(), header.check_requirements());
            let again = header.encode(encoding).expect("what was read can be written");
            Header::decode(&again, encoding).expect("and read again");
        });
    }
}

/// Without compression and with a true length at its end, so that the damage is to what it says.
#[test]
fn headers_within_a_frame() {
    let packed = rmp_serde::to_vec_named(&header()).unwrap();
    damaged(&[packed], |bytes| {
        let stored = zstd::bulk::compress(bytes, 1).unwrap();
        let _ = Header::decode(&stored, Encoding::Msgpack).map(|header| header.own());
    });
}

fn snapshot() -> Snapshot {
    let table = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
    let schema = Manifest::schema_of(&table, &[]);
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.data_type() {
            DataType::LargeUtf8 => Arc::new(LargeStringArray::from(vec!["p=1/x", "p=2/y"])),
            DataType::UInt64 => Arc::new(UInt64Array::from(vec![Some(7), None])),
            other => arrow::array::new_null_array(other, 2),
        }
    });
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
    let manifest = Manifest::new(rows).unwrap();
    let delta = Delta {
        added: vec![true, false].into(),
        removed: manifest.take(&UInt64Array::from(vec![0])).unwrap(),
    };
    let document = Document::new(3, "id", Operation::Replace, "now".to_owned());
    Snapshot { document, schema: table, manifest, delta: Some(delta) }
}

#[test]
fn snapshots() {
    let whole = snapshot().encode().unwrap().to_vec();
    // Without its seal, so that the damage is not refused for that alone.
    let mark = whole.windows(4).rposition(|bytes| bytes == b"PTSL").unwrap();
    let unsealed = [whole.get(..mark).unwrap(), whole.get(mark + 20..).unwrap()].concat();
    damaged(&[whole, unsealed], |bytes| {
        let Ok(snapshot) = Snapshot::decode(bytes.to_vec().into(), "k") else { return };
        if let Ok(again) = snapshot.encode() {
            Snapshot::decode(again, "k").expect("what was written can be read");
        }
    });
}

#[test]
fn indices() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 5, 9]));
    let parts = ["p=1/x", "p=2/y"].map(|label| Index::of_file(Arc::clone(&values), label));
    let whole = Index::merge(&parts).unwrap().encode("a").unwrap().bytes.to_vec();
    damaged(&[whole], |bytes| {
        let index = Index::decode(bytes.to_vec().into(), "k", "a", &DataType::Int64);
        if let Ok(index) = index {
            index.encode("a").map(drop).unwrap_or_default();
        }
    });
}

#[test]
fn schemas() {
    let fields = vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::List(Field::new("item", DataType::LargeUtf8, true).into()), true),
    ];
    let whole = encode_common_metadata(&Schema::new(fields)).unwrap().to_vec();
    damaged(&[whole], |bytes| {
        if let Ok(schema) = decode_common_metadata(&bytes.to_vec().into()) {
            let _ = encode_common_metadata(&schema);
        }
    });
}

fn staged() -> Staged {
    let Snapshot { schema, manifest, .. } = snapshot();
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 5]));
    Staged {
        table_name: "table".to_owned(),
        partition_by: vec!["p".to_owned()],
        columns: vec!["p".to_owned(), "a".to_owned()],
        columns_are: Columns::All,
        last_column_id: 2,
        extensions: ExtensionTypes::new(),
        schema,
        manifest,
        index: [("a".to_owned(), Index::of_file(values, "p=1/x"))].into(),
        ids: vec!["id".to_owned()],
        version: 3,
        begun: Begun::now(),
    }
}

/// A descriptor is JSON with Arrow streams in base64: both are damaged.
#[test]
fn staged_descriptors() {
    let whole = staged();
    let text = serde_json::to_vec(&whole).unwrap();
    let check = |bytes: &[u8]| {
        let Ok(staged) = serde_json::from_slice::<Staged>(bytes) else { return };
        let _ = (staged.keys(), staged.rows(), staged.bytes(), staged.without(&staged.keys()));
        serde_json::to_vec(&staged).expect("what was read can be written");
        let _ = Staged::merge(vec![staged.clone(), whole.clone(), staged]);
    };
    damaged(std::slice::from_ref(&text), check);
    let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    for name in ["schema", "manifest"] {
        let stream = STANDARD.decode(document[name].as_str().unwrap()).unwrap();
        damaged(&[stream], |bytes| {
            let mut document = document.clone();
            document[name] = STANDARD.encode(bytes).into();
            check(&serde_json::to_vec(&document).unwrap());
        });
    }
}
