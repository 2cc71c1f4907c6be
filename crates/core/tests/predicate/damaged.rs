//! Texts that are nearly predicates.

use arrow::array::RecordBatch;
use partita_core::Predicate;
use partita_core::testing::damaged;
use std::sync::Arc;

use crate::oracle::Table;

/// Predicates of every form that the grammar has.
const TEXTS: [&str; 8] = [
    "small == 1 and not (large < 2.5e3 or text in ('x', \"y\"))",
    "zoned >= '2022-01-01T00:00:00Z' and day < '2022-02-01'",
    "text is not null or flag is null",
    "1 < float <= 3 and cents != -0.25",
    "small not in (1, 2, 3)",
    "((((((((flag == true))))))))",
    "small == 2022 & large in [1, 2] | ~(float > 3)",
    "`odd name` == 1 or naive > '2022-01-01 12:00'",
];

#[test]
fn is_refused_or_reads_back() {
    let batch = RecordBatch::new_empty(Arc::new(Table::schema()));
    damaged(&TEXTS.map(|text| text.as_bytes().to_vec()), |bytes| {
        let Ok(predicate) = Predicate::parse(&String::from_utf8_lossy(bytes)) else { return };
        let again = Predicate::parse(&predicate.to_string());
        assert_eq!(again.expect("its own text is a predicate"), predicate);
        let Ok(bound) = predicate.bind(&Table::schema()) else { return };
        assert_eq!(bound.evaluate(&batch).expect("it goes with the schema").len(), 0);
    });
}
