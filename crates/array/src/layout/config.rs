//! What a collection is, whatever its layout.

use indexmap::IndexMap;
use partita_core::{Error, ErrorKind, Result};

use super::view::ViewConfig;
use crate::dataset::{DType, Schema};
use crate::json::{Attributes, Json};
use crate::partitioning::{Digits, Partitioning};

/// The generation of Zarr, and with it of ZCollection, in which a collection is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Zarr v2 and `.zcollection`: what every released ZCollection reads and writes.
    #[default]
    ZarrV2,
    /// Zarr v3 and `_zcollection.json`: nested groups and sharding.
    ZarrV3,
}

impl Layout {
    /// How many digits a year has in paths.
    #[must_use]
    pub fn digits(self) -> Digits {
        match self {
            Self::ZarrV2 => Digits::Two,
            Self::ZarrV3 => Digits::Four,
        }
    }
}

/// What a collection is: schema, axis, partitioning.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How it is stored.
    pub layout: Layout,
    /// The variable along which the collection grows. If another library wrote a document in the
    /// Zarr v3 layout, which names a dimension alone, and no variable stands out, the name of that.
    pub axis: String,
    /// The dimension that is cut into partitions.
    pub dimension: String,
    /// The rule that maps rows to partitions.
    pub partitioning: Partitioning,
    /// The variables and their attributes.
    pub schema: Schema,
    /// True if the Zarr v3 layout keeps a list of the partitions.
    pub catalog: bool,
    /// The version that the unreleased line of 2025 wrote. Such a collection is read only.
    pub version: Option<String>,
    /// The id of the commit that wrote the document; none if another library wrote it.
    pub commit: Option<String>,
    /// The variables of which statistics are kept, beside the axis.
    pub statistics: Vec<String>,
    /// What else the document of the Zarr v3 layout holds.
    pub extras: Option<Json>,
    /// Of a view, what it is laid over. Its schema has the variables of the view alone.
    pub view: Option<ViewConfig>,
}

impl Config {
    /// A collection of `schema`, growing along the variable `axis`.
    ///
    /// # Errors
    /// As [`Config::check`].
    pub fn new(
        layout: Layout,
        axis: &str,
        partitioning: Partitioning,
        mut schema: Schema,
    ) -> Result<Self> {
        let variable = schema.variables.get(axis).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the axis is no variable of the dataset")
                .with("axis", axis)
        })?;
        let dimension = match variable.dimensions.as_slice() {
            [dimension] => dimension.clone(),
            _ => {
                return Err(Error::invalid("the axis must have one dimension").with("axis", axis));
            }
        };
        schema.share_dimensions(&dimension);
        let config = Self {
            layout,
            axis: axis.to_owned(),
            dimension,
            partitioning,
            schema,
            catalog: false,
            version: None,
            commit: None,
            statistics: Vec::new(),
            extras: None,
            view: None,
        };
        config.check()?;
        Ok(config)
    }

    /// What the document of a view says. Axis and partitioning are those of the base, which
    /// [`Config::over`] adds.
    pub(super) fn of_view(
        layout: Layout,
        schema: Schema,
        view: ViewConfig,
        own: Own,
    ) -> Result<Self> {
        schema
            .check()
            .map_err(|error| Error::corrupt("the view contradicts itself").caused_by(error))?;
        let partitioning = Partitioning::Sequence { variables: Vec::new() };
        Ok(Self {
            layout,
            axis: String::new(),
            dimension: String::new(),
            partitioning,
            schema,
            catalog: false,
            version: None,
            commit: own.commit,
            statistics: own.statistics,
            extras: None,
            view: Some(view),
        })
    }

    /// A view without variables.
    pub(crate) fn new_view(
        layout: Layout,
        attributes: Attributes,
        view: ViewConfig,
        commit: String,
    ) -> Result<Self> {
        let own = Own { commit: Some(commit), ..Own::default() };
        Self::of_view(layout, Schema { attributes, ..Schema::default() }, view, own)
    }

    /// The view over a collection: with its axis, partitioning and dimensions.
    pub(crate) fn over(mut self, base: &Self) -> Result<Self> {
        if self.layout != base.layout {
            return Err(Error::invalid(
                "a view is stored in the layout of its base, and this is not the base",
            ));
        }
        self.axis.clone_from(&base.axis);
        self.dimension.clone_from(&base.dimension);
        self.partitioning = base.partitioning.clone();
        self.schema.take_dimensions(&base.schema);
        Ok(self)
    }

    /// What is read through the view: its variables, and those of the base that it does not
    /// override.
    pub(crate) fn laid_over(&self, base: &Self) -> Self {
        Self { schema: base.schema.overlaid(&self.schema), ..self.clone() }
    }

    /// Refuses what is not done through a view.
    pub(crate) fn check_no_view(&self, why: &str) -> Result<()> {
        match self.view {
            Some(_) => Err(Error::invalid(why)),
            None => Ok(()),
        }
    }

    /// Checks that the schema can be stored and that the variables of the partitioning are in it.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) or [`NotFound`](ErrorKind::NotFound), with
    /// the variable's name.
    pub fn check(&self) -> Result<()> {
        self.schema.check()?;
        // Rows of a view are those of its base, and so is what partitions them.
        if self.view.is_none() {
            self.partitioning.check(&self.schema, &self.dimension)?;
        }
        if self.layout == Layout::ZarrV2
            && let Some(group) = self.schema.groups.keys().next()
        {
            return Err(Error::invalid(
                "the Zarr v2 layout has no nested groups; create the collection in Zarr v3",
            )
            .with("group", group));
        }
        match self.statistics.iter().find(|path| !self.can_summarise(path)) {
            None => Ok(()),
            Some(path) => Err(Error::invalid(
                "statistics are kept of variables that have the partitioned dimension alone, and \
                 values that can be compared",
            )
            .with("variable", path)),
        }
    }

    /// The variable along which rows are ordered, if there is one: that of the axis, or in its place
    /// the one of which partitions are made, if that is a time, or the only time along the
    /// partitioned dimension.
    #[must_use]
    pub fn axis_variable(&self) -> Option<String> {
        let along = |name: &str| {
            let variable = self.schema.variables.get(name)?;
            (variable.dimensions == [self.dimension.as_str()]).then_some(variable)
        };
        if along(&self.axis).is_some() {
            return Some(self.axis.clone());
        }
        if let Partitioning::Date { variable, .. } = &self.partitioning {
            return Some(variable.clone());
        }
        let is_time = |name: &&String| {
            along(name).is_some_and(|variable| matches!(variable.dtype, DType::DateTime(..)))
        };
        let mut times = self.schema.variables.keys().filter(is_time);
        match (times.next(), times.next()) {
            (Some(only), None) => Some(only.clone()),
            _ => None,
        }
    }

    /// The variable that tells rows apart: that along which they are ordered, or else the first of
    /// those by which they are partitioned.
    #[must_use]
    pub fn rows_variable(&self) -> Option<String> {
        let partitioning = || self.partitioning.variables().first().map(|name| (*name).to_owned());
        self.axis_variable().or_else(partitioning)
    }

    /// The variables that are cut into partitions.
    #[must_use]
    pub fn partitioned(&self) -> Schema {
        self.schema.filtered(&|_, variable| variable.axis(&self.dimension).is_some())
    }

    /// The variables that are the same for all partitions.
    #[must_use]
    pub fn immutable(&self) -> Schema {
        self.schema.filtered(&|_, variable| variable.axis(&self.dimension).is_none())
    }
}

