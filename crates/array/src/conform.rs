//! Checks and completes a dataset against the schema of a collection, before any of it is written.

use std::collections::HashMap;

use partita_core::{Error, ErrorKind, Result};

use crate::dataset::{Array, Dataset, FillValue, Schema, Variable, VariableSchema};
use crate::layout::Config;

/// A dataset that matches the schema of a collection.
pub(crate) struct Fitting {
    /// Exactly the partitioned variables of the schema, in its order and with its attributes, fill
    /// values and codecs.
    pub rows: Dataset,
    /// The variables that are not partitioned, as far as the dataset has them.
    pub immutable: Dataset,
    /// The partitioned variables that the dataset lacks, and that are filled in `rows`.
    pub missing: Vec<Missing>,
}

/// A variable that the dataset lacks.
pub(crate) struct Missing {
    pub path: String,
    /// True if there is a value for its missing items. If not, the items are zeros, which must not
    /// be stored.
    pub is_known: bool,
}

impl Missing {
    /// Refuses to store a variable without a value for missing items.
    pub fn check(&self) -> Result<()> {
        if self.is_known {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::SchemaMismatch,
            "a variable of the collection is missing, and it has neither a fill value nor a type \
             with a value that means missing; give the variable, or a value to fill it with",
        )
        .with("variable", &self.path))
    }
}

impl Fitting {
    /// The rows, if there is a value for every missing variable.
    pub fn filled(self) -> Result<Dataset> {
        self.missing.iter().try_for_each(Missing::check)?;
        Ok(self.rows)
    }
}

/// Checks a dataset and completes it. A missing partitioned variable is filled with the value that
/// `fills` has for its path, else with its fill value, else with the value of its type that means
/// missing.
///
/// `sizes` are the stored sizes of the dimensions.
///
/// # Errors
/// [`SchemaMismatch`](ErrorKind::SchemaMismatch) with the variable, if the schema does not have it
/// or has it with another type or other dimensions, or the size of a dimension differs;
/// [`InvalidArgument`](ErrorKind::InvalidArgument) if a variable cannot be filled or one that
/// partitions is missing.
pub(crate) fn conform(
    data: &Dataset,
    config: &Config,
    sizes: &HashMap<String, usize>,
    fills: &HashMap<String, FillValue>,
) -> Result<Fitting> {
    for (path, variable) in data.schema().paths() {
        check(&path, variable, config)?;
    }
    for variable in config.partitioning.variables() {
        data.require(variable)?;
    }
    let given = given_sizes(data);
    for (path, schema) in data.schema().paths() {
        for name in schema.dimensions.iter().filter(|name| **name != config.dimension) {
            if let (Some(stored), Some(found)) = (sizes.get(name), given.get(name))
                && stored != found
            {
                return Err(Error::new(
                    ErrorKind::SchemaMismatch,
                    "a dimension has another size in the collection",
                )
                .with("variable", path)
                .with("dimension", name)
                .with("expected", stored)
                .with("found", found));
            }
        }
    }
    let rows = data.size(&config.dimension).unwrap_or(0);
    let size = |name: &str| match name == config.dimension {
        true => Some(rows),
        false => given.get(name).or_else(|| sizes.get(name)).copied(),
    };
    let mut missing = Vec::new();
    for (path, own) in config.partitioned().paths() {
        if data.variable(&path).is_none() {
            let is_known = missing_item(&path, own, fills).is_some();
            missing.push(Missing { path, is_known });
        }
    }
    let rows = build(&config.partitioned(), "", &|path, own| match data.variable(path) {
        Some(found) => found.with_schema(own.clone()).map(Some),
        None => full(path, own, missing_item(path, own, fills).as_ref(), &size).map(Some),
    })?;
    let immutable = merged(&config.immutable(), &[data], &|_| false, &size)?;
    Ok(Fitting { rows, immutable, missing })
}

/// The value that is stored for missing items of a variable.
fn missing_item(
    path: &str,
    own: &VariableSchema,
    fills: &HashMap<String, FillValue>,
) -> Option<FillValue> {
    let said = fills.get(path).or(own.fill.as_ref()).cloned();
    said.or_else(|| FillValue::missing(own.dtype))
}

