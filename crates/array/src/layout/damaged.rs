//! Damaged Zarr documents and those of ZCollection: none makes a decoder panic.

use std::path::Path;

use partita_core::testing::damaged;

use super::{Config, encode_config, v2, v3};

/// Documents that releases of ZCollection wrote, by their names, one of each content.
fn documents(name: &str) -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/zcollection");
    let mut found = Vec::new();
    let mut directories = vec![golden];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.file_name().is_some_and(|own| own == name) {
                found.push(std::fs::read(path).unwrap());
            }
        }
    }
    found.sort();
    found.dedup();
    assert!(!found.is_empty(), "{name}");
    found
}

/// A configuration that was decoded is either refused by the encoder, or reads back as it was written.
fn written_again(config: &Config, decode: fn(&[u8]) -> partita_core::Result<Config>) {
    if let Ok((_, bytes)) = encode_config(config) {
        decode(&bytes).expect("what was written can be read");
    }
}

#[test]
fn documents_of_collections_and_views() {
    for (name, decode) in [
        (v2::CONFIG, v2::decode_config as fn(&[u8]) -> _),
        (v3::CONFIG, v3::decode_config),
        (v2::VIEW, v2::decode_view),
        (v3::VIEW, v3::decode_view),
    ] {
        damaged(&documents(name), |bytes| {
            if let Ok(config) = decode(bytes) {
                written_again(&config, decode);
            }
        });
    }
}

#[test]
fn documents_of_arrays() {
    let config = v2::decode_config(&documents(v2::CONFIG)[0]).unwrap();
    let variable = config.schema.variables.values().next().unwrap();
    let attributes = documents(".zattrs");
    damaged(&documents(".zarray"), |bytes| {
        for attributes in [None, attributes.first().map(Vec::as_slice)] {
            if let Ok(array) = v2::array_of("p", variable, bytes, attributes) {
                assert!(array.bands(&(0..array.rows().min(99))).len() <= 99);
            }
        }
    });
    let array = &documents(".zarray")[0];
    damaged(&attributes, |bytes| {
        let _ = v2::array_of("p", variable, array, Some(bytes));
    });
    damaged(&documents("zarr.json"), |bytes| {
        if let Ok(array) = v3::array_of("p", variable, bytes) {
            assert!(array.bands(&(0..array.rows().min(99))).len() <= 99);
        }
    });
}

#[test]
fn lists_of_partitions() {
    damaged(&documents("state.json"), |bytes| {
        let _ = v3::decode_catalog(bytes);
    });
}
