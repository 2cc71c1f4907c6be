//! Reading partitions into one dataset.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use partita_core::{Error, ErrorKind, Result, Store};

use crate::collection::Partition;
use crate::dataset::{Array, Dataset, Schema, Variable, VariableSchema};
use crate::layout::{
    Config, OpenGroup, Part, StoredArray, immutable_group, open_group, read_variables,
};
use crate::options::ReadOptions;

/// Partitions opened at once.
const AT_ONCE: usize = 32;

/// The arrays of a group that hold the variables asked for, by their paths.
type Arrays = HashMap<String, Arc<StoredArray>>;

pub(crate) async fn read(
    store: &Store,
    config: &Config,
    partitions: &[Partition],
    options: &ReadOptions,
) -> Result<Dataset> {
    let schema = selected(&config.schema, options.variables.as_deref())?;
    let dimension = config.dimension.as_str();
    let partitioned = schema.filtered(&|_, variable| variable.axis(dimension).is_some());
    let immutable = schema.filtered(&|_, variable| variable.axis(dimension).is_none());
    let open = async |partition: &Partition| {
        options.cancel.check()?;
        let opened = open_partition(store, config, &partitioned, partition).await;
        opened.map_err(|error| error.with("partition", &partition.path))
    };
    let opened: Vec<(Arrays, usize)> = match partitioned.paths().is_empty() {
        true => Vec::new(),
        false => stream::iter(partitions).map(open).buffered(AT_ONCE).try_collect().await?,
    };
    let shared = match immutable.paths().is_empty() {
        true => None,
        false => {
            open_group(store, config.layout, immutable_group(config.layout), &immutable).await?
        }
    };
    let shared = by_path(shared.unwrap_or_default());
    let sizes = sizes(config, opened.iter().map(|(arrays, _)| arrays).chain([&shared]));
    let parts_of = |path: &str, variable: &VariableSchema| -> Vec<Part> {
        let missing = |rows: usize| {
            let size = |name: &String| match name.as_str() == dimension {
                true => rows,
                false => sizes.get(name).copied().unwrap_or(0),
            };
            Part::Missing { shape: variable.dimensions.iter().map(size).collect() }
        };
        let stored =
            |array: &Arc<StoredArray>| Part::Stored { array: Arc::clone(array), rows: None };
        if variable.axis(dimension).is_none() {
            return vec![shared.get(path).map_or_else(|| missing(0), stored)];
        }
        let parts = opened.iter();
        let parts =
            parts.map(|(arrays, rows)| arrays.get(path).map_or_else(|| missing(*rows), stored));
        let parts: Vec<Part> = parts.collect();
        if parts.is_empty() { vec![missing(0)] } else { parts }
    };
    let paths = schema.paths();
    let variables =
        paths.iter().map(|(path, variable)| ((*variable).clone(), parts_of(path, variable)));
    let (progress, cancel) = (options.progress.as_ref(), &options.cancel);
    let arrays = read_variables(store, variables.collect(), dimension, progress, cancel).await?;
    let mut arrays: HashMap<String, Array> =
        paths.into_iter().map(|(path, _)| path).zip(arrays).collect();
    assemble(&schema, "", &mut arrays)
}

/// The schema with only the variables asked for.
fn selected(schema: &Schema, variables: Option<&[String]>) -> Result<Schema> {
    let Some(wanted) = variables else { return Ok(schema.clone()) };
    if let Some(unknown) = wanted.iter().find(|path| schema.variable(path).is_none()) {
        let known: Vec<String> = schema.paths().into_iter().map(|(path, _)| path).collect();
        return Err(Error::new(ErrorKind::NotFound, "the collection has no such variable")
            .with("variable", unknown)
            .with("variables", known.join(", ")));
    }
    Ok(schema.filtered(&|path, _| wanted.iter().any(|wanted| wanted == path)))
}

/// The arrays of a partition, and how many rows it has.
async fn open_partition(
    store: &Store,
    config: &Config,
    schema: &Schema,
    partition: &Partition,
) -> Result<(Arrays, usize)> {
    let opened = open_group(store, config.layout, &partition.path, schema).await?;
    let arrays = by_path(opened.unwrap_or_default());
    let dimension = config.dimension.as_str();
    let mut rows = None;
    for (path, array) in &arrays {
        let size = array.size(dimension);
        if rows.is_some() && size.is_some() && rows != size {
            return Err(Error::corrupt("the variables of the partition have different lengths")
                .with("variable", path));
        }
        rows = rows.or(size);
    }
    if let Some(rows) = rows {
        return Ok((arrays, rows));
    }
    // None of the variables asked for is there; those that partition always are.
    let keys = config.partitioning.variables();
    let keys = config.schema.filtered(&|path, _| keys.contains(&path));
    let opened = open_group(store, config.layout, &partition.path, &keys).await?;
    let rows = by_path(opened.unwrap_or_default()).values().find_map(|array| array.size(dimension));
    let rows = rows.ok_or_else(|| {
        Error::corrupt(
            "the partition is not complete: its writer died, or it was removed while it was read",
        )
    })?;
    Ok((arrays, rows))
}

fn by_path(group: OpenGroup) -> Arrays {
    let stored = |(path, array): (String, Option<StoredArray>)| Some((path, Arc::new(array?)));
    group.into_iter().filter_map(stored).collect()
}

/// The sizes of all dimensions, as far as they are known.
fn sizes<'a>(config: &Config, groups: impl Iterator<Item = &'a Arrays>) -> HashMap<String, usize> {
    let mut sizes = HashMap::new();
    let mut schemas = vec![&config.schema];
    while let Some(schema) = schemas.pop() {
        let known =
            |dimension: &crate::dataset::Dimension| Some((dimension.name.clone(), dimension.size?));
        sizes.extend(schema.dimensions.iter().filter_map(known));
        schemas.extend(schema.groups.values());
    }
    for array in groups.flat_map(HashMap::values) {
        sizes.extend(array.schema.dimensions.iter().cloned().zip(array.shape.iter().copied()));
    }
    sizes
}

/// The dataset of a schema, with the arrays of its variables.
fn assemble(schema: &Schema, prefix: &str, arrays: &mut HashMap<String, Array>) -> Result<Dataset> {
    let mut dataset = Dataset::new(Vec::new(), schema.attributes.clone())?;
    for (name, variable) in &schema.variables {
        let array = arrays.remove(&format!("{prefix}{name}"));
        let array = array.ok_or_else(|| Error::invalid("a variable was not read"))?;
        dataset.add(Variable::new(variable.clone(), array)?)?;
    }
    for (name, group) in &schema.groups {
        dataset.add_group(name, assemble(group, &format!("{prefix}{name}/"), arrays)?)?;
    }
    Ok(dataset.with_schema_of(schema))
}
