//! Secondary indices: for each value of a column, the labels of the partitions that contain it.
//!
//! In memory, an [`Index`] holds the distinct values in ascending order and, for each, a run of
//! codes that refer to labels. [`stored`] is the form in the store. Nulls are not indexed.

mod embedded;
pub mod stored;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, LargeStringArray, ListArray,
    MutableArrayData, RecordBatch, UInt32Array, UInt64Array, make_array, make_comparator,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{SortOptions, concat, filter, is_not_null, partition, sort_to_indices, take};
use arrow::datatypes::{DataType, Field, UInt32Type};
use hashbrown::{HashMap, HashSet};
use partita_core::{Error, Result};

/// If one part has this many times more values than the rest together, the rest is inserted into it
/// instead of sorting everything again.
const INSERT_RATIO: usize = 8;

/// An index in memory.
#[derive(Debug, Clone)]
pub struct Index {
    /// The distinct values, ascending.
    values: ArrayRef,
    /// `codes[starts[i]..starts[i + 1]]` belong to value `i`.
    starts: Vec<usize>,
    codes: Vec<u32>,
    /// The labels that the codes refer to; each is in use.
    labels: LargeStringArray,
}

/// True if plateau can index a column of this stored type.
#[must_use]
pub fn is_index_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Binary
        | DataType::Date32
        | DataType::Timestamp(_, _) => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The type of an index's values for a column of this table type: the type that plateau compares
/// with when it updates the index.
#[must_use]
pub fn value_type(table: &DataType) -> DataType {
    match table {
        DataType::Timestamp(_, zone) => {
            DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, zone.clone())
        }
        other => other.clone(),
    }
}

/// The distinct values of a column that are not null, sorted.
///
/// # Errors
/// Data cannot cause an error; errors of Arrow are passed on.
pub fn distinct(values: &ArrayRef) -> Result<ArrayRef> {
    let values = if values.null_count() > 0 {
        filter(values, &is_not_null(values)?)?
    } else {
        Arc::clone(values)
    };
    if ascends(&values)? {
        return Ok(values);
    }
    let sorted = take(&values, &sort_to_indices(&values, None, None)?, None)?;
    let runs = partition(&[Arc::clone(&sorted)])?.ranges();
    let firsts = UInt64Array::from_iter_values(runs.iter().map(|r| r.start as u64));
    Ok(take(&sorted, &firsts, None)?)
}

