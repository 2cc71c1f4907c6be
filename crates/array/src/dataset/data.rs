//! Datasets: variables that share dimensions.

use std::ops::Range;

use indexmap::IndexMap;
use partita_core::{Error, ErrorKind, Result};

use super::array::runs_of;
use super::{Dimension, Schema, Variable};
use crate::json::Attributes;

/// Variables that share dimensions, with attributes and nested groups. Clones share the data.
///
/// When a dataset is sliced or concatenated along a dimension, variables without that dimension
/// stay unchanged: they must be the same in all parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    dimensions: Vec<Dimension>,
    variables: IndexMap<String, Variable>,
    attributes: Attributes,
    groups: IndexMap<String, Dataset>,
    chunk_bytes: Option<u64>,
}

impl Dataset {
    /// A dataset of these variables. The sizes of the dimensions are taken from the data.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if a dimension has different sizes in two
    /// variables; [`InvalidArgument`](ErrorKind::InvalidArgument) if two have the same name.
    pub fn new(variables: Vec<Variable>, attributes: Attributes) -> Result<Self> {
        let mut dataset = Self { attributes, ..Self::default() };
        for variable in variables {
            dataset.add(variable)?;
        }
        Ok(dataset)
    }

    /// Adds a variable.
    ///
    /// # Errors
    /// The same as [`Dataset::new`].
    pub fn add(&mut self, variable: Variable) -> Result<()> {
        if self.variables.contains_key(variable.name()) {
            return Err(Error::invalid("two variables have the same name")
                .with("variable", variable.name()));
        }
        for (name, size) in variable.schema().dimensions.iter().zip(variable.data().shape()) {
            match self.size(name) {
                None => self.dimensions.push(Dimension::new(name).with_size(*size)),
                Some(known) if known == *size => {}
                Some(known) => {
                    return Err(Error::new(
                        ErrorKind::SchemaMismatch,
                        "a dimension has different sizes in different variables",
                    )
                    .with("variable", variable.name())
                    .with("dimension", name)
                    .with("expected", known)
                    .with("found", size));
                }
            }
        }
        self.variables.insert(variable.name().to_owned(), variable);
        Ok(())
    }

    /// Adds a nested group.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the name is already used.
    pub fn add_group(&mut self, name: &str, group: Self) -> Result<()> {
        if self.variables.contains_key(name) || self.groups.contains_key(name) {
            return Err(Error::invalid("a variable or a group with this name exists already")
                .with("group", name));
        }
        self.groups.insert(name.to_owned(), group);
        Ok(())
    }

    /// Sets the chunk size along a dimension for storing the dataset.
    pub fn set_chunks(&mut self, dimension: &str, chunks: super::Chunks) {
        match self.dimensions.iter_mut().find(|known| known.name == dimension) {
            Some(known) => known.chunks = Some(chunks),
            None => self.dimensions.push(Dimension::new(dimension).with_chunks(chunks)),
        }
    }

    /// The dimensions of this group.
    #[must_use]
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The number of items along a dimension; none if no variable of this group has it.
    #[must_use]
    pub fn size(&self, dimension: &str) -> Option<usize> {
        self.dimensions.iter().find(|known| known.name == dimension)?.size
    }

