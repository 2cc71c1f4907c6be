//! Schemas: the variables, dimensions and attributes of a dataset or collection.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;
use partita_core::{Error, ErrorKind, Result};

use super::{ByteOrder, DType, FillValue};
use crate::json::{Attributes, Json};

/// The chunk size along a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// This many items.
    Size(usize),
    /// All items.
    Whole,
    /// The largest number of items that the schema's limit on the size of a chunk allows.
    Auto,
}

/// A named dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimension {
    /// The name.
    pub name: String,
    /// The number of items; none for the partitioned dimension, and if it is not known.
    pub size: Option<usize>,
    /// The chunk size; by default the whole dimension.
    pub chunks: Option<Chunks>,
    /// Kept for the Zarr v3 layout, whose documents have it but do not use it.
    pub shards: Option<usize>,
}

impl Dimension {
    /// A dimension of unknown size in one chunk.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), size: None, chunks: None, shards: None }
    }

    /// The dimension with a size.
    #[must_use]
    pub fn with_size(mut self, size: usize) -> Self {
        self.size = Some(size);
        self
    }

    /// The dimension with a chunk size.
    #[must_use]
    pub fn with_chunks(mut self, chunks: Chunks) -> Self {
        self.chunks = Some(chunks);
        self
    }
}

/// The configuration of a numcodecs filter or compressor, or of a codec of Zarr v3.
pub type Filter = Json;

/// The encoding of the chunks of a variable.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Codecs {
    /// The default of the layout: blosc with zstd in Zarr v2, zstd and sharding in Zarr v3.
    #[default]
    Default,
    /// A Zarr v2 pipeline, as numcodecs configurations (`{"id": "zstd", "level": 3}`).
    V2 {
        /// The compressor; none stores the bytes as they are.
        compressor: Option<Filter>,
        /// The filters, which are applied before the compressor, in order.
        filters: Vec<Filter>,
        /// The byte order of stored numbers.
        order: ByteOrder,
    },
    /// A Zarr v3 pipeline (`{"name": "zstd", "configuration": {…}}`).
    V3 {
        /// The codecs that are applied first, in order.
        array_to_array: Vec<Filter>,
        /// The codec that is applied next.
        array_to_bytes: Filter,
        /// The codecs that are applied last, in order.
        bytes_to_bytes: Vec<Filter>,
        /// The limit of the size of a shard, in bytes before compression; without one, each chunk
        /// is an object of its own.
        shard_bytes: Option<u64>,
    },
}

/// The role of a variable in the Zarr v3 layout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// A variable of the user.
    #[default]
    User,
    /// A variable that fills a gap.
    Filler,
    /// A variable that other variables need.
    Aux,
}

/// A variable without its data.
#[derive(Debug, Clone, PartialEq)]
pub struct VariableSchema {
    /// The name.
    pub name: String,
    /// The type of the items.
    pub dtype: DType,
    /// The names of the dimensions; the last one varies fastest.
    pub dimensions: Vec<String>,
    /// The value of items where nothing was stored.
    pub fill: Option<FillValue>,
    /// The attributes.
    pub attributes: Attributes,
    /// The encoding.
    pub codecs: Codecs,
    /// The role.
    pub role: Role,
}

impl VariableSchema {
    /// A variable without fill value and attributes, with the default encoding of the layout.
    pub fn new<D: AsRef<str>>(name: &str, dtype: DType, dimensions: &[D]) -> Self {
        Self {
            name: name.to_owned(),
            dtype,
            dimensions: dimensions.iter().map(|name| name.as_ref().to_owned()).collect(),
            fill: None,
            attributes: Attributes::new(),
            codecs: Codecs::Default,
            role: Role::User,
        }
    }

    /// The variable with a fill value, as in Zarr's metadata (`"NaN"`, `0`, `null`).
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if it is not a value of the variable's type.
    pub fn with_fill(mut self, fill: impl Into<Json>) -> Result<Self> {
        let fill = FillValue::from_json(self.dtype, &fill.into());
        self.fill = fill.map_err(|error| error.with("variable", &self.name))?;
        Ok(self)
    }

    /// The variable with an additional attribute.
    #[must_use]
    pub fn with_attribute(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// The variable with another encoding.
    #[must_use]
    pub fn with_codecs(mut self, codecs: Codecs) -> Self {
        self.codecs = codecs;
        self
    }

    /// The position of a dimension; none if the variable does not have it.
    #[must_use]
    pub fn axis(&self, dimension: &str) -> Option<usize> {
        self.dimensions.iter().position(|name| name == dimension)
    }
}

/// The variables, dimensions and attributes of a dataset, and its nested groups.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// The dimensions. A nested group also has those of the groups around it.
    pub dimensions: Vec<Dimension>,
    /// The variables, by name.
    pub variables: IndexMap<String, VariableSchema>,
    /// The attributes.
    pub attributes: Attributes,
    /// The groups, by name.
    pub groups: IndexMap<String, Schema>,
    /// The largest chunk in bytes before compression, for dimensions with [`Chunks::Auto`]; 128 MiB
    /// by default.
    pub chunk_bytes: Option<u64>,
}