/// The member of the document in which Partita keeps what is its own.
pub(super) const OWN: &str = "partita";

/// What is Partita's own, out of its member and into it.
#[derive(Default)]
pub(super) struct Own {
    pub commit: Option<String>,
    /// The variable of the axis, where the document names the dimension alone.
    pub axis: Option<String>,
    pub statistics: Vec<String>,
}

impl Own {
    pub fn decode(own: Option<&Json>) -> Self {
        let text = |json: &Json| json.as_text().map(str::to_owned);
        let member = |name: &str| own.and_then(|own| own.get(name));
        let statistics = member("statistics").and_then(Json::as_list).unwrap_or_default();
        Self {
            commit: member("commit").and_then(text),
            axis: member("axis").and_then(text),
            statistics: statistics.iter().filter_map(text).collect(),
        }
    }

    pub fn encode(config: &Config) -> Option<Json> {
        let commit = config.commit.as_deref().map(|commit| ("commit", commit.into()));
        let is_said = config.layout == Layout::ZarrV2 || config.view.is_some();
        let axis = (!is_said && config.axis != config.dimension)
            .then(|| ("axis", config.axis.as_str().into()));
        let statistics = (!config.statistics.is_empty())
            .then(|| ("statistics", Json::texts(&config.statistics)));
        let members = commit.into_iter().chain(axis).chain(statistics);
        let members: IndexMap<String, Json> =
            members.map(|(name, json)| (name.to_owned(), json)).collect();
        (!members.is_empty()).then_some(Json::Map(members))
    }
}

/// Reads values out of a document, with errors that say which is missing.
pub(super) struct Document<'a>(pub &'a Json);

impl<'a> Document<'a> {
    pub fn get(&self, name: &'static str) -> Result<&'a Json> {
        self.0.get(name).ok_or_else(|| damaged(name))
    }

    pub fn text(&self, name: &'static str) -> Result<&'a str> {
        self.get(name)?.as_text().ok_or_else(|| damaged(name))
    }

    pub fn list(&self, name: &'static str) -> Result<&'a [Json]> {
        self.get(name)?.as_list().ok_or_else(|| damaged(name))
    }

    pub fn texts(&self, name: &'static str) -> Result<Vec<String>> {
        let text = |json: &Json| json.as_text().map(str::to_owned).ok_or_else(|| damaged(name));
        self.list(name)?.iter().map(text).collect()
    }

    pub fn sizes(&self, name: &'static str) -> Result<Vec<usize>> {
        let size = |json: &Json| size_of(json).ok_or_else(|| damaged(name));
        self.list(name)?.iter().map(size).collect()
    }

    /// An integer, or `default` where there is none.
    pub fn int_or<T: TryFrom<i128>>(&self, name: &'static str, default: T) -> Result<T> {
        match self.0.get(name) {
            None | Some(Json::Null) => Ok(default),
            Some(json) => {
                json.as_int().and_then(|value| T::try_from(value).ok()).ok_or_else(|| damaged(name))
            }
        }
    }
}

/// A number of items or bytes.
pub(super) fn size_of(json: &Json) -> Option<usize> {
    json.as_int().and_then(|value| usize::try_from(value).ok())
}

pub(super) fn damaged(name: &str) -> Error {
    Error::corrupt("a metadata document lacks a value, or has it in another form")
        .with("value", name)
}
