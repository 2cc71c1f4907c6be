use super::*;
use crate::check::{fails, holds};

#[test]
fn collection_and_expiry_beside_a_writer_and_a_reader() {
    let all = Collections { writer: true, expiry: true, reader: true, until: 4, ..SMALL };
    holds("garbage, expiry", all);
}

#[test]
fn collection_and_a_restore_beside_an_expiry() {
    let all = Collections { restore: true, expiry: true, ..SMALL };
    holds("garbage, restore", all);
}

#[test]
#[ignore = "run by make soak"]
fn larger_models() {
    let all = Collections { writer: true, restore: true, expiry: true, reader: true, ..SMALL };
    holds("garbage, all at once", Collections { until: 4, ..all });
    holds("garbage, three versions", Collections { writer: false, versions: 3, ..all });
}

#[test]
fn an_age_that_counts_from_the_write_is_found() {
    let rules = Rules {
        is_garbage: |written, _, before, is_named| is_garbage(written, None, before, is_named),
        ..RULES
    };
    let wrong = Collections { writer: true, expiry: true, reader: true, rules, ..SMALL };
    fails(wrong, READS);
}

#[test]
fn a_collection_that_does_not_ask_what_is_named_is_found() {
    let rules = Rules {
        is_garbage: |written, dropped, before, _| is_garbage(written, dropped, before, false),
        looks_again: false,
        ..RULES
    };
    fails(Collections { writer: true, rules, ..SMALL }, NAMED);
}

/// The rules of an earlier garbage collection, which took the marks from the listing of all
/// objects.
#[test]
fn marks_that_are_listed_before_the_history_are_found() {
    let rules = Rules { lists_marks_again: false, ..RULES };
    let wrong = Collections { writer: true, expiry: true, reader: true, rules, ..SMALL };
    fails(wrong, READS);
}

#[test]
fn an_expiry_without_a_mark_is_found() {
    let rules = Rules { marks_first: false, ..RULES };
    fails(Collections { expiry: true, rules, ..SMALL }, GAPS);
}
