//! Which partitions a predicate wants.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal256Array, Int64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, i256};
use partita_core::{Predicate, Result};

use crate::layout::Found;
use crate::partitioning::Partitioning;

/// The partitions for which the predicate is true. Its columns are the fields of the keys.
///
/// # Errors
/// [`InvalidPredicate`](partita_core::ErrorKind::InvalidPredicate) if it names another column, or
/// compares one with what is no number.
pub(crate) fn select(
    partitions: Vec<Found>,
    partitioning: &Partitioning,
    predicate: Option<&Predicate>,
) -> Result<Vec<Found>> {
    let Some(predicate) = predicate else { return Ok(partitions) };
    let fields = partitioning.fields();
    let columns: Vec<ArrayRef> = (0..fields.len())
        .map(|number| {
            let value = |found: &Found| found.key.values().get(number).copied().unwrap_or(0);
            column(&partitions.iter().map(value).collect::<Vec<_>>())
        })
        .collect::<Result<_>>()?;
    let fields = fields.iter().zip(&columns);
    let fields = fields.map(|(name, column)| Field::new(*name, column.data_type().clone(), false));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let predicate = predicate.bind(&schema)?;
    let wanted = predicate.evaluate(&RecordBatch::try_new(schema, columns)?)?;
    let pairs = partitions.into_iter().zip(wanted.iter());
    Ok(pairs.filter(|(_, wanted)| *wanted == Some(true)).map(|(found, _)| found).collect())
}

/// The values in the narrowest of the types that hold them all.
fn column(values: &[i128]) -> Result<ArrayRef> {
    let signed = values.iter().map(|value| i64::try_from(*value)).collect::<Result<Vec<_>, _>>();
    if let Ok(values) = signed {
        return Ok(Arc::new(Int64Array::from(values)));
    }
    let unsigned = values.iter().map(|value| u64::try_from(*value)).collect::<Result<Vec<_>, _>>();
    if let Ok(values) = unsigned {
        return Ok(Arc::new(UInt64Array::from(values)));
    }
    let wide = Decimal256Array::from_iter_values(values.iter().map(|v| i256::from_i128(*v)));
    let wide = wide.with_data_type(DataType::Decimal256(40, 0));
    Ok(Arc::new(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partitioning::Key;

    #[test]
    fn every_key_can_be_compared() {
        let partitioning = Partitioning::sequence(&["p"]);
        let keys = [i128::from(i64::MIN) - 3, -1, 0, 7, i128::from(u64::MAX)];
        let found = |value: &i128| {
            let key = Key::new(vec!["p".to_owned()].into(), vec![*value]);
            Found { path: partitioning.path(&key, crate::partitioning::Digits::Two), key }
        };
        let selected = |keys: &[i128], text: &str| -> Vec<i128> {
            let predicate = Predicate::parse(text).unwrap();
            let found = keys.iter().map(found).collect();
            let selected = select(found, &partitioning, Some(&predicate)).unwrap();
            selected.iter().map(|found| found.key.values()[0]).collect()
        };
        assert_eq!(selected(&keys, "p < 0"), keys[..2]);
        assert_eq!(selected(&keys, "p > 6"), keys[3..]);
        assert_eq!(selected(&keys[2..], "p in (0, 7, 8)"), keys[2..4]);
        assert_eq!(selected(&keys[1..4], "p >= 0"), keys[2..4]);
        let other = Predicate::parse("q == 1").unwrap();
        assert!(select(Vec::new(), &partitioning, Some(&other)).is_err());
    }
}
