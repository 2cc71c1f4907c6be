//! Making a dataset fit the schema of a collection before any of it is written.

use std::collections::HashMap;

use partita_core::{Error, ErrorKind, Result};

use crate::dataset::{Array, Dataset, Schema, Variable, VariableSchema};
use crate::layout::Config;

/// The dataset with exactly the partitioned variables of the schema, in its order and with its
/// attributes, fill values and codecs; and the variables that are not partitioned, as far as they
/// are given. What is missing of the partitioned ones is filled.
///
/// `sizes` are those of the dimensions as they are stored.
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
) -> Result<(Dataset, Dataset)> {
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
    let partitioned = merged(&config.partitioned(), &[data], &|_| true, &size)?;
    let immutable = merged(&config.immutable(), &[data], &|_| false, &size)?;
    Ok((partitioned, immutable))
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

/// Where a dataset gets a variable from; none leaves it out.
pub(crate) type Source<'a> = dyn Fn(&str, &VariableSchema) -> Result<Option<Variable>> + 'a;

/// A dataset of the variables of `schema`.
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

pub(crate) fn fill(
    path: &str,
    schema: &VariableSchema,
    size: &dyn Fn(&str) -> Option<usize>,
) -> Result<Variable> {
    let shape = schema.dimensions.iter().map(|name| {
        size(name).ok_or_else(|| {
            Error::invalid(
                "a variable is missing, and cannot be filled since the size of its dimension is not \
                 known; give the variable",
            )
            .with("variable", path)
            .with("dimension", name)
        })
    });
    let data = Array::full(schema.dtype, shape.collect::<Result<_>>()?, schema.fill.as_ref())
        .map_err(|error| error.with("variable", path))?;
    Variable::new(schema.clone(), data)
}

/// A dataset of the variables of `schema`: each from the first dataset that has it, else filled if
/// `fills` says so, else left out. `size` says how large dimensions are.
///
/// # Errors
/// As [`conform`].
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
