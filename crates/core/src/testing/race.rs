//! A race of many writers on one object, which every store must pass.

use bytes::Bytes;
use futures::future::try_join_all;

use crate::store::{Store, Swap};
use crate::{Error, ErrorKind, Result};

/// The result of a [`race_increments`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    /// Commits that were reported done.
    pub done: u64,
    /// Swaps that were lost and tried again.
    pub lost: u64,
}

/// Runs `tasks` concurrent writers, each of which adds `each` lines to the object at `key` by
/// compare-and-swap, and checks that every line reported as stored is there once, and no other.
///
/// It only is a race on a multi-threaded runtime.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if lines are missing, duplicated or unknown; otherwise the
/// errors of the store.
pub async fn race_increments(store: &Store, key: &str, tasks: u64, each: u64) -> Result<Race> {
    let writers = (0..tasks).map(|task| {
        let (store, key) = (store.clone(), key.to_owned());
        let writer = tokio::spawn(async move { write_lines(&store, &key, task, each).await });
        async move { writer.await.map_err(|e| Error::corrupt("a writer died").caused_by(e))? }
    });
    let lost = try_join_all(writers).await?.into_iter().sum();

    let bytes = store.get(key).await?;
    let text = String::from_utf8_lossy(&bytes);
    let mut found: Vec<&str> = text.lines().collect();
    found.sort_unstable();
    let mut expected: Vec<String> =
        (0..tasks).flat_map(|task| (0..each).map(move |n| line(task, n))).collect();
    expected.sort_unstable();
    if found != expected {
        return Err(Error::corrupt("commits were lost or doubled")
            .with("key", key)
            .with("found", found.len())
            .with("expected", expected.len()));
    }
    Ok(Race { done: tasks * each, lost })
}

fn line(task: u64, number: u64) -> String {
    format!("commit-{task}-{number}.")
}

async fn write_lines(store: &Store, key: &str, task: u64, each: u64) -> Result<u64> {
    let mut lost = 0;
    for number in 0..each {
        let id = line(task, number);
        let mut current = store.get_versioned(key).await?;
        loop {
            let (text, version) = match &current {
                Some((bytes, version)) => (String::from_utf8_lossy(bytes), Some(version)),
                None => (String::new().into(), None),
            };
            let next = Bytes::from(format!("{text}{id}\n"));
            match store.compare_and_swap(key, version, next, &id).await? {
                Swap::Done(_) => break,
                Swap::Lost { current: newer } => current = newer,
            }
            lost += 1;
            if lost > 1_000 * each {
                return Err(Error::new(ErrorKind::CommitConflict, "the race has no end"));
            }
        }
    }
    Ok(lost)
}
