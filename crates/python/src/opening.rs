//! How collections and views are opened, and opened again by a process that was forked.

use partita::array::{Collection, View};
use partita::{Error, StoreOptions};

/// How a collection is opened.
#[derive(Clone)]
pub(crate) enum Opening {
    /// As itself.
    Collection,
    /// As a view, over the base that it names.
    View,
    /// As a view, over the collection there.
    Over(String, StoreOptions),
}

impl Opening {
    /// Opens it.
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
