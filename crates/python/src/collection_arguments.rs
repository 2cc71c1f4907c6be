//! Arguments of operations on collections, as the Python package passes them.

use jiff::Timestamp;
use partita::Error;
use partita::array::dataset::FillValue;
use partita::array::layout::Layout;
use partita::array::merge::Tolerance;
use partita::array::{
    At, Depth, InsertOptions, MapOptions, Merge, MergeWith, Partitioning, Selection, Work,
};
use partita::partition::{CalendarUnit, Resolution};
use pyo3::prelude::*;

use crate::errors::to_python;
use crate::function::Function;
use crate::index::PySelection;
use crate::predicate::PyPredicate;
use crate::runtime::Watch;

pub(crate) fn work(watch: &Watch) -> Work {
    let mut work = Work { cancel: watch.cancel.clone(), ..Work::default() };
    if let Some(meter) = &watch.meter {
        work.progress = meter.sink();
    }
    work
}

pub(crate) fn predicate(given: Option<PyRef<'_, PyPredicate>>) -> Option<partita::Predicate> {
    given.map(|given| given.predicate())
}

pub(crate) fn chosen(given: Option<PyRef<'_, PySelection>>) -> Option<Selection> {
    given.map(|given| given.0.clone())
}

pub(crate) fn layout(zarr_format: u8) -> PyResult<Layout> {
    match zarr_format {
        2 => Ok(Layout::ZarrV2),
        3 => Ok(Layout::ZarrV3),
        other => {
            let error = Error::invalid("a collection is stored in Zarr format 2 or 3");
            Err(to_python(error.with("zarr_format", other)))
        }
    }
}

/// The partitioning of a collection: `date`, `sequence` or `grouped`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct PartitioningArguments {
    kind: String,
    variables: Vec<String>,
    resolution: Option<String>,
    size: Option<u64>,
    start: Option<i64>,
}

impl PartitioningArguments {
    pub(crate) fn partitioning(self) -> PyResult<Partitioning> {
        match (self.kind.as_str(), self.variables.as_slice()) {
            ("date", [variable]) => {
                let name = self.resolution.unwrap_or_default();
                let resolution = Resolution::from_code(&name).ok_or_else(|| {
                    let error =
                        Error::invalid("a resolution is year, month, day, hour, minute or second");
                    to_python(error.with("resolution", name))
                })?;
                Ok(Partitioning::date(variable, resolution))
            }
            ("sequence", variables) => Ok(Partitioning::sequence(variables)),
            ("grouped", variables) => Ok(Partitioning::grouped_sequence(
                variables,
                self.size.unwrap_or(0),
                self.start.unwrap_or(0),
            )),
            _ => Err(to_python(Error::invalid("a date partitions by one variable"))),
        }
    }
}

/// A merge: a strategy by name with its tolerance, which is a number and the code of its unit (or
/// none for steps of the axis), or a function; and the fill values of missing variables.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct MergeArguments {
    name: String,
    tolerance: Option<(u64, Option<String>)>,
    function: Option<Py<PyAny>>,
    fill: Vec<(String, Vec<u8>)>,
}

impl MergeArguments {
    /// The options of an insert, with the function to call.
    pub(crate) fn options(
        mut self,
        key: Option<String>,
        watch: &Watch,
    ) -> PyResult<(InsertOptions, Option<Function>)> {
        let fill = std::mem::take(&mut self.fill).into_iter();
        let fill = fill.map(|(path, item)| (path, FillValue::from_bytes(item))).collect();
        let (merge, function) = self.merge()?;
        Ok((InsertOptions { merge, fill, key, work: work(watch) }, function))
    }

    fn merge(self) -> PyResult<(MergeWith, Option<Function>)> {
        if let Some(function) = self.function {
            let function = Function::new(function);
            return Ok((MergeWith::Function(function.merge()), Some(function)));
        }
        let tolerance = self.tolerance.map(|(count, unit)| match unit {
            None => Ok(Tolerance::steps(count)),
            Some(code) => CalendarUnit::from_code(&code)
                .map(|unit| Tolerance::duration(count, unit))
                .ok_or_else(|| {
                    to_python(Error::invalid("the unit is not known").with("unit", code))
                }),
        });
        let tolerance = tolerance.transpose()?;
        let merge = match self.name.as_str() {
            "replace" => Merge::Replace,
            "concat" => Merge::Concat,
            "time_series" => Merge::TimeSeries { tolerance },
            "upsert" => Merge::Upsert { tolerance },
            other => {
                let error = Error::invalid("a merge is replace, concat, time_series or upsert");
                return Err(to_python(error.with("merge", other)));
            }
        };
        Ok((MergeWith::Strategy(merge), None))
    }
}

/// A version: the number of a commit, a time in microseconds, or a name.
#[derive(FromPyObject)]
pub(crate) struct StateArguments(Option<u64>, Option<i64>, Option<String>);

impl StateArguments {
    pub(crate) fn state(self) -> PyResult<At> {
        match self {
            Self(Some(number), ..) => Ok(At::Number(number)),
            Self(_, Some(time), _) => {
                Timestamp::from_microsecond(time).map(At::Time).map_err(|error| {
                    to_python(Error::invalid("the time is out of range").caused_by(error))
                })
            }
            Self(.., name) => Ok(At::Name(name.unwrap_or_default())),
        }
    }
}

/// The partitions to call a function with, and its options.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct MapArguments<'py> {
    predicate: Option<PyRef<'py, PyPredicate>>,
    paths: Option<Vec<String>>,
    chosen: Option<PyRef<'py, PySelection>>,
    variables: Option<Vec<String>>,
    partitions: usize,
    rows: usize,
    at_once: Option<usize>,
}

impl MapArguments<'_> {
    pub(crate) fn options(self, watch: &Watch) -> MapOptions {
        let depth = match (self.partitions, self.rows) {
            (0, 0) => Depth::None,
            (partitions, 0) => Depth::Partitions(partitions),
            (_, rows) => Depth::Rows(rows),
        };
        MapOptions {
            predicate: predicate(self.predicate),
            paths: self.paths,
            rows: chosen(self.chosen),
            variables: self.variables,
            depth,
            at_once: self.at_once,
            key: None,
            work: work(watch),
        }
    }
}
