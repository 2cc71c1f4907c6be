//! Views: variables over a collection, which is not changed and may be in another store.
//!
//! A view is itself a collection, of the variables that it adds or overrides, with the partitions,
//! axis and layout of its base. It has its own log, and is committed like any collection. Each
//! partition keeps a copy of the base's axis. A read through the view returns the variables of
//! both.
//!
//! - `agree`: checks that both have the same rows. `sync`: brings a view in line with its base.
//!   `condition`: the partitions of the base that a view covers, in the text that ZCollection
//!   reads.

mod agree;
mod condition;
mod sync;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub(crate) use agree::{OTHER_ROWS, out_of_sync};
use partita_core::store::{repository_url, url_of_repository};
use partita_core::{Error, ErrorKind, Predicate, Result, Store, StoreOptions};
use uuid::Uuid;

use crate::alter::{add, check_override};
use crate::backend::{self, Backend};
use crate::collection::Collection;
use crate::commit::{Plain, check_repository_layout};
use crate::copy::CopyOptions;
use crate::dataset::Schema;
use crate::layout::{Config, Layout, Reference, ViewConfig, view_key};
use crate::options::Work;
use crate::repository::Repository;

/// Variables over a collection. A view is read, mapped and updated like a [`Collection`] with the
/// variables of both; rows are changed in the base alone. Clones are cheap.
#[derive(Clone)]
pub struct View {
    collection: Collection,
}

/// Options of creating and syncing a view.
#[derive(Debug, Clone, Default)]
pub struct ViewOptions {
    /// Selects the partitions of the base that the view covers. The columns are the fields of the
    /// keys.
    pub predicate: Option<Predicate>,
    /// The idempotency key of the commit of a sync: a commit with the same key is not made twice.
    pub key: Option<String>,
    /// Receives progress in partitions.
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
    /// The keys of the documents that describe a view: a directory with one of them is a view.
    pub const DOCUMENTS: [&'static str; 2] = [view_key(Layout::ZarrV2), view_key(Layout::ZarrV3)];

    /// Creates a view at `url` over a collection, with the variables of `schema`, which are filled
    /// with their fill values. They must have the partitioned dimension and otherwise dimensions of
    /// the base; one with the name of a variable of the base overrides it. Without a predicate the
    /// view covers all partitions, including later ones.
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
        let backend = Arc::new(Repository::open_or_create(store).await?);
        Self::make(backend, base, config, commit, options).await
    }

    /// Creates a view at the root of a store.
    ///
    /// # Errors
    /// The same as [`View::create`].
    pub async fn create_in(
        store: Store,
        base: &Collection,
        schema: &Schema,
        options: &ViewOptions,
    ) -> Result<Self> {
        store.check_writable()?;
        let (config, commit) = new_view(store.url(), base, schema, options).await?;
        Self::make(Plain::in_store(store), base, config, commit, options).await
    }

    async fn make(
        backend: Arc<dyn Backend>,
        base: &Collection,
        config: Config,
        commit: String,
        options: &ViewOptions,
    ) -> Result<Self> {
        backend.create(&config, commit).await?;
        let collection = Collection::open_backend(backend, Some(base.clone())).await?;
        let view = Self { collection };
        view.fill(&options.work).await?;
        Ok(view)
    }

    /// Opens the view at `url`. Its base is opened at the stored location, or, if there is none, at
    /// the same location relative to the view, for the case that both were moved together. The
    /// options of the store also apply to the base if it is in a store of the same kind.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no view, or its base does not exist any more;
    /// [`Corrupt`](ErrorKind::Corrupt) if its document cannot be read;
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if the document contains a condition that is
    /// Python code.
    pub async fn open(url: &str, store: &StoreOptions) -> Result<Self> {
        let backend = backend::open(url, store).await?;
        let config = backend.view().await?;
        let Some(view) = &config.view else { return Err(no_view(backend.url())) };
        let base = find_base(view, backend.url(), store).await?;
        Self::open_at(backend, &base).await
    }

    /// Opens the view at `url` over this base, instead of the stored one.
    ///
    /// # Errors
    /// The same as [`View::open`]; [`InvalidArgument`](ErrorKind::InvalidArgument) if this
    /// collection cannot be the base of the view.
    pub async fn open_over(url: &str, base: &Collection, store: &StoreOptions) -> Result<Self> {
        Self::open_at(backend::open(url, store).await?, base).await
    }

    /// Opens the view at the root of a store over this base.
    ///
    /// # Errors
    /// The same as [`View::open_over`].
    pub async fn open_over_in(store: Store, base: &Collection) -> Result<Self> {
        Self::open_at(Plain::in_store(store), base).await
    }

    async fn open_at(backend: Arc<dyn Backend>, base: &Collection) -> Result<Self> {
        check_base(base)?;
        let collection = Collection::open_backend(backend, Some(base.clone())).await?;
        Ok(Self { collection })
    }

    /// True if the store options of a view also apply to its base, because both are in stores of
    /// the same kind.
    #[must_use]
    pub fn shares_options(view: &str, base: &str) -> bool {
        scheme(view) == scheme(base)
    }

    /// Converts a collection that is a view.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) if it is not a view.
    pub fn of(collection: Collection) -> Result<Self> {
        match collection.base() {
            Some(_) => Ok(Self { collection }),
            None => {
                Err(Error::invalid("this collection is not a view").with("store", collection.url()))
            }
        }
    }

    /// The base of the view.
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
    /// The configuration of a copy of this view at `url`, over another base if one is given.
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
    /// The paths of the variables that a view stores itself; for another collection, of all its
    /// variables.
    ///
    /// # Errors
    /// The same as [`Collection::open`].
    pub async fn own_variables(&self) -> Result<Vec<String>> {
        Ok(self.snapshot().await?.config.schema.names())
    }
}

/// The configuration of a new view at `url`, and the id of its commit.
async fn new_view(
    url: &str,
    base: &Collection,
    schema: &Schema,
    options: &ViewOptions,
) -> Result<(Config, String)> {
    check_base(base)?;
    let under = base.snapshot().await?;
    // A condition that does not name key fields is refused before anything is written.
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
    base.config().check_no_view("the base of a view must be a collection, not another view")
}

fn no_view(url: &str) -> Error {
    Error::new(ErrorKind::NotFound, "there is no view here").with("store", url)
}

/// Opens the base of a view for reading.
async fn find_base(view: &ViewConfig, url: &str, options: &StoreOptions) -> Result<Collection> {
    let stored = match options.client() {
        // With a given file system, locations are paths in it.
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
    Err(Error::new(
        kind,
        "the base of the view is not at the location that the view stores; open it with its base",
    )
    .with("base", &view.base.location)
    .with("view", url)
    .caused_by(error))
}

/// The kind of a URL's store, and its bucket or host.
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
