//! Predicates against a row-by-row oracle: text form, evaluation, pruning and lists of
//! conjunctions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "predicate/damaged.rs"]
mod damaged;
#[path = "predicate/facts.rs"]
mod facts;
#[path = "predicate/oracle.rs"]
mod oracle;
#[path = "predicate/strategies.rs"]
mod strategies;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch};
use arrow::array::{Date32Array, StringArray, StructArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use partita_core::predicate::{Bounds, DnfValue, Facts, Literal};
use partita_core::{ErrorKind, Predicate, Result, col};
use proptest::prelude::*;

use facts::Containers;
use oracle::{Table, selected};

fn options(answers: &BooleanArray) -> Vec<Option<bool>> {
    answers.iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_text_form_reads_back(predicate in strategies::any_predicate()) {
        let text = predicate.to_string();
        let back = Predicate::parse(&text);
        prop_assert_eq!(back.map_err(|error| format!("{text}\n{error}")), Ok(predicate));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in strategies::soup()) {
        if let Ok(predicate) = Predicate::parse(&text) {
            prop_assert_eq!(Predicate::parse(&predicate.to_string()).unwrap(), predicate);
        }
    }

    #[test]
    fn evaluation_agrees_with_the_oracle(
        table in strategies::table(),
        predicate in strategies::predicate(),
    ) {
        let bound = predicate.bind(&Table::schema()).unwrap();
        let answers = bound.evaluate(&table.batch()).unwrap();
        prop_assert_eq!(options(&answers), table.answers(&predicate), "{}", predicate);
    }

    #[test]
    fn what_is_pruned_has_no_wanted_row(
        table in strategies::table(),
        rows in 1..5_usize,
        predicate in strategies::predicate(),
        widen in any::<u64>(),
    ) {
        let bound = predicate.bind(&Table::schema()).unwrap();
        let containers = Containers::new(&table, rows, widen);
        let may = bound.may_match(&containers).unwrap();
        let must = bound.must_match(&containers).unwrap();
        prop_assert_eq!(may.null_count() + must.null_count(), 0);
        let answers = table.answers(&predicate);
        for (container, rows) in answers.chunks(rows).enumerate() {
            let wanted = rows.iter().filter(|row| **row == Some(true)).count();
            prop_assert!(may.value(container) || wanted == 0, "{} in {}", predicate, container);
            prop_assert!(!must.value(container) || wanted == rows.len(), "{}", predicate);
        }
    }

    #[test]
    fn conjunctions_mean_what_expressions_mean(
        table in strategies::table(),
        terms in strategies::conjunctions(),
    ) {
        let expression = Predicate::Or(terms.iter().map(|all| Predicate::And(all.clone())).collect());
        let terms = terms.iter().map(|all| all.iter().map(strategies::term).collect()).collect();
        let list = Predicate::from_dnf(terms).unwrap();
        let batch = table.batch();
        let [list, expression] =
            [list, expression].map(|p| p.bind(&Table::schema()).unwrap().evaluate(&batch).unwrap());
        prop_assert_eq!(options(&list), options(&expression));
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
        .unwrap()
}

fn rows(predicate: &str, batch: &RecordBatch) -> Vec<usize> {
    let bound = Predicate::parse(predicate).unwrap().bind(&batch.schema()).unwrap();
    selected(&options(&bound.evaluate(batch).unwrap()))
}

#[test]
fn fields_of_structs_are_named_by_path() {
    let city: ArrayRef = Arc::new(StringArray::from(vec![Some("Oslo"), None, Some("Oslo")]));
    let inner = Field::new("city", DataType::Utf8, true);
    let nulls = Some(vec![true, true, false].into());
    let address: ArrayRef = Arc::new(StructArray::new(vec![inner].into(), vec![city], nulls));
    let own: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = batch(vec![("address", address), ("a.b", own)]);
    assert_eq!(rows("address.city == 'Oslo'", &batch), [0]);
    assert_eq!(rows("address.city is null", &batch), [1, 2]);
    assert_eq!(rows("a.b > 1", &batch), [1, 2]);
    for unknown in ["address.town == 'x'", "a.b.c == 1", "city.x == 1"] {
        let error = Predicate::parse(unknown).unwrap().bind(&batch.schema()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPredicate, "{unknown}");
    }
    let bound = Predicate::parse("address.city == 'Oslo'").unwrap().bind(&batch.schema()).unwrap();
    assert_eq!(bound.columns().iter().collect::<Vec<_>>(), ["address"]);
}

#[test]
fn nan_and_zeros_follow_ieee() {
    let floats = Float64Array::from(vec![Some(f64::NAN), Some(-0.0), Some(0.0), Some(1.0), None]);
    let batch = batch(vec![("x", Arc::new(floats))]);
    assert_eq!(rows("x == 0", &batch), [1, 2]);
    assert_eq!(rows("x in (0.0, 7, 8, nan)", &batch), [0, 1, 2]);
    assert_eq!(rows("x in (nan)", &batch), [0]);
    assert_eq!(rows("x not in (0, nan)", &batch), [3]);
    assert_eq!(rows("x >= -1", &batch), [1, 2, 3]);
    assert_eq!(rows("not x > 0", &batch), [0, 1, 2]);
    assert_eq!(rows("x != 0", &batch), [0, 3]);
    assert_eq!(rows("x == nan", &batch), [0; 0]);
    assert_eq!(rows("x != nan", &batch), [0, 1, 2, 3]);
    assert_eq!(rows("x not in (1)", &batch), [0, 1, 2]);
}

#[test]
fn nulls_are_found_only_when_asked_for() {
    let texts = StringArray::from(vec![Some("a"), None, Some("b")]);
    let batch = batch(vec![("x", Arc::new(texts))]);
    assert_eq!(rows("x != 'a'", &batch), [2]);
    assert_eq!(rows("not x == 'a'", &batch), [2]);
    assert_eq!(rows("x not in ('a')", &batch), [2]);
    assert_eq!(rows("x == null", &batch), [1]);
    assert_eq!(rows("x != null", &batch), [0, 2]);
    assert_eq!(rows("x in ('a', null)", &batch), [0, 1]);
    assert_eq!(rows("x not in ('a', null)", &batch), [2]);
    assert_eq!(rows("x == 'a' or x is null", &batch), [0, 1]);
    assert_eq!(rows("x in ()", &batch), [0; 0]);
    assert_eq!(rows("true", &batch), [0, 1, 2]);
}

#[test]
fn columns_after_a_nested_one_and_beside_it() {
    let inner = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let nested = StructArray::from(vec![(Arc::new(Field::new("i", DataType::Int64, true)), inner)]);
    let batch = batch(vec![("s", Arc::new(nested)), ("x", Arc::new(Int64Array::from(vec![1, 2])))]);
    assert_eq!(rows("x == 2 and s is not null", &batch), [1]);
    let error = Predicate::parse("s == 2").unwrap().bind(&batch.schema()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPredicate);
}

#[test]
fn large_lists_of_every_kind() {
    let numbers: Vec<i64> = (0..20_000).collect();
    let batch = batch(vec![
        ("i", Arc::new(Int64Array::from(numbers.clone()))),
        ("s", Arc::new(StringArray::from_iter_values(numbers.iter().map(|n| format!("k{n}"))))),
        ("f", Arc::new(Float64Array::from_iter_values(numbers.iter().map(|n| *n as f64 / 2.0)))),
    ]);
    let wanted: Vec<i64> = (0..10_000).map(|n| n * 1_000_003 % 40_000).collect();
    let expected = numbers.iter().filter(|n| wanted.contains(n)).count();
    let lists = [
        col("i").is_in(wanted.clone()),
        col("s").is_in(wanted.iter().map(|n| format!("k{n}"))),
        col("f").is_in(wanted.iter().map(|n| *n as f64 / 2.0)),
    ];
    for list in lists {
        let bound = list.bind(&batch.schema()).unwrap();
        assert_eq!(bound.evaluate(&batch).unwrap().true_count(), expected);
    }
}

#[test]
fn what_does_not_fit_is_an_error_that_names_both() {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let naive = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let schema = Schema::new(vec![
        Field::new("city", DataType::Utf8, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("count", DataType::Int32, true),
        Field::new("day", DataType::Date32, true),
        Field::new("naive", naive, true),
        Field::new("zoned", zoned, true),
    ]);
    for (text, says) in [
        ("cty == 'x'", "did you mean `city`?"),
        ("somewhere_else == 'x'", "the columns are city, flag, count"),
        ("city == 5", "the value is an integer; compare this column with text in quotes"),
        ("city == 2020-01-01", ""),
        ("flag == 1", "true or false"),
        ("count == '5'", "a number, without quotes"),
        ("count == true", "the value is a boolean"),
        ("count in (1, 'x')", "value: 'x'"),
        ("day == 'yesterday'", "the text is not a date"),
        ("day == 5", "the value is an integer"),
        ("naive == '2020-01-01T00:00:00Z'", "has a time zone, but the column has none"),
        ("count < null", "null has no order"),
    ] {
        let error = Predicate::parse(text).and_then(|p| p.bind(&schema)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPredicate, "{text}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    for text in [
        "zoned > '2020-01-01'",
        "zoned > '2020-01-01T00:00:00+02:00'",
        "naive in ('2020-01-01', date'2020-01-01')",
        "count > 99999999999 or count == 1.5 or count in (1, null)",
        "day < '2020-01-01 12:00'",
    ] {
        Predicate::parse(text).unwrap().bind(&schema).unwrap();
    }
    let deep = (0..2000).fold(col("count").eq(1), |p, n| {
        if n % 2 == 0 { p & col("count").eq(2) } else { p | col("count").eq(3) }
    });
    assert!(deep.bind(&schema).unwrap_err().message().contains("nested deeper"));
}

#[test]
fn data_of_another_type_is_a_mismatch() {
    let schema = Schema::new(vec![Field::new("x", DataType::Int32, true)]);
    let bound = col("x").eq(1).bind(&schema).unwrap();
    let texts = batch(vec![("x", Arc::new(StringArray::from(vec!["1"])))]);
    let error = bound.evaluate(&texts).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.to_string().contains("column: x"), "{error}");
    let lacking = batch(vec![("y", Arc::new(StringArray::from(vec!["1"])))]);
    assert_eq!(bound.evaluate(&lacking).unwrap_err().kind(), ErrorKind::SchemaMismatch);
}

struct OneColumn(Bounds);

impl Facts for OneColumn {
    fn len(&self) -> usize {
        self.0.min.len()
    }

    fn exact(&self, _column: &str) -> Option<ArrayRef> {
        None
    }

    fn bounds(&self, _column: &str) -> Option<Bounds> {
        Some(self.0.clone())
    }

    fn matching(
        &self,
        _column: &str,
        _test: &dyn Fn(&ArrayRef) -> Result<BooleanArray>,
    ) -> Result<Option<BooleanArray>> {
        Ok(None)
    }
}

fn kept(predicate: &str, bounds: &Bounds) -> Vec<usize> {
    let schema = Schema::new(vec![Field::new("x", bounds.min.data_type().clone(), true)]);
    let bound = Predicate::parse(predicate).unwrap().bind(&schema).unwrap();
    selected(&options(&bound.may_match(&OneColumn(bounds.clone())).unwrap()))
}

#[test]
fn bounds_leave_out_what_they_can() {
    let bounds = Bounds {
        min: Arc::new(Int64Array::from(vec![Some(0), Some(10), Some(7), None, None])),
        max: Arc::new(Int64Array::from(vec![Some(9), Some(19), Some(7), None, None])),
        null_count: Some(UInt64Array::from(vec![Some(0), Some(1), Some(0), Some(5), None])),
        rows: Some(UInt64Array::from(vec![5; 5])),
    };
    assert_eq!(kept("x == 7", &bounds), [0, 2, 4]);
    assert_eq!(kept("x != 7", &bounds), [0, 1, 4]);
    assert_eq!(kept("not x == 7", &bounds), [0, 1, 4]);
    assert_eq!(kept("x < 7", &bounds), [0, 4]);
    assert_eq!(kept("x > 9.5", &bounds), [1, 4]);
    assert_eq!(kept("not x > 9.5", &bounds), [0, 2, 4]);
    assert_eq!(kept("x in (8, 9, 11)", &bounds), [0, 1, 4]);
    assert_eq!(kept("x not in (7, 8)", &bounds), [0, 1, 4]);
    assert_eq!(kept("x is null", &bounds), [1, 3, 4]);
    assert_eq!(kept("x is not null", &bounds), [0, 1, 2, 4]);
    assert_eq!(kept("x > 5 and x < 3", &bounds), [0, 4]);
    assert_eq!(kept("x == 99999999999999999999", &bounds), [0; 0]);
    assert_eq!(kept("x < 99999999999999999999", &bounds), [0, 1, 2, 4]);
    assert_eq!(kept("x in (7, null)", &bounds), [0, 1, 2, 3, 4]);
}

#[test]
fn nan_outside_the_bounds_is_not_pruned() {
    let bounds = Bounds {
        min: Arc::new(Float64Array::from(vec![6.0, f64::NAN, 1.0])),
        max: Arc::new(Float64Array::from(vec![10.0, f64::NAN, f64::NAN])),
        null_count: None,
        rows: None,
    };
    assert_eq!(kept("x > 5", &bounds), [0, 1, 2]);
    assert_eq!(kept("x < 5", &bounds), [1, 2]);
    assert_eq!(kept("not x > 5", &bounds), [0, 1, 2]);
    assert_eq!(kept("x != 6", &bounds), [0, 1, 2]);
    assert_eq!(kept("not x != 5", &bounds), [1, 2]);
    assert_eq!(kept("x not in (6)", &bounds), [0, 1, 2]);
    assert_eq!(kept("x in (0, 0.5)", &bounds), [1]);
}

#[test]
fn truncated_text_bounds_are_only_bounds() {
    let bounds = Bounds {
        min: Arc::new(StringArray::from(vec!["ab", "b"])),
        max: Arc::new(StringArray::from(vec!["ac", "b"])),
        null_count: None,
        rows: None,
    };
    assert_eq!(kept("x == 'abcdef'", &bounds), [0]);
    assert_eq!(kept("x != 'ab'", &bounds), [0, 1]);
    assert_eq!(kept("x != 'b'", &bounds), [0]);
    assert_eq!(kept("x in ('ad', 'b')", &bounds), [1]);
}

#[test]
fn bounds_of_another_type_or_length() {
    let schema = Schema::new(vec![Field::new("x", DataType::Date32, true)]);
    let bound = col("x").gt("2020-01-01").bind(&schema).unwrap();
    let facts = |min: ArrayRef| {
        OneColumn(Bounds { max: Arc::clone(&min), min, null_count: None, rows: None })
    };
    let texts = facts(Arc::new(StringArray::from(vec!["x", "y"])));
    assert_eq!(bound.may_match(&texts).unwrap().true_count(), 2, "of no use, so not used");
    let mut days = facts(Arc::new(Date32Array::from(vec![0, 30_000])));
    assert_eq!(options(&bound.may_match(&days).unwrap()), [Some(false), Some(true)]);
    days.0.rows = Some(UInt64Array::from(vec![1]));
    assert_eq!(bound.may_match(&days).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn faulty_lists_say_which_term() {
    let term = |op: &str, value: DnfValue| ("x".to_owned(), op.to_owned(), value);
    let one = || DnfValue::from(1);
    let list = || DnfValue::List(vec![Literal::Int(1)]);
    for (terms, says) in [
        (vec![], "the list of conjunctions is empty"),
        (vec![vec![term("==", one())], vec![]], "conjunction: 1"),
        (vec![vec![term("==", one()), term("~", one())]], "term: 1"),
        (vec![vec![term("in", one())]], "`in` needs a list"),
        (vec![vec![term("==", list())]], "use `in` for a list"),
        (vec![vec![term("<", Literal::Null.into())]], "null has no order"),
    ] {
        let error = Predicate::from_dnf(terms).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPredicate);
        assert!(error.to_string().contains(says), "{error}");
    }
    let null = Predicate::from_dnf(vec![vec![term("==", Literal::Null.into())]]).unwrap();
    assert_eq!(null, col("x").is_null());
    let dictionary = batch(vec![(
        "x",
        arrow::compute::cast(
            &StringArray::from(vec![Some("a"), None, Some("b")]),
            &DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
        )
        .unwrap(),
    )]);
    assert!(dictionary.column(0).as_any_dictionary_opt().is_some());
    assert_eq!(rows("x not in ('a')", &dictionary), [2]);
    assert_eq!(rows("x is null", &dictionary), [1]);
}
