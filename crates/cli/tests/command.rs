//! The command built by cargo; the output of the individual commands is tested on the installed
//! wheel.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::Write;
use std::process::{Command, Output};

fn partita(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_partita")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn rows_go_in_and_come_out() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("trips.csv");
    File::create(&csv).unwrap().write_all(b"city,fare\nOslo,12\nRome,9\nOslo,30\n").unwrap();
    let url = directory.path().join("lake/trips");
    let (csv, url) = (csv.to_str().unwrap(), url.to_str().unwrap());

    let created = partita(&["append", url, csv, "--create", "--partition-by", "city"]);
    assert!(created.status.success(), "{created:?}");
    let read =
        partita(&["read", url, "--where", "city == 'Oslo' and fare > 20", "--format", "csv"]);
    assert_eq!(stdout(&read), "city,fare\nOslo,30\n");
    let appended = partita(&["append", url, csv, "--json"]);
    assert!(stdout(&appended).contains("\"rows_added\":3"), "{appended:?}");
    let deleted = partita(&["delete", url, "--where", "city == 'Rome'", "--yes"]);
    assert!(stdout(&deleted).starts_with("deleted 2 rows"), "{deleted:?}");
    let listed = partita(&["ls", directory.path().join("lake").to_str().unwrap()]);
    assert!(stdout(&listed).contains("trips"), "{listed:?}");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent");
    let missing = partita(&["info", absent.to_str().unwrap(), "--json"]);
    assert_eq!(missing.status.code(), Some(3));
    let error = std::str::from_utf8(&missing.stderr).unwrap();
    assert!(error.starts_with("{\"error\":{\"kind\":\"NotFound\""), "{error}");
    assert_eq!(partita(&["read"]).status.code(), Some(2));
    assert_eq!(partita(&["--version"]).status.code(), Some(0));
}
