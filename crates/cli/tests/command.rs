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
fn columns_are_changed_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let url = directory.path().join("lake/trips");
    let url = url.to_str().unwrap();
    assert!(partita(&["create", url, "--columns", "id:int32,fare:float64"]).status.success());
    let changes: [(&[&str], &str); 7] = [
        (&["add", url, "tip:float64,note:string"], "id, fare, tip, note"),
        (&["rename", url, "fare", "price"], "id, price, tip, note"),
        (&["drop", url, "note", "--yes"], "id, price, tip"),
        (&["widen", url, "id", "int64"], "id, price, tip"),
        (&["reorder", url, "tip", "price"], "tip, price, id"),
        (&["comment", url, "price", "in euros"], "tip, price, id"),
        (&["comment", url, "price", "--remove"], "tip, price, id"),
    ];
    for (version, (words, columns)) in (2..).zip(changes) {
        let done = partita(&[&["columns"][..], words].concat());
        assert_eq!(stdout(&done), format!("columns: {columns}; version {version}\n"), "{done:?}");
    }
    let refused = partita(&["columns", "widen", url, "id", "int8"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    for wrong in [&["columns", "drop", url, "tip"][..], &["columns", "comment", url, "tip"]] {
        assert_eq!(partita(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let would = partita(&["columns", "drop", url, "tip", "--dry-run", "--json"]);
    assert!(stdout(&would).contains("\"files_rewritten_at_most\":0"), "{would:?}");
    let missing = partita(&["columns", "drop", url, "none", "--dry-run"]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    let listed = partita(&["columns", "history", url, "--json"]);
    let listed: serde_json::Value = serde_json::from_str(stdout(&listed)).unwrap();
    let versions: Vec<_> = listed.as_array().unwrap().iter().map(|one| &one["version"]).collect();
    assert_eq!(versions, [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(listed[1]["columns"][1]["comment"], "in euros");
    let (renamed, before) = (&listed[5]["columns"][1], &listed[6]["columns"][1]);
    assert_eq!((&renamed["name"], &before["name"]), (&"price".into(), &"fare".into()));
    assert_eq!(renamed["id"], before["id"]);
}

#[test]
fn a_report_is_one_page_without_foreign_markup() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (csv, url, page) = (at("days.csv"), at("it's a <lake>/days"), at("report.html"));
    let rows = "<script>,day\n<b>,2024-01-05\n<i>,2024-03-07\n";
    File::create(&csv).unwrap().write_all(rows.as_bytes()).unwrap();
    let by = ["--create", "--partition-by", "<script>,month(day)"];
    for how in [&by[..], &[]] {
        let mut words = vec!["append", url.as_str(), csv.as_str()];
        words.extend(how);
        let appended = partita(&words);
        assert!(appended.status.success(), "{appended:?}");
    }

    let wrote = partita(&["report", &url, "-o", &page]);
    assert_eq!(stdout(&wrote), format!("wrote {page}\n"));
    let html = std::fs::read_to_string(&page).unwrap();
    for text in [
        "<!doctype html>\n<html lang=\"en\">",
        "<title>Table days</title>",
        "it&#39;s a &lt;lake&gt;/days",
        "&lt;script&gt;",
        "Rows after each of 2 commits",
        "4 files are so small that 2 could hold their rows.",
        "<code>partita optimize &#39;",
        "2024-01 to 2024-03, missing: 2024-02.",
    ] {
        assert!(html.contains(text), "{text} is missing in {html}");
    }
    for markup in ["<script", "<b>", "<i>", "<lake", "src=", "href=", "http:", "https:"] {
        assert!(!html.contains(markup), "{markup} is in {html}");
    }
    // The page states the time at which it was made.
    let printed = partita(&["report", &url]);
    let begin = html.find("as of").unwrap();
    assert!(stdout(&printed).starts_with(&html[..begin]));
    assert_eq!(partita(&["report", &at("absent")]).status.code(), Some(3));
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
