//! Branches and tags of collections in Icechunk repositories.

use std::sync::Arc;

use partita_core::{At, Result};

use crate::collection::Collection;

impl Collection {
    /// The branch that reads are of and commits go to; none in a plain store, or where the
    /// collection was opened [as it was](Collection::at).
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.backend().repository().ok()?.branch()
    }

    /// The collection on another branch of the repository.
    ///
    /// # Errors
    /// [`NotFound`](partita_core::ErrorKind::NotFound) if there is no such branch, or no collection
    /// on it; [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the collection is in
    /// no repository.
    pub async fn on_branch(&self, name: &str) -> Result<Self> {
        let repository = self.backend().repository()?.on_branch(name).await?;
        Self::open_backend(Arc::new(repository), self.base().cloned()).await
    }

    /// The names of the branches, in order.
    ///
    /// # Errors
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) if the collection is in no
    /// repository.
    pub async fn branches(&self) -> Result<Vec<String>> {
        self.backend().repository()?.branches().await
    }

    /// The names of the tags, in order.
    ///
    /// # Errors
    /// As [`Collection::branches`].
    pub async fn tags(&self) -> Result<Vec<String>> {
        self.backend().repository()?.tags().await
    }

    /// Makes a branch that begins with a state; with the one that this handle reads if none is said.
    ///
    /// # Errors
    /// [`AlreadyExists`](partita_core::ErrorKind::AlreadyExists); as [`Collection::at`].
    pub async fn create_branch(&self, name: &str, at: Option<&At>) -> Result<()> {
        self.backend().repository()?.create_branch(name, at).await
    }

    /// Gives a state a name, for good; the one that this handle reads if none is said.
    ///
    /// # Errors
    /// [`AlreadyExists`](partita_core::ErrorKind::AlreadyExists); as [`Collection::at`].
    pub async fn create_tag(&self, name: &str, at: Option<&At>) -> Result<()> {
        self.backend().repository()?.create_tag(name, at).await
    }

    /// Removes a branch, and with it the states that nothing else names.
    ///
    /// # Errors
    /// [`NotFound`](partita_core::ErrorKind::NotFound);
    /// [`InvalidArgument`](partita_core::ErrorKind::InvalidArgument) for the main branch, which
    /// stays, and if the collection is in no repository.
    pub async fn delete_branch(&self, name: &str) -> Result<()> {
        self.backend().repository()?.delete_branch(name).await
    }

    /// Removes a tag. Its name cannot be used again.
    ///
    /// # Errors
    /// [`NotFound`](partita_core::ErrorKind::NotFound); as [`Collection::branches`].
    pub async fn delete_tag(&self, name: &str) -> Result<()> {
        self.backend().repository()?.delete_tag(name).await
    }
}
