//! Parsing the partitioning of a new table from the command line.

use std::str::FromStr;

use partita::{BucketPartition, CreateOptions, DatePartition, Resolution};

use crate::types::outside_of_brackets;

/// The value of `--partition-by`: `city`, `month(at)`, `bucket(16, rider)`, or several of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartitionBy {
    columns: Vec<String>,
    date: Option<DatePartition>,
    bucket: Option<BucketPartition>,
}

impl PartitionBy {
    /// The options of a new table with this partitioning.
    pub(crate) fn options(self) -> CreateOptions {
        let Self { columns, date, bucket } = self;
        CreateOptions { partition_by: columns, date, bucket, ..CreateOptions::default() }
    }

    fn add(&mut self, key: &str) -> Result<(), String> {
        let Some((function, arguments)) = call(key) else {
            self.columns.push(key.to_owned());
            return Ok(());
        };
        let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
        match (function, arguments.as_slice()) {
            ("bucket", [buckets, column]) => {
                let buckets =
                    buckets.parse().map_err(|_| format!("{buckets} is no number of buckets"))?;
                let bucket = BucketPartition { column: (*column).to_owned(), buckets };
                self.columns.push(bucket.name());
                once(self.bucket.replace(bucket).is_some(), "bucket(…)")
            }
            ("bucket", _) => {
                Err("write bucket(16, rider): how many buckets, and of which column".to_owned())
            }
            (_, [column]) => {
                let resolution: Resolution = function.parse().map_err(|_| {
                    format!(
                        "{function}(…) is not known: there are year, month, day, hour, minute and \
                         second of a time, and bucket(16, rider)"
                    )
                })?;
                let date = DatePartition { column: (*column).to_owned(), resolution };
                self.columns.extend(date.names().map(str::to_owned));
                once(self.date.replace(date).is_some(), "part of a time")
            }
            _ => Err(format!("{function}(…) takes one column")),
        }
    }
}

impl FromStr for PartitionBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut keys = Self::default();
        for key in outside_of_brackets(text) {
            match key.trim() {
                "" => return Err("expected columns, such as city or city,month(at)".to_owned()),
                key => keys.add(key)?,
            }
        }
        Ok(keys)
    }
}

/// Splits a call: `month` and `at` of `month(at)`.
fn call(key: &str) -> Option<(&str, &str)> {
    let (function, rest) = key.split_once('(')?;
    Some((function.trim(), rest.strip_suffix(')')?))
}

fn once(twice: bool, what: &str) -> Result<(), String> {
    if twice { Err(format!("a table has one {what}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_columns_parts_of_times_and_buckets() {
        let keys: PartitionBy = "city, month(at),bucket(16, rider)".parse().unwrap();
        assert_eq!(keys.columns, ["city", "year", "month", "rider_bucket"]);
        let options = keys.options();
        assert_eq!(options.date.unwrap().column, "at");
        assert_eq!(options.bucket.unwrap().buckets, 16);
    }

    #[test]
    fn what_cannot_be_understood_says_what_is_expected() {
        for (text, expected) in [
            ("", "such as city"),
            ("city,,fare", "such as city"),
            ("week(at)", "year, month, day"),
            ("bucket(rider)", "bucket(16, rider)"),
            ("bucket(few, rider)", "no number of buckets"),
            ("month(at, to)", "one column"),
            ("month(at),day(at)", "a table has one part of a time"),
            ("bucket(2, a),bucket(2, b)", "a table has one bucket(…)"),
        ] {
            let error = text.parse::<PartitionBy>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
