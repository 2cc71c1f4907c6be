//! Tests of the strategies against their definitions, row by row.

use proptest::prelude::*;

use super::*;
use crate::dataset::{Dataset, Variable, VariableSchema};
use crate::json::Attributes;

const NAT: i64 = i64::MIN;

fn axis(values: &[i64]) -> Array {
    let dtype = DType::parse("<M8[D]").unwrap().0;
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Array::from_bytes(dtype, vec![values.len()], bytes).unwrap()
}

fn dataset(values: &[i64], offset: u32) -> Dataset {
    let axis = axis(values);
    let time = Variable::new(VariableSchema::new("time", axis.dtype(), &["time"]), axis).unwrap();
    let rows = offset..offset + u32::try_from(values.len()).unwrap();
    let bytes: Vec<u8> = rows.flat_map(u32::to_le_bytes).collect();
    let data = Array::from_bytes(DType::UInt32, vec![values.len()], bytes).unwrap();
    let row = Variable::new(VariableSchema::new("row", DType::UInt32, &["time"]), data).unwrap();
    Dataset::new(vec![time, row], Attributes::new()).unwrap()
}

/// The merged rows as pairs of the value and whether the row is new.
fn merged(merge: Merge, old: &[i64], new: &[i64]) -> Vec<(i64, bool)> {
    let plan = merge.plan(&axis(old), &axis(new)).unwrap();
    let row = |piece: &Piece| -> Vec<(i64, bool)> {
        match piece.side {
            Side::Old => old[piece.rows.clone()].iter().map(|value| (*value, false)).collect(),
            Side::New => new[piece.rows.clone()].iter().map(|value| (*value, true)).collect(),
        }
    };
    plan.pieces().iter().flat_map(row).collect()
}

/// Sorts by value, "not a time" last; equal values keep their order.
fn sorted(mut rows: Vec<(i64, bool)>) -> Vec<(i64, bool)> {
    rows.sort_by_key(|(value, _)| (*value == NAT, *value));
    rows
}

fn of(old: impl IntoIterator<Item = i64>, new: &[i64]) -> Vec<(i64, bool)> {
    let old = old.into_iter().map(|value| (value, false));
    old.chain(new.iter().map(|value| (*value, true))).collect()
}

const SERIES: Merge = Merge::TimeSeries { tolerance: None };
const UPSERT: Merge = Merge::Upsert { tolerance: None };

#[test]
fn a_series_replaces_its_period_and_no_row_beside_it() {
    assert_eq!(merged(SERIES, &[1, 2, 3, 4, 5], &[2, 3]), sorted(of([1, 4, 5], &[2, 3])));
    assert_eq!(merged(SERIES, &[1, 2, 3], &[1]), sorted(of([2, 3], &[1])));
    assert_eq!(merged(SERIES, &[1, 2, 3, 4], &[2, 3]), sorted(of([1, 4], &[2, 3])));
    assert_eq!(merged(SERIES, &[1, 2, 3, 4, 5, 6, 7, 8], &[2, 7]), sorted(of([1, 8], &[2, 7])));
    let tolerant = Merge::TimeSeries { tolerance: Some(Tolerance::steps(2)) };
    let kept = [1, 3, 4, 5, 6, 8];
    assert_eq!(merged(tolerant, &[1, 2, 3, 4, 5, 6, 7, 8], &[2, 7]), sorted(of(kept, &[2, 7])));
}

#[test]
fn an_upsert_takes_the_place_of_what_is_near() {
    assert_eq!(merged(UPSERT, &[1, 2, 3], &[3, 3, 4]), sorted(of([1, 2], &[3, 3, 4])));
    let within = Merge::Upsert { tolerance: Some(Tolerance::steps(2)) };
    assert_eq!(merged(within, &[1, 2], &[2]), of([], &[2]));
    assert_eq!(merged(within, &[1, 5], &[3]), of([], &[3]));
}

#[test]
fn nothing_on_one_side() {
    for merge in [SERIES, UPSERT, Merge::Concat] {
        assert_eq!(merged(merge, &[1, 2], &[]), of([1, 2], &[]));
        assert_eq!(merged(merge, &[], &[1, 2]), of([], &[1, 2]));
    }
    assert_eq!(merged(Merge::Replace, &[1, 2], &[3]), of([], &[3]));
}

#[test]
fn axes_that_have_no_order_are_refused() {
    let texts = Array::from_bytes(DType::parse("|S1").unwrap().0, vec![1], vec![b'a']).unwrap();
    assert!(SERIES.plan(&texts, &texts).is_err());
    assert!(Merge::Concat.plan(&texts, &texts).is_ok());
    let integers = Array::from_bytes(DType::Int64, vec![1], vec![0; 8]).unwrap();
    let error = UPSERT.plan(&axis(&[1]), &integers).unwrap_err();
    assert_eq!(error.kind(), partita_core::ErrorKind::SchemaMismatch);
}

