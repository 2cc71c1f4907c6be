//! Variables: arrays with a name and named dimensions.

use std::ops::Range;

use partita_core::{Error, ErrorKind, Result};

use super::{Array, VariableSchema};

/// An array with the name, dimensions, fill value, attributes and codecs of its schema. Clones
/// share the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    schema: VariableSchema,
    data: Array,
}

impl Variable {
    /// A variable of `schema` with the data `data`.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch), with the variable, if the type or the number
    /// of dimensions differs.
    pub fn new(schema: VariableSchema, data: Array) -> Result<Self> {
        let mismatch = |what: &str, expected: String, found: String| {
            Error::new(ErrorKind::SchemaMismatch, format!("the data have another {what}"))
                .with("variable", &schema.name)
                .with("expected", expected)
                .with("found", found)
        };
        if schema.dtype != data.dtype() {
            let (expected, found) = (schema.dtype.to_string(), data.dtype().to_string());
            return Err(mismatch("type", expected, found));
        }
        if schema.dimensions.len() != data.shape().len() {
            let expected = format!("({})", schema.dimensions.join(", "));
            return Err(mismatch("number of dimensions", expected, format!("{:?}", data.shape())));
        }
        Ok(Self { schema, data })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.schema.name
    }

    /// The schema: everything but the data.
    #[must_use]
    pub fn schema(&self) -> &VariableSchema {
        &self.schema
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &Array {
        &self.data
    }

    /// The number of items along a dimension; none if the variable does not have it.
    #[must_use]
    pub fn size(&self, dimension: &str) -> Option<usize> {
        self.data.shape().get(self.schema.axis(dimension)?).copied()
    }

    /// The same data under another schema.
    ///
    /// # Errors
    /// The same as [`Variable::new`].
    pub fn with_schema(&self, schema: VariableSchema) -> Result<Self> {
        Self::new(schema, self.data.clone())
    }

    /// The items in the ranges along a dimension, concatenated; the whole variable if it does not
    /// have the dimension.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if a range reaches beyond the variable.
    pub fn take_ranges(&self, dimension: &str, ranges: &[Range<usize>]) -> Result<Self> {
        let Some(axis) = self.schema.axis(dimension) else { return Ok(self.clone()) };
        let data =
            self.data.take_ranges(axis, ranges).map_err(|e| e.with("variable", self.name()))?;
        Ok(Self { schema: self.schema.clone(), data })
    }

    /// Concatenates variables along a dimension; returns the first one if they do not have it.
    ///
    /// # Errors
    /// [`SchemaMismatch`](ErrorKind::SchemaMismatch) if types or other dimensions differ.
    pub fn concat(variables: &[&Self], dimension: &str) -> Result<Self> {
        let first = *variables
            .first()
            .ok_or_else(|| Error::invalid("there are no variables to concatenate"))?;
        let Some(axis) = first.schema.axis(dimension) else { return Ok(first.clone()) };
        let arrays: Vec<&Array> = variables.iter().map(|variable| &variable.data).collect();
        let data = Array::concat(&arrays, axis).map_err(|e| e.with("variable", first.name()))?;
        Ok(Self { schema: first.schema.clone(), data })
    }
}