impl Schema {
    /// A schema of these variables. Dimensions that are not in `dimensions` are added with an
    /// unknown size.
    ///
    /// # Errors
    /// The same as [`Schema::check`], and [`InvalidArgument`](ErrorKind::InvalidArgument) if two
    /// variables have the same name.
    pub fn new(dimensions: Vec<Dimension>, variables: Vec<VariableSchema>) -> Result<Self> {
        let mut schema = Self { dimensions, ..Self::default() };
        for variable in variables {
            schema.add(variable)?;
        }
        schema.check()?;
        Ok(schema)
    }

    pub(crate) fn add(&mut self, variable: VariableSchema) -> Result<()> {
        for name in &variable.dimensions {
            if self.dimension(name).is_none() {
                self.dimensions.push(Dimension::new(name));
            }
        }
        match self.variables.insert(variable.name.clone(), variable) {
            None => Ok(()),
            Some(twice) => {
                Err(Error::invalid("two variables have the same name").with("variable", twice.name))
            }
        }
    }

    /// Replaces the descriptions of dimensions with those of another schema, group by group.
    pub(crate) fn take_dimensions(&mut self, other: &Self) {
        let known = |own: &Dimension| other.dimension(&own.name).is_some();
        self.dimensions.retain(|own| !known(own));
        self.dimensions.splice(0..0, other.dimensions.iter().cloned());
        self.chunk_bytes = other.chunk_bytes;
        for (name, group) in &mut self.groups {
            if let Some(other) = other.groups.get(name) {
                group.take_dimensions(other);
            }
        }
    }

    /// Adds the group at a path, without variables, as far as another schema has it.
    pub(crate) fn add_groups(&mut self, other: &Self, path: &str) {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        let Some(group) = other.groups.get(name) else { return };
        let own = self
            .groups
            .entry(name.to_owned())
            .or_insert_with(|| Self { dimensions: group.dimensions.clone(), ..Self::default() });
        own.add_groups(group, rest);
    }

    /// This schema with the variables and groups of another one added; those of the other take
    /// precedence.
    pub(crate) fn overlaid(&self, other: &Self) -> Self {
        let mut whole = self.clone();
        let is_new = |own: &&Dimension| self.dimension(&own.name).is_none();
        whole.dimensions.extend(other.dimensions.iter().filter(is_new).cloned());
        let variables = other.variables.iter();
        whole.variables.extend(variables.map(|(name, own)| (name.clone(), own.clone())));
        let attributes = other.attributes.iter();
        whole.attributes.extend(attributes.map(|(name, value)| (name.clone(), value.clone())));
        for (name, group) in &other.groups {
            let below = whole.groups.get(name).map(|own| own.overlaid(group));
            whole.groups.insert(name.clone(), below.unwrap_or_else(|| group.clone()));
        }
        whole
    }

    /// The dimension `name` of this group.
    #[must_use]
    pub fn dimension(&self, name: &str) -> Option<&Dimension> {
        self.dimensions.iter().find(|dimension| dimension.name == name)
    }

    /// The dimensions of this group and of nested groups.
    pub(crate) fn all_dimensions(&self) -> Vec<&Dimension> {
        let below = self.groups.values().flat_map(Self::all_dimensions);
        self.dimensions.iter().chain(below).collect()
    }

    /// The known sizes of dimensions, of this group and of nested groups.
    pub(crate) fn sizes(&self) -> HashMap<String, usize> {
        let known = |dimension: &Dimension| Some((dimension.name.clone(), dimension.size?));
        self.all_dimensions().into_iter().filter_map(known).collect()
    }

    /// The variable at a path: the names of its groups and its own name, such as
    /// `data_01/ku/power`.
    #[must_use]
    pub fn variable(&self, path: &str) -> Option<&VariableSchema> {
        match path.split_once('/') {
            None => self.variables.get(path),
            Some((group, rest)) => self.groups.get(group)?.variable(rest),
        }
    }

    /// The variables of this group and of nested groups, with their paths.
    #[must_use]
    pub fn paths(&self) -> Vec<(String, &VariableSchema)> {
        let own = self.variables.values().map(|variable| (variable.name.clone(), variable));
        let below = self.groups.iter().flat_map(|(group, schema)| {
            let paths = schema.paths().into_iter();
            paths.map(move |(path, variable)| (format!("{group}/{path}"), variable))
        });
        own.chain(below).collect()
    }