fn values() -> impl Strategy<Value = Vec<i64>> {
    let value =
        prop_oneof![8 => -20i64..20, 1 => Just(NAT), 1 => Just(i64::MAX), 1 => Just(NAT + 1)];
    prop::collection::vec(value, 0..12)
}

proptest! {
    #[test]
    fn as_defined(old in values(), new in values(), step in prop::option::of(0..6u64)) {
        let tolerance = step.map(Tolerance::steps);
        let distance = |a: i64, b: i64| (i128::from(a) - i128::from(b)).unsigned_abs();
        let known: Vec<i64> = new.iter().copied().filter(|value| *value != NAT).collect();

        let near = |value: i64| known.iter().any(|n| distance(*n, value) <= step.unwrap_or(0).into());
        let kept = old.iter().copied().filter(|value| *value == NAT || !near(*value));
        let expected = sorted(of(kept, &new));
        prop_assert_eq!(merged(Merge::Upsert { tolerance }, &old, &new), expected);

        // A value is covered between two consecutive new rows.
        let covered = |value: i64| {
            let before = known.iter().filter(|n| **n <= value).max();
            let after = known.iter().filter(|n| **n >= value).min();
            before.zip(after).is_some_and(|(before, after)| {
                step.is_none_or(|step| distance(*before, *after) <= step.into())
            })
        };
        let kept = old.iter().copied().filter(|value| *value == NAT || !covered(*value));
        let expected = sorted(of(kept, &new));
        prop_assert_eq!(merged(Merge::TimeSeries { tolerance }, &old, &new), expected);
        prop_assert_eq!(merged(Merge::Concat, &old, &new), of(old.clone(), &new));
    }

    #[test]
    fn a_plan_moves_whole_rows(old in values(), new in values(), upsert in any::<bool>()) {
        let merge = if upsert { UPSERT } else { SERIES };
        let (stored, added) = (dataset(&old, 0), dataset(&new, 1000));
        let plan = merge.plan(&axis(&old), &axis(&new)).unwrap();
        let result = plan.apply(&stored, &added, "time").unwrap();
        let integers = |name: &str| result.variable(name).unwrap().data().integers().unwrap();
        let rows = integers("row");
        prop_assert_eq!(rows.len(), plan.len());
        for (row, value) in rows.iter().zip(integers("time")) {
            let row = usize::try_from(*row).unwrap();
            let source = if row < 1000 { old[row] } else { new[row - 1000] };
            prop_assert_eq!(i128::from(source), value);
        }
        let changes = plan.changes(old.len());
        let (start, end) = (changes.start, changes.end);
        prop_assert_eq!(&rows[..start], &(0..start as i128).collect::<Vec<_>>()[..]);
        prop_assert_eq!(&rows[end..], &(end as i128..rows.len() as i128).collect::<Vec<_>>()[..]);
        prop_assert!(end == rows.len() || rows.len() == old.len());
        let changed = plan.within(&changes).apply(&stored, &added, "time").unwrap();
        let changed = changed.variable("row").unwrap().data().integers().unwrap();
        prop_assert_eq!(&changed[..], &rows[changes]);
    }
}

#[test]
fn many_pieces_make_the_same_rows() {
    let old: Vec<i64> = (0..2000).map(|value| value * 2).collect();
    let new: Vec<i64> = (0..2000).map(|value| value * 2 + 1).collect();
    let plan = UPSERT.plan(&axis(&old), &axis(&new)).unwrap();
    let result = plan.apply(&dataset(&old, 0), &dataset(&new, 10_000), "time").unwrap();
    let times = result.variable("time").unwrap().data().integers().unwrap();
    assert_eq!(times, (0..4000).collect::<Vec<i128>>());
}

#[test]
fn floats_are_merged_in_their_order() {
    let axis = |items: &[f64]| {
        let bytes: Vec<u8> = items.iter().flat_map(|item| item.to_le_bytes()).collect();
        Array::from_bytes(DType::Float64, vec![items.len()], bytes).unwrap()
    };
    let old = [-3.5, -0.0, 1e-300, 2.0, f64::INFINITY];
    let new = [2.0, f64::NEG_INFINITY, 0.0, 0.5];
    let plan = Merge::Upsert { tolerance: None }.plan(&axis(&old), &axis(&new)).unwrap();
    let mut merged = Vec::new();
    for piece in plan.pieces() {
        let rows = match piece.side {
            Side::Old => &old[piece.rows.clone()],
            Side::New => &new[piece.rows.clone()],
        };
        merged.extend_from_slice(rows);
    }
    assert_eq!(merged, [f64::NEG_INFINITY, -3.5, 0.0, 1e-300, 0.5, 2.0, f64::INFINITY]);
    let tolerant = Merge::Upsert { tolerance: Some(Tolerance::steps(1)) };
    assert!(tolerant.plan(&axis(&old), &axis(&new)).is_err());
}
