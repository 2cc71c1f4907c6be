//! The configuration of a collection, independent of its layout.

use indexmap::IndexMap;
use partita_core::{Error, ErrorKind, Result};

use super::view::ViewConfig;
use crate::dataset::{DType, Schema};
use crate::encoded_time::EncodedTime;
use crate::json::{Attributes, Json};
use crate::partitioning::{Digits, Partitioning};

/// The layout in which a collection is stored: a version of Zarr, and with it a generation of
/// ZCollection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Zarr v2 and `.zcollection`, which every released ZCollection reads and writes.
    #[default]
    ZarrV2,
    /// Zarr v3 and `_zcollection.json`, with nested groups and sharding.
    ZarrV3,
}

impl Layout {
    /// The number of digits of the numbers in paths.
    #[must_use]
    pub fn digits(self) -> Digits {
        match self {
            Self::ZarrV2 => Digits::Two,
            Self::ZarrV3 => Digits::Four,
        }
    }
}

/// The configuration of a collection: schema, axis, partitioning.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The layout in which it is stored.
    pub layout: Layout,
    /// The variable along which the collection grows. In a Zarr v3 document of another library,
    /// which names only a dimension, it is the name of that dimension if the variable cannot be
    /// told.
    pub axis: String,
    /// The dimension along which rows are partitioned.
    pub dimension: String,
    /// The mapping of rows to partitions.
    pub partitioning: Partitioning,
    /// The variables and their attributes.
    pub schema: Schema,
    /// True if the Zarr v3 layout keeps a catalog of the partitions.
    pub catalog: bool,
    /// The version of a document that the unreleased line of 2025 wrote. Such a collection is read
    /// only.
    pub version: Option<String>,
    /// The id of the commit that wrote the document; none if another library wrote it.
    pub commit: Option<String>,
    /// The variables, besides the axis, of which statistics are kept.
    pub statistics: Vec<String>,
    /// Other members of the document in the Zarr v3 layout, which are kept.
    pub extras: Option<Json>,
    /// For a view, the description of its base. The schema then has only the variables of the view.
    pub view: Option<ViewConfig>,
}

impl Config {
    /// The configuration of a collection of `schema` that grows along the variable `axis`.
    ///
    /// # Errors
    /// The same as [`Config::check`].
    pub fn new(
        layout: Layout,
        axis: &str,
        partitioning: Partitioning,
        mut schema: Schema,
    ) -> Result<Self> {
        let variable = schema.variables.get(axis).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the axis is not a variable of the dataset")
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

    /// The configuration of a view from its document. It lacks axis and partitioning, which
    /// [`Config::over`] takes from the base.
    pub(super) fn of_view(
        layout: Layout,
        schema: Schema,
        view: ViewConfig,
        own: OwnMembers,
    ) -> Result<Self> {
        schema.check().map_err(|error| {
            Error::corrupt("the configuration of the view is inconsistent").caused_by(error)
        })?;
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

    /// The configuration of a view without variables.
    pub(crate) fn new_view(
        layout: Layout,
        attributes: Attributes,
        view: ViewConfig,
        commit: String,
    ) -> Result<Self> {
        let own = OwnMembers { commit: Some(commit), ..OwnMembers::default() };
        Self::of_view(layout, Schema { attributes, ..Schema::default() }, view, own)
    }

    /// Completes the configuration of a view with the axis, partitioning and dimensions of its
    /// base.
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

    /// The configuration of what is read through the view: its variables, and those of the base
    /// that it does not override.
    pub(crate) fn laid_over(&self, base: &Self) -> Self {
        Self { schema: base.schema.overlaid(&self.schema), ..self.clone() }
    }

    /// Refuses an operation that is not supported for views.
    pub(crate) fn check_no_view(&self, why: &str) -> Result<()> {
        match self.view {
            Some(_) => Err(Error::invalid(why)),
            None => Ok(()),
        }
    }

    /// Checks that the schema can be stored and that it has the variables of the partitioning.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) or [`NotFound`](ErrorKind::NotFound), with
    /// the variable's name.
    pub fn check(&self) -> Result<()> {
        self.schema.check()?;
        // A view has the rows and the partitioning of its base, so that its schema need not have
        // these variables.
        if self.view.is_none() {
            self.partitioning.check(&self.schema, &self.dimension)?;
            self.check_calendar()?;
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
                "statistics are only kept of variables that have the partitioned dimension alone, \
                 and values that can be compared",
            )
            .with("variable", path)),
        }
    }

    /// Refuses dates of other calendars in Zarr v2.
    fn check_calendar(&self) -> Result<()> {
        let Partitioning::Date { variable, .. } = &self.partitioning else { return Ok(()) };
        let counted = self.schema.variables.get(variable).and_then(EncodedTime::of);
        match (self.layout, counted) {
            (Layout::ZarrV2, Some(time)) => Err(Error::invalid(
                "ZCollection could not open a Zarr v2 collection that is partitioned by dates of \
                 numbers; create it in Zarr v3",
            )
            .with("variable", variable)
            .with("calendar", time.calendar())),
            _ => Ok(()),
        }
    }

    /// The variable along which rows are ordered, if there is one: the axis; if that is not a
    /// variable, the variable that partitions, if it is a time; else the only time along the
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

    /// The variable that identifies rows: the one along which they are ordered, else the first one
    /// that partitions.
    #[must_use]
    pub fn rows_variable(&self) -> Option<String> {
        let partitioning = || self.partitioning.variables().first().map(|name| (*name).to_owned());
        self.axis_variable().or_else(partitioning)
    }

    /// The schema of the variables that have the partitioned dimension.
    #[must_use]
    pub fn partitioned(&self) -> Schema {
        self.schema.filtered(&|_, variable| variable.axis(&self.dimension).is_some())
    }

    /// The schema of the variables that are the same for all partitions.
    #[must_use]
    pub fn immutable(&self) -> Schema {
        self.schema.filtered(&|_, variable| variable.axis(&self.dimension).is_none())
    }
}

/// The member of the document that holds Partita's own values.
pub(super) const OWN: &str = "partita";

/// Partita's own values in the document.
#[derive(Default)]
pub(super) struct OwnMembers {
    pub commit: Option<String>,
    /// The variable of the axis, for a document that names only its dimension.
    pub axis: Option<String>,
    pub statistics: Vec<String>,
}

impl OwnMembers {
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

/// Reads members of a JSON document; errors name the missing one.
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

    /// An integer, or `default` if the member is missing or null.
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
    Error::corrupt("a metadata document lacks a member, or the member has an unexpected type")
        .with("value", name)
}