fn check(path: &str, found: &VariableSchema, config: &Config) -> Result<()> {
    let mismatch = |why: &str, expected: String, found: String| {
        Err(Error::new(ErrorKind::SchemaMismatch, why)
            .with("variable", path)
            .with("expected", expected)
            .with("found", found))
    };
    let Some(expected) = config.schema.variable(path) else {
        let known = config.schema.names();
        return mismatch(
            "the collection has no such variable; add it first, or leave it out",
            known.join(", "),
            path.to_owned(),
        );
    };
    if expected.dtype != found.dtype {
        return mismatch(
            "the variable has another type in the collection",
            expected.dtype.to_string(),
            found.dtype.to_string(),
        );
    }
    if expected.dimensions != found.dimensions {
        return mismatch(
            "the variable has other dimensions in the collection",
            format!("({})", expected.dimensions.join(", ")),
            format!("({})", found.dimensions.join(", ")),
        );
    }
    Ok(())
}

/// The sizes of the dimensions of a dataset and of its groups.
pub(crate) fn given_sizes(data: &Dataset) -> HashMap<String, usize> {
    let mut sizes = HashMap::new();
    for (path, schema) in data.schema().paths() {
        if let Some(variable) = data.variable(&path) {
            let shape = variable.data().shape().iter().copied();
            sizes.extend(schema.dimensions.iter().cloned().zip(shape));
        }
    }
    sizes
}

/// Provides a variable of a dataset that is being built; none leaves it out.
pub(crate) type Source<'a> = dyn Fn(&str, &VariableSchema) -> Result<Option<Variable>> + 'a;

/// Builds a dataset of the variables of `schema`.
pub(crate) fn build(schema: &Schema, prefix: &str, source: &Source<'_>) -> Result<Dataset> {
    let mut built = Dataset::new(Vec::new(), schema.attributes.clone())?;
    for (name, own) in &schema.variables {
        if let Some(variable) = source(&format!("{prefix}{name}"), own)? {
            built.add(variable)?;
        }
    }
    for (name, group) in &schema.groups {
        let below = build(group, &format!("{prefix}{name}/"), source)?;
        if !below.schema().paths().is_empty() {
            built.add_group(name, below)?;
        }
    }
    Ok(built.with_schema_of(schema))
}

/// A variable with its fill value in every item.
pub(crate) fn fill(
    path: &str,
    schema: &VariableSchema,
    size: &dyn Fn(&str) -> Option<usize>,
) -> Result<Variable> {
    full(path, schema, schema.fill.as_ref(), size)
}

fn full(
    path: &str,
    schema: &VariableSchema,
    item: Option<&FillValue>,
    size: &dyn Fn(&str) -> Option<usize>,
) -> Result<Variable> {
    let shape = schema.dimensions.iter().map(|name| {
        size(name).ok_or_else(|| {
            Error::invalid(
                "a variable is missing, and cannot be filled since the size of its dimension is \
                 not known; give the variable",
            )
            .with("variable", path)
            .with("dimension", name)
        })
    });
    let data = Array::full(schema.dtype, shape.collect::<Result<_>>()?, item)
        .map_err(|error| error.with("variable", path))?;
    Variable::new(schema.clone(), data)
}

/// Builds a dataset of the variables of `schema`: each from the first dataset that has it, else
/// filled if `fills` is true for it, else left out. `size` returns the sizes of dimensions.
///
/// # Errors
/// The same as [`conform`].
pub(crate) fn merged(
    schema: &Schema,
    from: &[&Dataset],
    fills: &dyn Fn(&VariableSchema) -> bool,
    size: &dyn Fn(&str) -> Option<usize>,
) -> Result<Dataset> {
    let found = |path: &str| from.iter().find_map(|data| data.variable(path));
    build(schema, "", &|path, own| match found(path) {
        Some(found) => found.with_schema(own.clone()).map(Some),
        None if fills(own) => fill(path, own, size).map(Some),
        None => Ok(None),
    })
}