    /// The variables of this group, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.variables.values()
    }

    /// The variable at a path: the names of its groups and its own name, such as
    /// `data_01/ku/power`.
    #[must_use]
    pub fn variable(&self, path: &str) -> Option<&Variable> {
        match path.split_once('/') {
            None => self.variables.get(path),
            Some((group, rest)) => self.groups.get(group)?.variable(rest),
        }
    }

    /// The variable at a path, or an error with the path.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn require(&self, path: &str) -> Result<&Variable> {
        self.variable(path).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the dataset does not have this variable")
                .with("variable", path)
        })
    }

    /// The attributes.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The nested groups, in order.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.groups.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// The size of all data in memory in bytes, including nested groups.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        let own: usize = self.variables().map(|v| v.data().buffer().num_bytes()).sum();
        own + self.groups.values().map(Self::num_bytes).sum::<usize>()
    }

    /// The dataset without its data.
    #[must_use]
    pub fn schema(&self) -> Schema {
        Schema {
            dimensions: self.dimensions.clone(),
            variables: self
                .variables()
                .map(|v| (v.name().to_owned(), v.schema().clone()))
                .collect(),
            attributes: self.attributes.clone(),
            groups: self
                .groups
                .iter()
                .map(|(name, group)| (name.clone(), group.schema()))
                .collect(),
            chunk_bytes: self.chunk_bytes,
        }
    }

    /// The items in `range` along a dimension.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the range reaches beyond the dataset.
    pub fn slice(&self, dimension: &str, range: Range<usize>) -> Result<Self> {
        self.take_ranges(dimension, &[range])
    }

    /// The items at the indices along a dimension, in the order of the indices.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if an index is out of range.
    pub fn take(&self, dimension: &str, indices: &[usize]) -> Result<Self> {
        self.take_ranges(dimension, &runs_of(indices))
    }

    /// The items in the ranges along a dimension, concatenated.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if a range reaches beyond the dataset.
    pub fn take_ranges(&self, dimension: &str, ranges: &[Range<usize>]) -> Result<Self> {
        self.map(&|variable| variable.take_ranges(dimension, ranges))
    }

    /// Concatenates datasets along a dimension.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if they do not have the same variables, types
    /// and other dimensions; [`InvalidArgument`](ErrorKind::InvalidArgument) if there are none.
    pub fn concat(datasets: &[&Self], dimension: &str) -> Result<Self> {
        let first = *datasets
            .first()
            .ok_or_else(|| Error::invalid("there are no datasets to concatenate"))?;
        let mut joined = Self {
            attributes: first.attributes.clone(),
            chunk_bytes: first.chunk_bytes,
            ..Self::default()
        };
        for other in datasets {
            let mut names = other.variables.keys().chain(other.groups.keys());
            let known = |name: &&String| {
                !first.variables.contains_key(*name) && !first.groups.contains_key(*name)
            };
            if let Some(name) = names.find(known) {
                return Err(Error::new(
                    ErrorKind::SchemaMismatch,
                    "only some of the datasets have this variable",
                )
                .with("variable", name));
            }
        }
        for name in first.variables.keys() {
            let parts: Vec<&Variable> =
                datasets.iter().map(|dataset| dataset.require(name)).collect::<Result<_>>()?;
            joined.add(Variable::concat(&parts, dimension)?)?;
        }
        for name in first.groups.keys() {
            let lacking = || {
                Error::new(
                    ErrorKind::SchemaMismatch,
                    "only some of the datasets have this variable",
                )
                .with("group", name)
            };
            let parts: Vec<&Self> = datasets
                .iter()
                .map(|dataset| dataset.groups.get(name).ok_or_else(lacking))
                .collect::<Result<_>>()?;
            joined.groups.insert(name.clone(), Self::concat(&parts, dimension)?);
        }
        joined.keep_chunks(first);
        Ok(joined)
    }

    /// Splits the dataset into the variables that have a dimension and those that lack it.
    #[must_use]
    pub fn split(&self, dimension: &str) -> (Self, Self) {
        let with = self.filtered(&|_, variable| variable.schema().axis(dimension).is_some());
        let without = self.filtered(&|_, variable| variable.schema().axis(dimension).is_none());
        (with, without)
    }

    /// The dataset with only the variables for which `keep` is true; it is called with their paths.
    #[must_use]
    pub fn filtered(&self, keep: &dyn Fn(&str, &Variable) -> bool) -> Self {
        let variables = self.variables.iter().filter(|(name, variable)| keep(name, variable));
        let groups = self.groups.iter().filter_map(|(name, group)| {
            let below = group.filtered(&|path, variable| keep(&format!("{name}/{path}"), variable));
            let empty = below.variables.is_empty() && below.groups.is_empty();
            (!empty).then(|| (name.clone(), below))
        });
        Self {
            variables: variables.map(|(name, v)| (name.clone(), v.clone())).collect(),
            groups: groups.collect(),
            ..self.clone()
        }
    }

    /// The dataset with each variable replaced by `change`; the sizes of dimensions are taken from
    /// the results.
    pub(crate) fn map(&self, change: &dyn Fn(&Variable) -> Result<Variable>) -> Result<Self> {
        let mut mapped = Self {
            attributes: self.attributes.clone(),
            chunk_bytes: self.chunk_bytes,
            ..Self::default()
        };
        for variable in self.variables() {
            mapped.add(change(variable)?)?;
        }
        for (name, group) in &self.groups {
            let group = group.map(change).map_err(|error| error.with("group", name))?;
            mapped.groups.insert(name.clone(), group);
        }
        mapped.keep_chunks(self);
        Ok(mapped)
    }

    /// Takes the chunk sizes of the dimensions from `other`.
    pub(crate) fn keep_chunks(&mut self, other: &Self) {
        for dimension in &other.dimensions {
            match self.dimensions.iter_mut().find(|known| known.name == dimension.name) {
                Some(known) => {
                    (known.chunks, known.shards) = (dimension.chunks, dimension.shards);
                }
                None => self.dimensions.push(dimension.clone()),
            }
        }
    }

    /// Takes the chunk sizes of the dimensions from `schema`.
    pub(crate) fn with_schema_of(mut self, schema: &Schema) -> Self {
        for dimension in &schema.dimensions {
            if let Some(chunks) = dimension.chunks {
                self.set_chunks(&dimension.name, chunks);
            }
        }
        self.chunk_bytes = schema.chunk_bytes;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Array, DType, VariableSchema};

    fn variable(name: &str, dimensions: &[&str], shape: &[usize]) -> Variable {
        let items: usize = shape.iter().product();
        let bytes: Vec<u8> = (0..items as u16).flat_map(u16::to_le_bytes).collect();
        let data = Array::from_bytes(DType::UInt16, shape.to_vec(), bytes).unwrap();
        Variable::new(VariableSchema::new(name, DType::UInt16, dimensions), data).unwrap()
    }

    fn dataset() -> Dataset {
        let variables = vec![
            variable("time", &["time"], &[4]),
            variable("ssh", &["x", "time"], &[3, 4]),
            variable("lut", &["x"], &[3]),
        ];
        let mut dataset = Dataset::new(variables, Attributes::new()).unwrap();
        let group = Dataset::new(vec![variable("power", &["time"], &[4])], Attributes::new());
        dataset.add_group("ku", group.unwrap()).unwrap();
        dataset
    }

    #[test]
    fn parts_make_the_whole_and_what_lacks_the_dimension_stays() {
        let whole = dataset();
        let parts = [0..1, 1..1, 1..4].map(|range| whole.slice("time", range).unwrap());
        assert_eq!(parts[2].size("time"), Some(3));
        assert_eq!(parts[2].variable("lut"), whole.variable("lut"));
        assert_eq!(parts[2].variable("ku/power").unwrap().data().integers().unwrap(), [1, 2, 3]);
        let parts: Vec<&Dataset> = parts.iter().collect();
        assert_eq!(Dataset::concat(&parts, "time").unwrap(), whole);
    }

    #[test]
    fn taking_reorders() {
        let taken = dataset().take("time", &[3, 0, 0]).unwrap();
        let ssh = taken.variable("ssh").unwrap().data().integers().unwrap();
        assert_eq!(ssh, [3, 0, 0, 7, 4, 4, 11, 8, 8]);
    }

    #[test]
    fn splitting_by_a_dimension() {
        let (with, without) = dataset().split("time");
        assert_eq!(with.variables().map(Variable::name).collect::<Vec<_>>(), ["time", "ssh"]);
        assert_eq!(without.variables().map(Variable::name).collect::<Vec<_>>(), ["lut"]);
        assert!(with.variable("ku/power").is_some() && without.variable("ku/power").is_none());
    }

    #[test]
    fn errors_name_the_variable() {
        let mut dataset = dataset();
        let error = dataset.add(variable("bad", &["time"], &[5])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
        assert!(error.to_string().contains("variable: bad"), "{error}");
        let error = dataset.add(variable("ssh", &["x"], &[3])).unwrap_err();
        assert!(error.to_string().contains("variable: ssh"), "{error}");
        let error = dataset.slice("time", 3..9).unwrap_err();
        assert!(error.to_string().contains("variable: time"), "{error}");
    }
}
