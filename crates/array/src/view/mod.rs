//! Views: variables laid over a collection that is not changed, and that may be elsewhere.
//!
//! A view is a collection of its own, of the variables that it adds or overrides, with the
//! partitions, the axis and the layout of its base. It has a log, and is committed like any other.
//! Each partition keeps a copy of the axis that its base had. What is read through it are the
//! variables of both.
//!
//! - `agree`: whether both have the same rows. `sync`: making them have. `condition`: which
//!   partitions of the base a view covers, in the text that ZCollection reads.

mod agree;
mod condition;
mod sync;

use std::fmt;
use std::ops::Deref;

pub(crate) use agree::{OTHER_ROWS, out_of_sync};
use partita_core::store::{repository_url, url_of_repository};
use partita_core::{Error, ErrorKind, Predicate, Result, Store, StoreOptions};
use uuid::Uuid;

use crate::alter::{add, check_override};
use crate::collection::Collection;
use crate::commit::{Home, check_repository_layout};
use crate::copy::CopyOptions;
use crate::dataset::Schema;
use crate::layout::{Config, Layout, Reference, ViewConfig, view_key};
use crate::options::Work;
use crate::repository::Repository;

/// Variables laid over a collection. Read, mapped and updated as a [`Collection`], which has the
/// variables of both; rows are changed in the base alone. Clones are cheap.
#[derive(Clone)]
pub struct View {
    collection: Collection,
}

/// Which partitions of its base a view covers.
#[derive(Debug, Clone, Default)]
pub struct ViewOptions {
    /// Those for which this is true. The columns are the fields of the keys.
    pub predicate: Option<Predicate>,
    /// Of a sync, the caller's name for its commit: one that was made before is not made again.
    pub key: Option<String>,
    /// Told about partitions.
    pub work: Work,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Deref for View {
    type Target = Collection;

    fn deref(&self) -> &Collection {
        &self.collection
    }
}

impl View {
    /// The documents that say what a view is: a directory with one of them is a view.
    pub const DOCUMENTS: [&'static str; 2] = [view_key(Layout::ZarrV2), view_key(Layout::ZarrV3)];

    /// Makes a view at `url` over a collection, of the variables of `schema`, which are filled with
    /// their fill values. They need the partitioned dimension, and have dimensions of the base; one
    /// that has the name of a variable of the base is read in its place. Without a predicate the
    /// view covers all partitions, also those to come.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists);
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) or [`NotFound`](ErrorKind::NotFound), with
    /// the variable or its dimension; [`InvalidPredicate`](ErrorKind::InvalidPredicate);
    /// [`ReadOnly`](ErrorKind::ReadOnly).
    pub async fn create(
        url: &str,
        base: &Collection,
        schema: &Schema,
        options: &ViewOptions,
        store: &StoreOptions,
    ) -> Result<Self> {
        let Some(place) = repository_url(url) else {
            return Self::create_in(Store::open(url, store)?, base, schema, options).await;
        };
        let store = Store::open(place, store)?;
        store.check_writable()?;
        check_repository_layout(base.config().layout, url)?;
        let (config, commit) =
            new_view(&url_of_repository(store.url()), base, schema, options).await?;
        let home = Home::Repository(Repository::open_or_create(store).await?);
        Self::make(home, base, config, commit, options).await
    }

    /// Makes a view at the root of a store.
    ///
    /// # Errors
    /// As [`View::create`].
    pub async fn create_in(
        store: Store,
        base: &Collection,
        schema: &Schema,
        options: &ViewOptions,
    ) -> Result<Self> {
        store.check_writable()?;
        let (config, commit) = new_view(store.url(), base, schema, options).await?;
        Self::make(Home::Plain(store), base, config, commit, options).await
    }

    async fn make(
        home: Home,
        base: &Collection,
        config: Config,
        commit: String,
        options: &ViewOptions,
    ) -> Result<Self> {
        home.create(&config, commit).await?;
        let collection = Collection::open_home(home, Some(base.clone())).await?;
        let view = Self { collection };
        view.fill(&options.work).await?;
        Ok(view)
    }

    /// Opens the view at `url`. Its base is where the view says, or, if there is none, where it lies
    /// if both were moved together. Options of the store are taken for the base too, if that is in a
    /// store of the same kind.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no view, or its base is gone;
    /// [`Corrupt`](ErrorKind::Corrupt) if its document cannot be read;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if that holds a condition that is code.
    pub async fn open(url: &str, store: &StoreOptions) -> Result<Self> {
        let home = Home::open(url, store).await?;
        let config = home.view().await?;
        let Some(view) = &config.view else { return Err(no_view(&home)) };
        let base = find_base(view, home.url(), store).await?;
        Self::open_at(home, &base).await
    }

    /// Opens the view at `url` over this base, whatever the view says of it.
    ///
    /// # Errors
    /// As [`View::open`]; [`InvalidArgument`](ErrorKind::InvalidArgument) if that can be no base of
    /// the view.
    pub async fn open_over(url: &str, base: &Collection, store: &StoreOptions) -> Result<Self> {
        Self::open_at(Home::open(url, store).await?, base).await
    }

    /// Opens the view at the root of a store over this base.
    ///
    /// # Errors
    /// As [`View::open_over`].
    pub async fn open_over_in(store: Store, base: &Collection) -> Result<Self> {
        Self::open_at(Home::Plain(store), base).await
    }

