use super::*;
use crate::check::{fails, holds};

#[test]
fn two_publishers_a_patch_and_a_late_request() {
    holds("publish, patch", small(&[WHOLE, PATCH]));
    holds("publish, fewer names", small(&[WHOLE, SHORTER]));
}

#[test]
fn one_publisher_and_two_late_requests() {
    for changes in [[WHOLE, PATCH, SHORTER], [WHOLE, REMOVAL, PATCH]] {
        holds("publish, late", Publishers { publishers: 1, faults: 2, ..small(&changes) });
    }
    holds("publish, late delete", Publishers { publishers: 1, ..small(&DELETED) });
}

#[test]
#[ignore = "run by make soak"]
fn larger_models() {
    for changes in [[WHOLE, PATCH, SHORTER], [WHOLE, SHORTER, WHOLE], [WHOLE, REMOVAL, PATCH]] {
        holds("publish, two publishers", Publishers { faults: 2, ..small(&changes) });
    }
}

#[test]
fn a_reader_that_does_not_compare_versions_is_found() {
    let rules = Rules { compare: |_, _, _| Noted::AsNoted, digests: false, ..RULES };
    fails(Publishers { rules, ..small(&[WHOLE, PATCH]) }, ONE_STATE);
}

#[test]
fn a_reader_that_does_not_look_again_is_found() {
    let rules = Rules { looks_again: false, ..RULES };
    fails(Publishers { rules, ..small(&[WHOLE, PATCH]) }, ONE_STATE);
}

/// The rules of earlier readers, for which the note alone told whether an object exists.
#[test]
fn a_late_delete_before_the_note_is_found() {
    let rules = Rules { compare: |noted, found, _| compare(noted, found, false), ..RULES };
    fails(Publishers { rules, publishers: 1, ..small(&DELETED) }, ONE_STATE);
}

/// The rules of earlier readers, which compared objects that a commit was just putting into place.
#[test]
fn comparing_what_is_being_published_is_found() {
    let rules = Rules { skips_pending: false, ..RULES };
    let changes = [WHOLE, REMOVAL, PATCH];
    fails(Publishers { rules, publishers: 1, faults: 1, ..small(&changes) }, ONE_STATE);
}

/// The rules of earlier readers, which read published objects that could be overwritten once more.
#[test]
fn reading_a_published_object_that_was_right_before_is_found() {
    let rules = Rules { trusts: true, ..RULES };
    let changes = [WHOLE, WHOLE];
    fails(Publishers { rules, publishers: 1, faults: 2, ..small(&changes) }, ONE_STATE);
}

/// The size of an object does not tell a late copy from the content that was committed, so a note
/// may name its version. The digest in the note makes that an error of reads.
#[test]
fn a_note_of_a_late_copy_is_noticed_by_digests_alone() {
    let rules = Rules { digests: false, ..RULES };
    fails(Publishers { rules, ..small(&[WHOLE, PATCH]) }, ONE_STATE);
}
