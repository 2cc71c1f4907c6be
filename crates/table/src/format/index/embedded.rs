//! Indices in an old form: embedded in the header as a map of values to lists of labels.

use arrow::array::LargeStringArray;
use arrow::datatypes::DataType;
use hashbrown::HashMap;
use partita_core::partition::values_of;
use partita_core::{Error, Result};
use serde_json::{Map, Value};

use super::Index;

impl Index {
    /// Decodes the index that a header embeds. Keys of JSON objects are text, so values are parsed
    /// like those of partition keys.
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if it is not an index of the column.
    pub fn embedded(
        stored: &Map<String, Value>,
        column: &str,
        data_type: &DataType,
    ) -> Result<Self> {
        let wrong = |what: &str| {
            Error::corrupt(format!("the index in the header {what}")).with("column", column)
        };
        let mut labels: Vec<&str> = Vec::new();
        let mut known: HashMap<&str, u32> = HashMap::new();
        let (mut starts, mut codes) = (vec![0], Vec::new());
        for listed in stored.values() {
            let listed = listed.as_array().ok_or_else(|| wrong("does not list labels"))?;
            for label in listed {
                let label = label.as_str().ok_or_else(|| wrong("has a label that is no text"))?;
                let next = u32::try_from(labels.len()).map_err(|_| wrong("is too large"))?;
                codes.push(*known.entry(label).or_insert_with(|| {
                    labels.push(label);
                    next
                }));
            }
            starts.push(codes.len());
        }
        let texts = LargeStringArray::from_iter_values(stored.keys());
        let values = values_of(column, &texts, data_type)
            .map_err(|error| wrong("has values of a wrong type").caused_by(error))?;
        Self::of_parts(values, starts, codes, LargeStringArray::from_iter_values(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, BooleanArray};
    use arrow::datatypes::Int64Type;

    #[test]
    fn numbers_are_read_from_text_and_sorted() {
        let stored = serde_json::json!({"10": ["a", "b"], "9": ["b"], "-1": []});
        let index = Index::embedded(stored.as_object().unwrap(), "c", &DataType::Int64).unwrap();
        assert_eq!(index.values().as_primitive::<Int64Type>().values(), &[-1, 9, 10]);
        let of_nine = index.labels_of(&BooleanArray::from(vec![false, true, false]));
        assert_eq!(of_nine.into_iter().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for stored in [
            serde_json::json!({"x": ["a"]}),
            serde_json::json!({"1": "a"}),
            serde_json::json!({"1": [2]}),
        ] {
            let error =
                Index::embedded(stored.as_object().unwrap(), "c", &DataType::Int64).unwrap_err();
            assert_eq!(error.kind(), partita_core::ErrorKind::Corrupt);
        }
    }
}