    async fn open_at(home: Home, base: &Collection) -> Result<Self> {
        check_base(base)?;
        let collection = Collection::open_home(home, Some(base.clone())).await?;
        Ok(Self { collection })
    }

    /// True if the options with which a view is opened are those of its base too: both are in stores
    /// of the same kind.
    #[must_use]
    pub fn shares_options(view: &str, base: &str) -> bool {
        scheme(view) == scheme(base)
    }

    /// The view that a collection is.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if it is none.
    pub fn of(collection: Collection) -> Result<Self> {
        match collection.base() {
            Some(_) => Ok(Self { collection }),
            None => Err(Error::invalid("that is no view").with("store", collection.url())),
        }
    }

    /// The collection under the view.
    #[must_use]
    pub fn under(&self) -> &Collection {
        self.collection.base().unwrap_or(&self.collection)
    }

    /// The view as a collection.
    #[must_use]
    pub fn into_collection(self) -> Collection {
        self.collection
    }
}

impl ViewConfig {
    /// What a copy at `url` says, over another base if one is given.
    pub(crate) fn copied(
        &self,
        base: Option<&str>,
        url: &str,
        layout: Layout,
        options: &CopyOptions,
    ) -> Result<Self> {
        let filter = match &options.predicate {
            None => self.filter.clone(),
            Some(copied) => {
                let both = condition::stored(self)?.into_iter().chain([copied.clone()]);
                condition::text(&Predicate::And(both.collect()))?
            }
        };
        let home = Some(Reference::new(layout, url).location);
        let base = base.map_or_else(|| self.base.clone(), |url| Reference::new(layout, url));
        Ok(Self { base, home, filter })
    }
}

impl Collection {
    /// The variables that a view stores itself, by their paths; those of any other collection are
    /// all its own.
    ///
    /// # Errors
    /// As [`Collection::open`].
    pub async fn own_variables(&self) -> Result<Vec<String>> {
        Ok(self.snapshot().await?.config.schema.names())
    }
}

/// What a new view at `url` is, and the id of its commit.
async fn new_view(
    url: &str,
    base: &Collection,
    schema: &Schema,
    options: &ViewOptions,
) -> Result<(Config, String)> {
    check_base(base)?;
    let under = base.snapshot().await?;
    // A condition on what is no field shows before anything is written.
    under.partitions(options.predicate.as_ref()).await?;
    let layout = under.config.layout;
    let view = ViewConfig {
        base: Reference::new(layout, base.url()),
        home: Some(Reference::new(layout, url).location),
        filter: options.predicate.as_ref().map(condition::text).transpose()?.flatten(),
    };
    let commit = Uuid::new_v4().simple().to_string();
    let attributes = schema.attributes.clone();
    let config = Config::new_view(layout, attributes, view, commit.clone())?;
    let mut config = config.over(&under.config)?;
    for (path, variable) in schema.paths() {
        check_override(&under.config, &path).map_err(|error| error.with("variable", &path))?;
        let group = path.rsplit_once('/').map_or("", |(group, _)| group);
        config.schema.add_groups(&under.config.schema, group);
        add(&mut config, group, variable)?;
    }
    config.check()?;
    Ok((config, commit))
}

fn check_base(base: &Collection) -> Result<()> {
    base.config().check_no_view("a view is laid over a collection, not over another view")
}

fn no_view(home: &Home) -> Error {
    Error::new(ErrorKind::NotFound, "there is no view here").with("store", home.url())
}

/// Opens the base, for reading.
async fn find_base(view: &ViewConfig, url: &str, options: &StoreOptions) -> Result<Collection> {
    let stored = match options.client() {
        // Paths are in the file system that was handed in.
        Some(_) => Ok(view.base.location.trim_start_matches("file://").to_owned()),
        None => view.base.url(),
    };
    let anywhere = options.allows_remote_base()?;
    let open = async |target: &str| {
        if !anywhere && place(url) != place(target) {
            return Err(Error::invalid(
                "the view names a base in another store, which `allow_remote_base` rules out; open \
                 it with its base if that is trusted",
            ));
        }
        let same = View::shares_options(url, target);
        let options = if same { options.clone() } else { StoreOptions::new() };
        Collection::open(target, &options.read_only(true)).await
    };
    let opened = match &stored {
        Ok(target) => open(target).await,
        Err(_) => Err(Error::invalid("the base of the view has no URL")),
    };
    let error = match (opened, stored) {
        (Ok(base), _) => return Ok(base),
        (Err(_), Err(error)) | (Err(error), Ok(_)) => error,
    };
    if let Some(moved) = view.moved_base(url)
        && let Ok(base) = open(&moved).await
    {
        return Ok(base);
    }
    let kind = match error.kind() {
        ErrorKind::InvalidArgument => ErrorKind::NotFound,
        kind => kind,
    };
    Err(Error::new(kind, "the base of the view is not where the view says; open it with its base")
        .with("base", &view.base.location)
        .with("view", url)
        .caused_by(error))
}

/// The store that a URL is in: its kind, and the bucket or host.
fn place(url: &str) -> (&str, &str) {
    let plain = repository_url(url).unwrap_or(url);
    match (scheme(url), plain.split_once("://")) {
        ("", _) | (_, None) => ("", ""),
        (scheme, Some((_, rest))) => (scheme, rest.split('/').next().unwrap_or_default()),
    }
}

fn scheme(url: &str) -> &str {
    match repository_url(url).unwrap_or(url).split_once("://") {
        Some(("file", _)) | None => "",
        Some((scheme, _)) => scheme,
    }
}
