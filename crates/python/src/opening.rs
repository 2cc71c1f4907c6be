//! Opening collections and views, and reopening them in a forked process.

use partita::array::{Collection, View};
use partita::{Error, StoreOptions};

/// The way in which a collection was opened.
#[derive(Clone)]
pub(crate) enum Opening {
    /// It is opened as a collection.
    Collection,
    /// It is opened as a view over its recorded base.
    View,
    /// It is opened as a view over the given collection.
    Over(String, StoreOptions),
}

impl Opening {
    /// Opens the collection.
    pub(crate) async fn open(
        &self,
        url: &str,
        options: &StoreOptions,
    ) -> Result<Collection, Error> {
        match self {
            Self::Collection => Collection::open(url, options).await,
            Self::View => Ok(View::open(url, options).await?.into_collection()),
            Self::Over(base, store) => {
                let base = Collection::open(base, store).await?;
                let view = View::open_over(url, &base, options).await?;
                Ok(view.into_collection())
            }
        }
    }
}