    /// The paths of the variables of this group and of nested groups.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.paths().into_iter().map(|(path, _)| path).collect()
    }

    /// The schema with only the variables for which `keep` is true, and the groups that contain
    /// some; it is called with their paths.
    #[must_use]
    pub fn filtered(&self, keep: &dyn Fn(&str, &VariableSchema) -> bool) -> Self {
        let variables = self.variables.iter().filter(|(name, variable)| keep(name, variable));
        let variables =
            variables.map(|(name, variable)| (name.clone(), variable.clone())).collect();
        let groups = self.groups.iter().filter_map(|(name, group)| {
            let below = group.filtered(&|path, variable| keep(&format!("{name}/{path}"), variable));
            let empty = below.variables.is_empty() && below.groups.is_empty();
            (!empty).then(|| (name.clone(), below))
        });
        let groups = groups.collect();
        Self { variables, groups, ..self.clone() }
    }

    /// Checks that names can be stored and that every dimension of a variable is described.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) or
    /// [`NotFound`](ErrorKind::NotFound), with the variable's name.
    pub fn check(&self) -> Result<()> {
        self.check_below(&HashSet::new())
    }

    /// Removes dimensions from nested groups if an outer group describes them in the same way,
    /// since the inner description would hide the outer one. The size of `growing` becomes unknown
    /// everywhere.
    pub(crate) fn share_dimensions(&mut self, growing: &str) {
        self.share_below(&[], growing);
    }

    fn share_below(&mut self, outer: &[Dimension], growing: &str) {
        for own in self.dimensions.iter_mut().filter(|own| own.name == growing) {
            own.size = None;
        }
        let is_said = |own: &Dimension| {
            let mut same = outer.iter().filter(|known| known.name == own.name);
            same.any(|known| {
                (own.size.is_none() || known.size == own.size)
                    && (own.chunks.is_none() || known.chunks == own.chunks)
            })
        };
        self.dimensions.retain(|own| !is_said(own));
        let is_hidden = |known: &&Dimension| self.dimension(&known.name).is_some();
        let seen = outer.iter().filter(|known| !is_hidden(known)).chain(&self.dimensions);
        let seen: Vec<Dimension> = seen.cloned().collect();
        for group in self.groups.values_mut() {
            group.share_below(&seen, growing);
        }
    }

    fn check_below(&self, outer: &HashSet<&str>) -> Result<()> {
        let mut known = outer.clone();
        let mut own = HashSet::new();
        for dimension in &self.dimensions {
            check_name(&dimension.name).map_err(|e| e.with("dimension", &dimension.name))?;
            if !own.insert(dimension.name.as_str()) {
                return Err(Error::invalid("two dimensions have the same name")
                    .with("dimension", &dimension.name));
            }
            if matches!(dimension.chunks, Some(Chunks::Size(0))) {
                return Err(Error::invalid("the chunk size must be at least one item")
                    .with("dimension", &dimension.name));
            }
        }
        known.extend(own);
        for (name, variable) in &self.variables {
            check_name(name).map_err(|error| error.with("variable", name))?;
            let mut seen = HashSet::new();
            for dimension in &variable.dimensions {
                if !known.contains(dimension.as_str()) {
                    return Err(Error::new(ErrorKind::NotFound, "the dimension does not exist")
                        .with("dimension", dimension)
                        .with("variable", name));
                }
                if !seen.insert(dimension) {
                    return Err(Error::invalid("a variable has the same dimension twice")
                        .with("dimension", dimension)
                        .with("variable", name));
                }
            }
        }
        for (name, group) in &self.groups {
            check_name(name).map_err(|error| error.with("group", name))?;
            if self.variables.contains_key(name) {
                return Err(
                    Error::invalid("a group and a variable have the same name").with("group", name)
                );
            }
            group.check_below(&known).map_err(|error| error.with("group", name))?;
        }
        Ok(())
    }
}

/// Refuses names that are empty, that would address another object in a store, or that Zarr
/// reserves: those with a leading dot or two leading underscores, and `zarr.json`.
fn check_name(name: &str) -> Result<()> {
    let why = match name {
        "" => "it is empty",
        "zarr.json" => "Zarr keeps its metadata under it",
        _ if name.contains('/') => "it contains a slash",
        _ if name.starts_with('.') => "it begins with a dot",
        _ if name.starts_with("__") => "it begins with two underscores",
        _ if name.chars().any(char::is_control) => "it contains a control character",
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("the name cannot be stored: {why}")))
}
