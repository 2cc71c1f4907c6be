//! Splitting rows by their key.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use partita_core::partition::{Calendar, CalendarUnit, Resolution};
use partita_core::{Error, Result};

use super::{Key, Partitioning};
use crate::dataset::{Array, DType, Dataset, Schema};
use crate::encoded_time::EncodedTime;

/// The rows that belong to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The key of the partition.
    pub key: Key,
    /// The rows in their order, as ranges of consecutive rows.
    pub rows: Vec<Range<usize>>,
}

impl Group {
    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.iter().map(Range::len).sum()
    }

    /// True if there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Partitioning {
    /// Groups the rows of a dataset by partition; groups are ordered by key. Every row is in
    /// exactly one group, whatever the order of the rows; a dataset without rows has no groups.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if a time is "not a time" (its
    /// row is named) or the type of a variable cannot be used for partitioning;
    /// [`NotFound`](partita_core::ErrorKind::NotFound) if a variable is missing.
    ///
    /// `schema` is that of the collection, whose attributes say what numbers count times.
    pub fn split(&self, dataset: &Dataset, schema: &Schema) -> Result<Vec<Group>> {
        let mut columns = Vec::new();
        for name in self.variables() {
            let variable = dataset.require(name)?;
            let (data, dtype) = (variable.data(), variable.schema().dtype);
            let named = |error: Error| error.with("variable", name);
            let counted = schema.variable(name).and_then(EncodedTime::of);
            self.check_type(dtype, counted).map_err(named)?;
            if let (Self::Date { resolution, .. }, Some(time)) = (self, counted) {
                return Ok(self.groups(counted_periods(data, time, *resolution).map_err(named)?));
            }
            if let (Self::Date { resolution, .. }, DType::DateTime(unit, multiple)) = (self, dtype)
            {
                let runs = periods(data, unit, multiple, *resolution).map_err(named)?;
                return Ok(self.groups(runs));
            }
            columns.push(data.integers().unwrap_or_default());
        }
        if let (Self::GroupedSequence { size, start, .. }, Some(last)) = (self, columns.last_mut())
        {
            let (size, start) = (i128::from(*size), i128::from(*start));
            for value in last {
                *value = (*value - start).div_euclid(size) * size + start;
            }
        }
        Ok(self.groups(runs(&columns)))
    }

    fn groups(&self, runs: impl IntoIterator<Item = Run>) -> Vec<Group> {
        let mut groups: BTreeMap<Vec<i128>, Vec<Range<usize>>> = BTreeMap::new();
        for (values, rows) in runs {
            groups.entry(values).or_default().push(rows);
        }
        let fields = self.key_fields();
        let named = |(values, rows)| Group { key: Key::new(fields.clone(), values), rows };
        groups.into_iter().map(named).collect()
    }
}

/// Consecutive rows of one partition, and the values of its key.
type Run = (Vec<i128>, Range<usize>);

/// Runs of times in the same period. The calendar is evaluated once per run.
fn periods(
    times: &Array,
    unit: CalendarUnit,
    multiple: u32,
    resolution: Resolution,
) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut period = RangeInclusive::new(1, 0);
    let items = times.bytes().map_or_else(Default::default, |bytes| bytes.as_chunks::<8>().0);
    for (row, item) in items.iter().enumerate() {
        let steps = i64::from_le_bytes(*item);
        if steps == i64::MIN {
            return Err(no_partition(row));
        }
        if !period.contains(&steps) {
            let fields = Calendar::of(steps, multiple, unit).fields(resolution);
            period = Calendar::steps(&fields, multiple, unit).unwrap_or(steps..=steps);
            if runs.last().is_none_or(|(last, _)| *last != fields) {
                runs.push((fields, row..row));
            }
        }
        if let Some((_, run)) = runs.last_mut() {
            run.end = row + 1;
        }
    }
    Ok(runs)
}

/// Runs of numbers that count times of the same period.
fn counted_periods(data: &Array, time: EncodedTime, resolution: Resolution) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut current = 0..0;
    for (row, moment) in time.moments(data).into_iter().enumerate() {
        let moment = moment.ok_or_else(|| no_partition(row))?;
        if !current.contains(&moment) {
            let (fields, period) =
                time.period(moment, resolution).ok_or_else(|| no_partition(row))?;
            current = period;
            if runs.last().is_none_or(|(last, _)| *last != fields) {
                runs.push((fields, row..row));
            }
        }
        if let Some((_, run)) = runs.last_mut() {
            run.end = row + 1;
        }
    }
    Ok(runs)
}

fn no_partition(row: usize) -> Error {
    Error::invalid("a row without a time (NaT) belongs to no partition; leave it out")
        .with("row", row)
}

