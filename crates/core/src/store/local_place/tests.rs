use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::TryStreamExt;

use super::*;
use crate::store::calls::Calls;
use crate::store::{ObjectInfo, is_under};
use crate::testing::{conformance, race_increments};
use crate::{ErrorKind, Store, StoreOptions};

type Objects = BTreeMap<String, String>;

/// Simulated file systems: with all calls, without some, and shared by several machines.
fn kinds() -> Vec<(&'static str, Calls, bool)> {
    let all = Calls::default();
    let bare = Calls { links: false, exchange: false, rename_new: false };
    vec![
        ("everything", all, false),
        ("no exchange", Calls { exchange: false, ..all }, false),
        ("no links", Calls { links: false, ..all }, false),
        ("no links, no exclusive rename", Calls { exchange: true, ..bare }, false),
        ("neither", bare, false),
        ("shared", all, true),
        ("shared, neither", bare, true),
    ]
}

fn open(root: &FilePath, calls: Calls, shared: bool) -> Store {
    open_with(root, calls, shared, "false")
}

fn open_with(root: &FilePath, calls: Calls, shared: bool, sync: &str) -> Store {
    let options = StoreOptions::default().with("shared_files", shared.to_string());
    let options = options.with("sync", sync);
    let mut store = Store::open(root.to_str().unwrap(), &options).unwrap();
    let mut files = LocalFiles::clone(store.local.as_ref().unwrap());
    files.calls = calls;
    let files = Arc::new(files);
    (store.inner, store.local) = (Arc::clone(&files) as _, Some(files));
    store
}

async fn put(store: &Store, keys: &[&str], text: &str) {
    for key in keys {
        store.put(key, Bytes::from(format!("{text} {key}"))).await.unwrap();
    }
}

async fn under(store: &Store, directory: &str) -> Objects {
    let prefix = format!("{directory}/");
    let listed: Vec<ObjectInfo> = store.list(&prefix).try_collect().await.unwrap();
    let mut found = Objects::new();
    for key in listed.into_iter().map(|object| object.key) {
        let text = String::from_utf8(store.get(&key).await.unwrap().to_vec()).unwrap();
        found.insert(key.strip_prefix(&prefix).unwrap().to_owned(), text);
    }
    found
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Writes new objects under keys other than their final names.
async fn staged(store: &Store, names: &[&str]) -> Vec<(String, String)> {
    let mut new = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let key = format!("s/{number}");
        put(store, &[&key], "new").await;
        new.push(((*name).to_owned(), key));
    }
    new
}

/// The expected final content.
async fn expected(
    store: &Store,
    old: &Objects,
    new: &[(String, String)],
    removed: Option<&[String]>,
) -> Objects {
    let mut left = old.clone();
    left.retain(|name, _| removed.is_some_and(|removed| !is_under(name, removed)));
    for (name, key) in new {
        let text = store.get(key).await.unwrap().to_vec();
        left.insert(name.clone(), String::from_utf8(text).unwrap());
    }
    left
}

const OLD: [&str; 6] = ["m", "a/m", "a/c/0", "a/c/1", "b/c/0", "b/c/1"];

/// Old names, new names, and removed names.
type Change = (&'static [&'static str], &'static [&'static str], Option<&'static [&'static str]>);