/// True if the values are strictly ascending.
fn ascends(values: &ArrayRef) -> Result<bool> {
    let pairs = values.len().saturating_sub(1);
    if pairs == 0 {
        return Ok(true);
    }
    Ok(cmp::lt(&values.slice(0, pairs), &values.slice(1, pairs))?.true_count() == pairs)
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn empty(data_type: &DataType) -> Self {
        Self {
            values: arrow::array::new_empty_array(data_type),
            starts: vec![0],
            codes: Vec::new(),
            labels: LargeStringArray::new_null(0),
        }
    }

    /// The index of one file; `values` must come from [`distinct`].
    #[must_use]
    pub fn of_file(values: ArrayRef, label: &str) -> Self {
        let labels: &[&str] = if values.is_empty() { &[] } else { &[label] };
        Self {
            starts: (0..=values.len()).collect(),
            codes: vec![0; values.len()],
            labels: LargeStringArray::from_iter_values(labels),
            values,
        }
    }

    /// The index of files of which the distinct values are given with the labels.
    ///
    /// # Errors
    /// Those of [`Index::merge`].
    pub fn of_files<'a>(
        data_type: &DataType,
        files: impl IntoIterator<Item = (&'a String, &'a ArrayRef)>,
    ) -> Result<Self> {
        let files = files.into_iter().map(|(label, own)| Self::of_file(Arc::clone(own), label));
        Self::merge(&std::iter::once(Self::empty(data_type)).chain(files).collect::<Vec<_>>())
    }

    /// Builds an index of values in any order and the codes of their labels.
    fn of_parts(
        values: ArrayRef,
        starts: Vec<usize>,
        codes: Vec<u32>,
        labels: LargeStringArray,
    ) -> Result<Self> {
        let index = Self { values, starts, codes, labels };
        if ascends(&index.values)? {
            Ok(index)
        } else {
            Self::sorted(&[&index], index.labels.clone())
        }
    }

    /// The distinct values, ascending.
    #[must_use]
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// The labels that have any value.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().flatten()
    }

    /// The labels that have one of the chosen values.
    #[must_use]
    pub fn labels_of(&self, chosen: &BooleanArray) -> HashSet<&str> {
        let mut seen = vec![false; self.labels.len()];
        for row in 0..chosen.len() {
            if chosen.is_valid(row) && chosen.value(row) {
                for code in self.codes_of(row) {
                    if let Some(seen) = seen.get_mut(*code as usize) {
                        *seen = true;
                    }
                }
            }
        }
        self.labels.iter().zip(seen).filter(|(_, seen)| *seen).filter_map(|(l, _)| l).collect()
    }

    fn codes_of(&self, row: usize) -> &[u32] {
        let bound = |row: usize| self.starts.get(row).copied().unwrap_or(self.codes.len());
        self.codes.get(bound(row)..bound(row + 1)).unwrap_or_default()
    }

    /// Merges several indices of the same column.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if there are more labels than
    /// codes.
    pub fn merge(parts: &[Self]) -> Result<Self> {
        let mut used: Vec<&Self> = parts.iter().filter(|part| !part.values.is_empty()).collect();
        match (used.as_slice(), parts.first()) {
            ([only], _) => return Ok((*only).clone()),
            ([], Some(empty)) => return Ok(empty.clone()),
            ([], None) => return Err(Error::invalid("there is no index to merge")),
            _ => {}
        }
        let (labels, recoded) = shared_labels(&used)?;
        let recoded: Vec<Self> = used
            .iter()
            .zip(recoded)
            .map(|(part, codes)| Self {
                values: Arc::clone(&part.values),
                starts: part.starts.clone(),
                codes,
                labels: labels.clone(),
            })
            .collect();
        used = recoded.iter().collect();
        used.sort_by_key(|part| std::cmp::Reverse(part.values.len()));
        let Some((most, others)) = used.split_first() else {
            return Err(Error::invalid("there is no index to merge"));
        };
        let rest: usize = others.iter().map(|part| part.values.len()).sum();
        if rest * INSERT_RATIO < most.values.len() {
            let others = Self::sorted(others, labels)?;
            return most.with_inserted(&others);
        }
        Self::sorted(&used, labels)
    }

    /// Sorts the values of all parts, which share their labels.
    fn sorted(parts: &[&Self], labels: LargeStringArray) -> Result<Self> {
        let values: Vec<&dyn Array> = parts.iter().map(|part| part.values.as_ref()).collect();
        let values = concat(&values)?;
        let runs: Vec<&[u32]> = parts
            .iter()
            .flat_map(|part| (0..part.values.len()).map(|row| part.codes_of(row)))
            .collect();
        let order = sort_to_indices(&values, None, None)?;
        let sorted = take(&values, &order, None)?;
        let mut starts = vec![0];
        let mut codes = Vec::with_capacity(runs.iter().map(|run| run.len()).sum());
        let mut firsts = Vec::new();
        for group in partition(&[Arc::clone(&sorted)])?.ranges() {
            firsts.push(group.start as u64);
            for position in order.values().get(group).unwrap_or_default() {
                codes.extend_from_slice(runs.get(*position as usize).copied().unwrap_or_default());
            }
            starts.push(codes.len());
        }
        let values = take(&sorted, &UInt64Array::from(firsts), None)?;
        Ok(Self { values, starts, codes, labels })
    }

    /// Inserts the values of a much smaller index with the same labels; the values between two
    /// insertions are copied as one slice.
    fn with_inserted(&self, few: &Self) -> Result<Self> {
        let compare = make_comparator(&self.values, &few.values, SortOptions::default())?;
        let (many, added) = (self.values.to_data(), few.values.to_data());
        let room = self.values.len() + few.values.len();
        let mut values = MutableArrayData::new(vec![&many, &added], false, room);
        let mut starts: Vec<usize> = Vec::with_capacity(room + 1);
        let mut codes: Vec<u32> = Vec::with_capacity(self.codes.len() + few.codes.len());
        let mut next = 0;
        let copy =
            |range: std::ops::Range<usize>, starts: &mut Vec<usize>, codes: &mut Vec<u32>| {
                for row in range {
                    starts.push(codes.len());
                    codes.extend_from_slice(self.codes_of(row));
                }
            };
        for row in 0..few.values.len() {
            let at =
                next + lower_bound(self.values.len() - next, |i| compare(next + i, row).is_lt());
            values.try_extend(0, next, at)?;
            copy(next..at, &mut starts, &mut codes);
            next = at;
            if at < self.values.len() && compare(at, row).is_eq() {
                values.try_extend(0, at, at + 1)?;
                copy(at..at + 1, &mut starts, &mut codes);
                next = at + 1;
            } else {
                values.try_extend(1, row, row + 1)?;
                starts.push(codes.len());
            }
            codes.extend_from_slice(few.codes_of(row));
        }
        values.try_extend(0, next, self.values.len())?;
        copy(next..self.values.len(), &mut starts, &mut codes);
        starts.push(codes.len());
        let values = make_array(values.freeze());
        Ok(Self { values, starts, codes, labels: self.labels.clone() })
    }

    /// Casts the values to another type: the type of the column was not known when the values were
    /// staged.
    ///
    /// # Errors
    /// [`SchemaMismatch`](partita_core::ErrorKind::SchemaMismatch) if a value does not fit.
    pub fn cast(&self, data_type: &DataType) -> Result<Self> {
        if self.values.data_type() == data_type {
            return Ok(self.clone());
        }
        let values = super::schema::cast_column("index", &self.values, data_type)?;
        Self::of_parts(values, self.starts.clone(), self.codes.clone(), self.labels.clone())
    }

    /// Removes the entries of the given labels.
    ///
    /// # Errors
    /// Data cannot cause an error; errors of Arrow are passed on.
    pub fn without(&self, removed: &HashSet<&str>) -> Result<Self> {
        if !self.labels().any(|label| removed.contains(label)) {
            return Ok(self.clone());
        }
        let mut kept = Vec::new();
        let new_codes: Vec<Option<u32>> = self
            .labels
            .iter()
            .map(|label| {
                let label = label.filter(|label| !removed.contains(label))?;
                kept.push(label);
                u32::try_from(kept.len() - 1).ok()
            })
            .collect();
        let mut starts = vec![0];
        let mut codes = Vec::with_capacity(self.codes.len());
        let mut held = Vec::with_capacity(self.values.len());
        for row in 0..self.values.len() {
            let before = codes.len();
            let of = |code: &u32| new_codes.get(*code as usize).copied().flatten();
            codes.extend(self.codes_of(row).iter().filter_map(of));
            held.push(codes.len() > before);
            if codes.len() > before {
                starts.push(codes.len());
            }
        }
        Ok(Self {
            values: filter(&self.values, &BooleanArray::from(held))?,
            starts,
            codes,
            labels: LargeStringArray::from_iter_values(kept),
        })
    }

    /// Replaces each label; `None` if `new` returns none for a label.
    #[must_use]
    pub fn relabelled<'a>(&self, new: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let labels: Option<Vec<&str>> = self.labels().map(new).collect();
        Some(Self { labels: LargeStringArray::from_iter_values(labels?), ..self.clone() })
    }

    /// True if both have the same values and the same labels for each.
    ///
    /// # Errors
    /// Data cannot cause an error; errors of Arrow are passed on.
    pub fn same(&self, other: &Self) -> Result<bool> {
        if self.values.to_data() != other.values.to_data() {
            return Ok(false);
        }
        let (_, codes) = shared_labels(&[self, other])?;
        let [ours, theirs] = codes.as_slice() else { return Ok(false) };
        let run = |index: &Self, codes: &[u32], row: usize| {
            let bound = |row: usize| index.starts.get(row).copied().unwrap_or(codes.len());
            let mut run = codes.get(bound(row)..bound(row + 1)).unwrap_or_default().to_vec();
            run.sort_unstable();
            run.dedup();
            run
        };
        Ok((0..self.values.len()).all(|row| run(self, ours, row) == run(other, theirs, row)))
    }

    /// The labels of each value as a list array.
    fn lists(&self) -> Result<ListArray> {
        let labels = Arc::new(self.labels.clone());
        let labels =
            DictionaryArray::<UInt32Type>::try_new(UInt32Array::from(self.codes.clone()), labels)?;
        let item = Arc::new(Field::new("element", labels.data_type().clone(), true));
        let lengths = self.starts.windows(2).map(|pair| match pair {
            [from, to] => to - from,
            _ => 0,
        });
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(ListArray::try_new(item, offsets, Arc::new(labels), None)?)
    }

    /// The index as a batch of two columns, for transport.
    ///
    /// # Errors
    /// Data cannot cause an error; errors of Arrow are passed on.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let columns =
            [("value", Arc::clone(&self.values)), ("labels", Arc::new(self.lists()?) as _)];
        Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true)))?)
    }

    /// The inverse of [`Index::to_batch`].
    ///
    /// # Errors
    /// [`Corrupt`](partita_core::ErrorKind::Corrupt) if the columns are not those of an index.
    pub fn from_batch(batch: &RecordBatch) -> Result<Self> {
        let lists = batch.column_by_name("labels").and_then(|c| c.as_list_opt::<i32>());
        let (Some(values), Some(lists)) = (batch.column_by_name("value"), lists) else {
            return Err(Error::corrupt("a staged index cannot be read"));
        };
        let mut gathered = Gathered::default();
        gathered.add(values, lists)?;
        gathered.finish(values.data_type())
    }
}