/// Runs of rows with the same values in all columns.
fn runs(columns: &[Vec<i128>]) -> Vec<Run> {
    let rows = columns.first().map_or(0, Vec::len);
    let at = |row: usize| -> Option<Vec<i128>> {
        columns.iter().map(|column| column.get(row).copied()).collect()
    };
    let same = |a: usize, b: usize| columns.iter().all(|column| column.get(a) == column.get(b));
    let (mut runs, mut start) = (Vec::new(), 0);
    for row in 1..=rows {
        if row < rows && same(start, row) {
            continue;
        }
        runs.extend(at(start).map(|values| (values, start..row)));
        start = row;
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::dataset::{Variable, VariableSchema};
    use crate::json::Attributes;

    fn dataset(dtype: &str, columns: &[(&str, &[i64])]) -> Dataset {
        let dtype = DType::parse(dtype).unwrap().0;
        let size = dtype.item_size().unwrap();
        let variables = columns
            .iter()
            .map(|(name, values)| {
                let bytes: Vec<u8> =
                    values.iter().flat_map(|value| value.to_le_bytes()[..size].to_vec()).collect();
                let data = Array::from_bytes(dtype, vec![values.len()], bytes).unwrap();
                Variable::new(VariableSchema::new(name, dtype, &["time"]), data).unwrap()
            })
            .collect();
        Dataset::new(variables, Attributes::new()).unwrap()
    }

    fn split(partitioning: &Partitioning, dataset: &Dataset) -> Vec<(Vec<i128>, Vec<usize>)> {
        let groups = partitioning.split(dataset, &dataset.schema()).unwrap().into_iter();
        groups.map(|g| (g.key.values().to_vec(), g.rows.into_iter().flatten().collect())).collect()
    }

    #[test]
    fn keys_that_come_back_join_their_rows() {
        let date = Partitioning::date("time", Resolution::Month);
        let days = dataset("<M8[D]", &[("time", &[0, 1, 31, 32, 2, -1])]);
        let expected = [
            (vec![1969, 12], vec![5]),
            (vec![1970, 1], vec![0, 1, 4]),
            (vec![1970, 2], vec![2, 3]),
        ];
        assert_eq!(split(&date, &days), expected);
        let seconds = dataset("<M8[s]", &[("time", &[1, 0])]);
        let by_second = Partitioning::date("time", Resolution::Second);
        assert_eq!(split(&by_second, &seconds)[0].0, [1970, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn groups_of_values_begin_at_their_start() {
        let grouped = Partitioning::grouped_sequence(&["p"], 4, 1);
        let data = dataset("<i4", &[("p", &[0, 1, 4, 5, -4])]);
        let keys: Vec<i128> = split(&grouped, &data).iter().map(|(key, _)| key[0]).collect();
        assert_eq!(keys, [-7, -3, 1, 5]);
        let bounds = dataset("<i8", &[("p", &[i64::MIN, i64::MAX])]);
        let keys: Vec<i128> = split(&grouped, &bounds).iter().map(|(key, _)| key[0]).collect();
        assert_eq!(keys, [i128::from(i64::MIN) - 3, i128::from(i64::MAX) - 2]);
    }

    #[test]
    fn bounds_of_integers() {
        let sequence = Partitioning::sequence(&["p"]);
        let data = dataset("<u8", &[("p", &[-1, 0])]);
        assert_eq!(split(&sequence, &data)[1].0, [i128::from(u64::MAX)]);
        let data = dataset("|i1", &[("p", &[-128, 127])]);
        assert_eq!(split(&sequence, &data)[0].0, [-128]);
    }

    #[test]
    fn what_cannot_partition_is_refused_by_name() {
        let date = Partitioning::date("time", Resolution::Day);
        let times = dataset("<M8[ns]", &[("time", &[0, i64::MIN])]);
        let error = date.split(&times, &times.schema()).unwrap_err();
        assert_eq!(error.kind(), partita_core::ErrorKind::InvalidArgument);
        assert!(error.to_string().contains("row: 1, variable: time"), "{error}");
        for (partitioning, dtype) in [(date, "<i8"), (Partitioning::sequence(&["time"]), "<f8")] {
            let data = dataset(dtype, &[("time", &[0])]);
            let error = partitioning.split(&data, &data.schema()).unwrap_err();
            assert!(error.to_string().contains("variable: time"), "{error}");
        }
        let nothing = Partitioning::sequence(&["x"]);
        let error = nothing.split(&Dataset::default(), &Schema::default()).unwrap_err();
        assert_eq!(error.kind(), partita_core::ErrorKind::NotFound);
    }

    #[test]
    fn no_rows_make_no_groups() {
        let data = dataset("<i4", &[("p", &[])]);
        assert!(Partitioning::sequence(&["p"]).split(&data, &data.schema()).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn every_time_is_in_its_period(
            times in prop::collection::vec(-40i64..40, 0..30),
            (unit, finest) in (0usize..7, 0usize..6),
        ) {
            let (unit, resolution) = (CalendarUnit::ALL[unit], Resolution::ALL[finest]);
            let data = dataset(&format!("<M8[3{}]", unit.code()), &[("time", &times)]);
            let mut model: BTreeMap<Vec<i128>, Vec<usize>> = BTreeMap::new();
            for (row, time) in times.iter().enumerate() {
                let fields = Calendar::of(*time, 3, unit).fields(resolution);
                model.entry(fields).or_default().push(row);
            }
            let model: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(split(&Partitioning::date("time", resolution), &data), model);
        }

        #[test]
        fn every_row_is_in_its_group(rows in prop::collection::vec((-2i64..2, -2i64..2), 0..30)) {
            let (a, b): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
            let data = dataset("<i2", &[("a", &a), ("b", &b)]);
            let mut model: BTreeMap<Vec<i128>, Vec<usize>> = BTreeMap::new();
            for (row, (a, b)) in rows.iter().enumerate() {
                model.entry(vec![(*a).into(), (*b).into()]).or_default().push(row);
            }
            let model: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(split(&Partitioning::sequence(&["a", "b"]), &data), model);
        }
    }
}
