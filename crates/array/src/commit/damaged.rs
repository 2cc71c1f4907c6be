//! Damaged documents of commits: none makes a decoder panic.

use jiff::Timestamp;
use partita_core::testing::damaged;

use super::head::{Head, Young};
use super::manifest::{Manifest, decode_document, encode_document};
use super::note::Note;
use super::record::{Action, Change, Record, Source};
use crate::digest::{Digest, ObjectEntry};
use crate::statistics::PartitionStatistics;

fn record() -> Record {
    let stage = || ".partita/stage/0123456789abcdef/1".to_owned();
    let mut replaced = Change::new("year=2022", Action::Replace { stage: stage(), fresh: false });
    replaced.rows = Some(7);
    replaced.sources = vec![Source { name: "a.nc".to_owned(), digest: "00ff".to_owned() }];
    let touched = vec!["ssh".to_owned()];
    let patched = Change::new("year=2023", Action::Patch { stage: stage(), replaced: touched });
    let changes = vec![replaced, patched, Change::drop("year=2024")];
    let record = Record::new("insert", "id".to_owned(), Some("key".to_owned()), changes);
    Record { sequence: 12, config: Some("{}".to_owned()), ..record }
}

#[test]
fn records() {
    let newest = record().encode().unwrap().to_vec();
    let old = serde_json::to_vec(&record()).unwrap();
    damaged(&[newest, old], |bytes| {
        let Ok(record) = Record::decode(bytes) else { return };
        assert!(record.sequence < super::record::LAST);
        Record::decode(&record.encode().unwrap()).expect("what was written can be read");
    });
}

#[test]
fn heads() {
    let mut head = Head::default();
    let young = Young { note: "n".to_owned(), stage: Some("s".to_owned()), depth: 2, time: 7 };
    head.young.insert("p=1".to_owned(), young);
    let newest = head.encode().unwrap().0.to_vec();
    let old = br#"{"published": 5, "id": "x", "recent": [[5, "y"]]}"#.to_vec();
    damaged(&[newest, old], |bytes| {
        let Ok(head) = Head::decode(bytes, Head::default()) else { return };
        let _ = (head.young("p=1", Timestamp::now()), head.id_of(5), head.oldest_state());
    });
}

/// These are compressed, so the damage is done to the text as well as to what is stored.
#[test]
fn manifests_and_notes() {
    let entry = ObjectEntry::of("ssh/0.0".to_owned(), b"bytes");
    let manifest = Manifest::whole(vec![entry], Some(7), PartitionStatistics::new());
    let mut note = Note::new(12, "id", Some("stage"), 1);
    note.versions = vec![("ssh/0.0".to_owned(), 5, Some("etag".to_owned()))];
    note.digests.insert("ssh/0.0".to_owned(), Digest::of(b"bytes"));
    let stored = [encode_document(&manifest, "m").unwrap(), encode_document(&note, "n").unwrap()];
    damaged(&stored.map(|bytes| bytes.to_vec()), |bytes| {
        let _ = decode_document::<Manifest>(bytes, "a manifest");
        let _ = decode_document::<Note>(bytes, "a note");
    });
    let texts = [serde_json::to_vec(&manifest).unwrap(), serde_json::to_vec(&note).unwrap()];
    damaged(&texts, |bytes| {
        if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
            let again = decode_document(&manifest.encode().unwrap(), "a manifest");
            assert_eq!(again.ok(), Some(manifest));
        }
        if let Ok(note) = serde_json::from_slice::<Note>(bytes) {
            let again = decode_document(&encode_document(&note, "a note").unwrap(), "a note");
            assert_eq!(again.ok(), Some(note));
        }
    });
}