/// A common array of the labels of several indices, and the codes of each index that refer to it.
fn shared_labels(parts: &[&Index]) -> Result<(LargeStringArray, Vec<Vec<u32>>)> {
    let mut codes: HashMap<&str, u32> = HashMap::new();
    let mut labels: Vec<&str> = Vec::new();
    let mut recoded = Vec::with_capacity(parts.len());
    for part in parts {
        let mut of = Vec::with_capacity(part.labels.len());
        for label in part.labels.iter().map(Option::unwrap_or_default) {
            of.push(match codes.get(label) {
                Some(code) => *code,
                None => {
                    let code = u32::try_from(labels.len()).map_err(too_many)?;
                    codes.insert(label, code);
                    labels.push(label);
                    code
                }
            });
        }
        let recode = |code: &u32| of.get(*code as usize).copied().unwrap_or_default();
        recoded.push(part.codes.iter().map(recode).collect());
    }
    Ok((LargeStringArray::from_iter_values(labels), recoded))
}

fn too_many(error: std::num::TryFromIntError) -> Error {
    Error::invalid("the index has grown beyond what its format holds").caused_by(error)
}

/// Binary search: the first position of `0..length` for which `before` is false.
fn lower_bound(length: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

/// Batches of values and lists of labels from which an index is built.
#[derive(Default)]
struct Gathered {
    values: Vec<ArrayRef>,
    starts: Vec<usize>,
    codes: Vec<u32>,
    known: HashMap<String, u32>,
    labels: Vec<String>,
}

impl Gathered {
    /// Adds values and their lists of labels, which are a dictionary.
    fn add(&mut self, values: &ArrayRef, lists: &ListArray) -> Result<()> {
        let wrong = || Error::corrupt("an index has labels of a wrong type");
        let dictionary = lists.values().as_any_dictionary_opt().ok_or_else(wrong)?;
        let words = arrow::compute::cast(dictionary.values(), &DataType::LargeUtf8)?;
        let mut of: Vec<Option<u32>> = Vec::with_capacity(words.len());
        for label in words.as_string::<i64>() {
            of.push(label.map(|label| self.code(label)).transpose()?);
        }
        let keys = dictionary.keys().as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        for window in lists.offsets().windows(2) {
            let [from, to] = window else { continue };
            for at in from.unsigned_abs() as usize..to.unsigned_abs() as usize {
                let code = keys.is_valid(at).then(|| keys.value(at) as usize);
                let code = code.and_then(|code| of.get(code).copied().flatten());
                self.codes.push(code.ok_or_else(|| Error::corrupt("an index has a null label"))?);
            }
            self.starts.push(self.codes.len());
        }
        self.values.push(Arc::clone(values));
        Ok(())
    }

    fn code(&mut self, label: &str) -> Result<u32> {
        if let Some(code) = self.known.get(label) {
            return Ok(*code);
        }
        let code = u32::try_from(self.labels.len()).map_err(too_many)?;
        self.known.insert(label.to_owned(), code);
        self.labels.push(label.to_owned());
        Ok(code)
    }

    fn finish(self, data_type: &DataType) -> Result<Index> {
        if self.values.is_empty() {
            return Ok(Index::empty(data_type));
        }
        let values: Vec<&dyn Array> = self.values.iter().map(|part| part.as_ref()).collect();
        let labels = LargeStringArray::from_iter_values(self.labels);
        let index = Index::of_parts(concat(&values)?, self.starts, self.codes, labels)?;
        index.only_used()
    }
}

impl Index {
    /// Removes labels that no code refers to, which a part of a stored index may contain.
    fn only_used(self) -> Result<Self> {
        let mut used = vec![false; self.labels.len()];
        for code in &self.codes {
            if let Some(used) = used.get_mut(*code as usize) {
                *used = true;
            }
        }
        let unused: HashSet<String> = (self.labels.iter().flatten().zip(&used))
            .filter(|(_, used)| !**used)
            .map(|(label, _)| label.to_owned())
            .collect();
        self.without(&unused.iter().map(String::as_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn of(values: &[i64], label: &str) -> Index {
        let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
        Index::of_file(distinct(&values).unwrap(), label)
    }

    type Model = BTreeMap<i64, BTreeSet<String>>;

    fn model(index: &Index) -> Model {
        let values = index.values.as_primitive::<Int64Type>();
        assert!(ascends(&index.values).unwrap());
        (0..values.len())
            .map(|row| {
                let one = (0..values.len()).map(|other| Some(other == row)).collect();
                let labels = index.labels_of(&one).into_iter().map(str::to_owned).collect();
                (values.value(row), labels)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn merging_and_removing_is_as_on_maps(
            files in prop::collection::vec(prop::collection::vec(-30i64..30, 0..60), 1..6),
            small in prop::collection::vec(-40i64..40, 0..3),
            removed in prop::collection::vec(0usize..8, 0..4),
        ) {
            let mut parts: Vec<Index> = files
                .iter()
                .enumerate()
                .map(|(n, values)| of(values, &format!("l{n}")))
                .collect();
            let mut expected = Model::new();
            for (n, values) in files.iter().chain([&small]).enumerate() {
                for value in values {
                    expected.entry(*value).or_default().insert(format!("l{n}"));
                }
            }
            // Once by merging all parts, and once incrementally, as commits do.
            let last = of(&small, &format!("l{}", files.len()));
            let stepwise = Index::merge(&[Index::merge(&parts).unwrap(), last.clone()]).unwrap();
            parts.push(last);
            let merged = Index::merge(&parts).unwrap();
            prop_assert_eq!(&model(&merged), &expected);
            prop_assert_eq!(&model(&stepwise), &expected);

            let names: Vec<String> = removed.iter().map(|n| format!("l{n}")).collect();
            let gone: HashSet<&str> = names.iter().map(String::as_str).collect();
            expected.retain(|_, labels| {
                labels.retain(|label| !gone.contains(label.as_str()));
                !labels.is_empty()
            });
            let left = merged.without(&gone).unwrap();
            prop_assert_eq!(&model(&left), &expected);
            let sent = Index::from_batch(&left.to_batch().unwrap()).unwrap();
            prop_assert_eq!(&model(&sent), &expected);
            let stored = left.encode("k").unwrap();
            let read = Index::decode(stored.bytes, "key", "k", &DataType::Int64).unwrap();
            prop_assert_eq!(&model(&read), &expected);
            let labels: BTreeSet<String> = read.labels().map(str::to_owned).collect();
            prop_assert_eq!(labels, expected.into_values().flatten().collect::<BTreeSet<_>>());
        }
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = bytes::Bytes::from_static(b"PAR1");
        let error = Index::decode(bytes, "key", "k", &DataType::Int64).unwrap_err();
        assert_eq!(error.kind(), partita_core::ErrorKind::Corrupt);
    }
}