const CHANGES: [Change; 8] = [
    (&OLD, &["m", "a/c/1", "a/c/2"], None),
    (&OLD, &["m", "a/c/1", "a/c/2"], Some(&["a/c/1"])),
    (&OLD, &["n", "a/c/1"], Some(&["b", "m", "never/there"])),
    (&OLD, &[], Some(&["a/c/0"])),
    (&[], &["m", "a/c/0"], None),
    (&[], &["m", "a/c/0"], Some(&["b"])),
    // Names of files become those of directories, and the other way round.
    (&OLD, &["a/c/0/0", "a/c/0/1", "b"], None),
    (&OLD, &["a/c/0/0", "a/c/0/1", "b"], Some(&["a", "b"])),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_objects_are_there_and_the_sources_stay() {
    for (kind, calls, shared) in kinds() {
        for (old, new, removed) in CHANGES {
            let directory = tempfile::tempdir().unwrap();
            let store = open(directory.path(), calls, shared);
            for name in old {
                put(&store, &[&format!("p/{name}")], "old").await;
            }
            put(&store, &["q/m"], "old").await;
            let new = staged(&store, new).await;
            let sources = under(&store, "s").await;
            let removed = removed.map(owned);
            let expected =
                expected(&store, &under(&store, "p").await, &new, removed.as_deref()).await;
            // Placed twice, as by a process that finds it unfinished.
            for _ in 0..2 {
                let placed = store.place_directory("p", &new, removed.as_deref(), "scratch").await;
                placed.unwrap();
                store.sync().await.unwrap();
                assert_eq!(under(&store, "p").await, expected, "{kind}: {new:?} {removed:?}");
                assert_eq!(under(&store, "s").await, sources, "{kind}");
                assert_eq!(under(&store, "q").await.len(), 1, "{kind}");
            }
            crate::store::removed().await;
            assert!(under(&store, "scratch").await.is_empty(), "{kind}");
        }
    }
}

/// Runs the operation directly and interrupts it after a number of steps. True if it completed.
fn place(
    store: &Store,
    new: &[(String, String)],
    removed: Option<&[String]>,
    steps: usize,
) -> bool {
    let files = store.local.as_ref().unwrap();
    let target = |key: &str| files.target(&store.path(key).unwrap()).unwrap();
    let placing = Placing {
        live: target("p"),
        new: new.iter().map(|(name, key)| (name.clone(), target(key))).collect(),
        removed: removed.map(|names| names.iter().cloned().collect()),
        built: target(&format!("scratch/{steps}")),
    };
    let waits = Arc::new(());
    let work = Work::of_test(&waits);
    work.steps.store(steps, Ordering::Relaxed);
    match placing.run(files, &work) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "{error}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_after_any_step_is_whole_or_completed_by_the_next() {
    for (kind, calls, shared) in kinds() {
        for (old, new, removed) in CHANGES {
            for steps in 0.. {
                let directory = tempfile::tempdir().unwrap();
                let store = open(directory.path(), calls, shared);
                for name in old {
                    put(&store, &[&format!("p/{name}")], "old").await;
                }
                let (before, new) = (under(&store, "p").await, staged(&store, new).await);
                let (sources, removed) = (under(&store, "s").await, removed.map(owned));
                let after = expected(&store, &before, &new, removed.as_deref()).await;
                let done = place(&store, &new, removed.as_deref(), steps);
                let found = under(&store, "p").await;
                if calls.exchange && !shared {
                    assert!(found == before || found == after, "{kind} {steps}: {found:?}");
                }
                for (name, text) in &found {
                    let known = [before.get(name), after.get(name)].contains(&Some(text));
                    assert!(known, "{kind} {steps}: {name} is neither old nor new");
                }
                let stays =
                    |name: &&String| before.contains_key(*name) && after.contains_key(*name);
                for name in after.keys().filter(stays) {
                    assert!(found.contains_key(name), "{kind} {steps}: {name} is never missing");
                }
                assert!(place(&store, &new, removed.as_deref(), usize::MAX), "{kind} {steps}");
                assert_eq!(under(&store, "p").await, after, "{kind} {steps}");
                assert_eq!(under(&store, "s").await, sources, "{kind} {steps}");
                if done {
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_the_place_of_a_new_file_is_replaced() {
    for (kind, calls, shared) in kinds() {
        for removed in [None, Some(owned(&["b"]))] {
            let directory = tempfile::tempdir().unwrap();
            let store = open(directory.path(), calls, shared);
            put(&store, &["p/a/below/deep", "p/kept"], "old").await;
            let new = staged(&store, &["a"]).await;
            store.place_directory("p", &new, removed.as_deref(), "scratch").await.unwrap();
            let found: Vec<String> = under(&store, "p").await.into_keys().collect();
            let expected = if removed.is_some() { vec!["a", "kept"] } else { vec!["a"] };
            assert_eq!(found, expected, "{kind} {removed:?}");
        }
    }
}

/// A directory on another file system if one is available, otherwise on the same.
#[cfg(unix)]
fn another_disk() -> tempfile::TempDir {
    let memory = FilePath::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn symbolic_links_to_directories_stay() {
    use std::os::unix::fs::symlink;
    // The partition itself, a directory above it, or one in it may be on another disk.
    for (link, live) in [("p", "p"), ("y=1", "y=1/p"), ("p/a", "p")] {
        for (kind, calls, shared) in kinds() {
            for removed in [None, Some(owned(&["a/c/1", "b"]))] {
                let (directory, disk) = (tempfile::tempdir().unwrap(), another_disk());
                let store = open_with(directory.path(), calls, shared, "true");
                let at = directory.path().join(link);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                symlink(disk.path(), &at).unwrap();
                for name in OLD {
                    put(&store, &[&format!("{live}/{name}")], "old").await;
                }
                let new = staged(&store, &["m", "a/c/1", "a/c/2", "d/e/0"]).await;
                let old = under(&store, live).await;
                assert_eq!(old.len(), OLD.len());
                let expected = expected(&store, &old, &new, removed.as_deref()).await;
                for _ in 0..2 {
                    let removed = removed.as_deref();
                    store.place_directory(live, &new, removed, "scratch").await.unwrap();
                    store.sync().await.unwrap();
                    assert_eq!(under(&store, live).await, expected, "{link} {kind} {removed:?}");
                    assert_eq!(under(&store, "s").await.len(), new.len(), "{link} {kind}");
                }
                // If the whole partition is replaced, a link in it may be replaced too.
                if link != "p/a" || removed.is_some() {
                    assert!(at.is_symlink(), "{link} {kind} {removed:?}");
                }
            }
        }
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "the file is no object of a store")]
async fn nothing_behind_a_link_in_a_partition_is_removed() {
    for (link, removed) in [("p/x", None), ("p/a", None), ("p/a", Some(owned(&["a"])))] {
        for (kind, calls, shared) in kinds() {
            let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let store = open_with(directory.path(), calls, shared, "true");
            fs::write(outside.path().join("precious"), "1").unwrap();
            put(&store, &["p/m"], "old").await;
            std::os::unix::fs::symlink(outside.path(), directory.path().join(link)).unwrap();
            let new = staged(&store, &["m", "a/0"]).await;
            for _ in 0..2 {
                store.place_directory("p", &new, removed.as_deref(), "scratch").await.unwrap();
            }
            let kept: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
            assert_eq!(kept.len(), 1, "{link} {kind} {removed:?}");
            assert_eq!(under(&store, "p").await.len(), 2, "{link} {kind} {removed:?}");
        }
    }
}

#[tokio::test]
async fn names_that_lead_out_and_sources_that_are_missing_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (kind, calls, shared) in kinds() {
        let store = open(&directory.path().join(kind), calls, shared);
        put(&store, &["p/m", "s/m", "q/m"], "old").await;
        let pair = |name: &str, key: &str| vec![(name.to_owned(), key.to_owned())];
        for new in [pair("../q/m", "s/m"), pair("m", "../q/m"), pair("/m", "s/m")] {
            let error = store.place_directory("p", &new, None, "scratch").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
        let out = owned(&["../q"]);
        let error = store.place_directory("p", &[], Some(&out), "scratch").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        let new = [pair("m", "s/m"), pair("n", "s/none")].concat();
        let error = store.place_directory("p", &new, None, "scratch").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(
            under(&store, "p").await,
            Objects::from([("m".to_owned(), "old p/m".to_owned())])
        );
        assert_eq!(under(&store, "q").await.len(), 1);
    }
    let memory = Store::open("memory://place", &StoreOptions::default()).unwrap();
    let error = memory.place_directory("p", &[], None, "scratch").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_conform_on_file_systems_of_each_kind() {
    for (kind, calls, shared) in kinds() {
        let directory = tempfile::tempdir().unwrap();
        let store = open_with(directory.path(), calls, shared, "true");
        conformance(&store).await.unwrap();
        let race = race_increments(&store, "counter", 4, 10).await.unwrap();
        assert_eq!(race.done, 40, "{kind}");
        put(&store, &["a"], "old").await;
        assert!(
            store.link("a", "deep/b").await.unwrap() && store.link("a", "deep/b").await.unwrap()
        );
        assert!(!store.link("none", "c").await.unwrap());
        assert_eq!(store.get("deep/b").await.unwrap(), "old a");
        store.copy("a", "deep/er/c").await.unwrap();
        store.copy("a", "deep/b").await.unwrap();
        assert_eq!(store.copy("none", "d").await.unwrap_err().kind(), ErrorKind::NotFound);
        // A copy is not a link to the same file.
        let mut file = fs::OpenOptions::new().write(true).open(directory.path().join("a")).unwrap();
        io::Write::write_all(&mut file, b"in place").unwrap();
        for key in ["deep/b", "deep/er/c"] {
            assert_eq!(store.get(key).await.unwrap(), "old a", "{kind}");
        }
        assert!(store.get_opt("c").await.unwrap().is_none());
    }
}
