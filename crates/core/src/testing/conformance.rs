//! The conformance suite that every store must pass.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};

use super::race_increments;
use crate::store::{ObjectInfo, ObjectVersion, Store, Swap, Version};
use crate::{Error, ErrorKind, Result};

/// Runs every check on `store`, which must be writable, and empty or not used by others. Objects
/// are written below `conformance/` and removed at the end.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) naming the first check that failed.
pub async fn conformance(store: &Store) -> Result<()> {
    clean(store).await?;
    missing_objects(store).await?;
    whole_objects(store).await?;
    ranges(store).await?;
    literal_keys(store).await?;
    hostile_keys(store).await?;
    listing(store).await?;
    deleting(store).await?;
    versions(store).await?;
    large_object(store).await?;
    swapping(store).await?;
    swap_that_was_overtaken(store).await?;
    let race = race_increments(store, "conformance/race", 8, 5).await?;
    ensure(race.done == 40, "a race of eight writers")?;
    check_capability(store).await?;
    clean(store).await
}

fn ensure(holds: bool, what: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::corrupt("the store does not conform").with("check", what)),
    }
}

async fn clean(store: &Store) -> Result<()> {
    let keys = keys(store, "conformance/").await?;
    store.delete_many(keys).await
}

async fn keys(store: &Store, prefix: &str) -> Result<Vec<String>> {
    let found: Vec<ObjectInfo> = store.list(prefix).try_collect().await?;
    let mut keys: Vec<String> = found.into_iter().map(|info| info.key).collect();
    keys.sort();
    Ok(keys)
}

async fn missing_objects(store: &Store) -> Result<()> {
    let key = "conformance/missing";
    ensure(store.get_opt(key).await?.is_none(), "a missing object has no content")?;
    ensure(store.head(key).await?.is_none(), "a missing object has no size")?;
    ensure(store.get_versioned(key).await?.is_none(), "a missing object has no version")?;
    for error in [store.get(key).await.err(), store.get_range(key, 0..1).await.err()] {
        let kind = error.map(|error| error.kind());
        ensure(kind == Some(ErrorKind::NotFound), "reading a missing object is NotFound")?;
    }
    store.delete(key).await?;
    store.delete_many(vec![key.to_owned(), "conformance/missing/too".to_owned()]).await?;
    ensure(keys(store, "conformance/").await?.is_empty(), "nothing is listed before a write")
}

async fn whole_objects(store: &Store) -> Result<()> {
    let key = "conformance/whole";
    for content in ["first", "", "the third, which is longer"] {
        store.put(key, Bytes::from_static(content.as_bytes())).await?;
        ensure(store.get(key).await? == content, "an object has the content last written")?;
        let opened = store.begin_get(key).await?;
        let opened = opened.map(|object| object.read_all(vec![1; 99], u64::MAX)).transpose()?;
        ensure(opened.is_some_and(|all| all == content), "an object is there, with its content")?;
        let info = store.head(key).await?;
        let size = info.as_ref().map(|info| info.size);
        ensure(size == Some(content.len() as u64), "an object has the size last written")?;
        let age = info.map(|info| info.last_modified.as_second());
        ensure(age.is_some_and(|second| second > 1_500_000_000), "an object has an age")?;
    }
    Ok(())
}

async fn ranges(store: &Store) -> Result<()> {
    let key = "conformance/ranges";
    store.put(key, Bytes::from_static(b"0123456789")).await?;
    for (range, content) in [(0..10, "0123456789"), (3..4, "3"), (8..10, "89"), (5..5, "")] {
        ensure(store.get_range(key, range).await? == content, "a range has its bytes")?;
    }
    let several = store.get_ranges(key, &[7..9, 0..2, 4..4, 1..3]).await?;
    ensure(several == ["78", "01", "", "12"], "several ranges have their bytes, in order")?;
    for range in [8..11, 10..11, 50..60] {
        let kind = store.get_range(key, range.clone()).await.err().map(|error| error.kind());
        ensure(kind == Some(ErrorKind::Corrupt), "a range beyond the end is Corrupt")?;
        let kind = store.get_ranges(key, &[0..1, range]).await.err().map(|error| error.kind());
        ensure(
            kind == Some(ErrorKind::Corrupt),
            "one of several ranges beyond the end is Corrupt",
        )?;
    }
    Ok(())
}

/// Keys of the form that tables create, with encoded and literal characters.
const LITERAL: [&str; 6] = [
    "conformance/literal/city=a%20b/x.parquet",
    "conformance/literal/city=a b/x.parquet",
    "conformance/literal/city=%C3%B8%2F/x.parquet",
    "conformance/literal/day=2020-01-01%2000%3A00/x.parquet",
    "conformance/literal/p=-1.5e+20~_!$&'(),;@/x.parquet",
    "conformance/literal/p=Ærø/é 漢字.parquet",
];

async fn literal_keys(store: &Store) -> Result<()> {
    for key in LITERAL {
        store.put(key, Bytes::from(key)).await?;
    }
    for key in LITERAL {
        ensure(store.get(key).await? == key, "keys are not decoded, nor confused")?;
        let head = store.head(key).await?;
        ensure(head.is_some_and(|info| info.key == key), "an object tells its own key")?;
    }
    let mut expected = LITERAL.map(str::to_owned).to_vec();
    expected.sort();
    ensure(keys(store, "conformance/literal/").await? == expected, "listed keys are literal")?;
    let one = keys(store, "conformance/literal/city=a%20b/").await?;
    ensure(one == ["conformance/literal/city=a%20b/x.parquet"], "listed prefixes are literal")
}

async fn hostile_keys(store: &Store) -> Result<()> {
    for key in ["", "..", "../x", "a/../../x", "/x", "x/", "a//b", "a\nb", "a\0b", "."] {
        let kinds = [
            store.get(key).await.err(),
            store.put(key, Bytes::new()).await.err(),
            store.delete(key).await.err(),
            store.compare_and_swap(key, None, Bytes::from_static(b"id"), "id").await.err(),
        ];
        let refused = |error: &Option<Error>| {
            error.as_ref().is_some_and(|error| error.kind() == ErrorKind::InvalidArgument)
        };
        ensure(kinds.iter().all(refused), "hostile keys are refused")?;
    }
    Ok(())
}

async fn listing(store: &Store) -> Result<()> {
    let all = ["list/t.a", "list/t.b", "list/t.d/x", "list/t/1/2", "list/t/3", "list/u/4"]
        .map(|key| format!("conformance/{key}"));
    for key in &all {
        store.put(key, Bytes::from_static(b"12345")).await?;
    }
    for (prefix, expected) in [
        ("conformance/list/", 6),
        ("conformance/list/t", 5),
        ("conformance/list/t.", 3),
        ("conformance/list/t/", 2),
        ("conformance/list/t/1/2", 1),
        ("conformance/list/t/1/23", 0),
        ("conformance/list/none/", 0),
        ("conformance/lis", 6),
    ] {
        let found = keys(store, prefix).await?;
        let wanted: Vec<_> = all.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        ensure(wanted.len() == expected && found == wanted, "a prefix finds what begins with it")?;
    }
    let one: Vec<ObjectInfo> = store.list("conformance/list/u/").try_collect().await?;
    ensure(one.iter().all(|info| info.size == 5), "a listing tells sizes")?;
    let hostile: Result<Vec<ObjectInfo>> = store.list("../").try_collect().await;
    ensure(hostile.is_err(), "a hostile prefix is refused")?;

    store.put("conformance-shallow", Bytes::new()).await?;
    let shallow = store.list_shallow().await?;
    let has = |name: &str| shallow.iter().any(|info| info.key == name);
    ensure(has("conformance-shallow"), "a shallow listing has the objects of the root")?;
    ensure(shallow.iter().all(|info| !info.key.contains('/')), "a shallow listing has no others")?;
    store.delete("conformance-shallow").await
}

async fn deleting(store: &Store) -> Result<()> {
    let all: Vec<String> = (0..25).map(|n| format!("conformance/delete/{n}")).collect();
    for key in &all {
        store.put(key, Bytes::from_static(b"x")).await?;
    }
    let (first, rest) = all.split_at(1);
    for key in first {
        store.delete(key).await?;
        ensure(store.get_opt(key).await?.is_none(), "a deleted object is gone")?;
        store.delete(key).await?;
    }
    let missing = std::iter::once("conformance/delete/none".to_owned());
    store.delete_many(rest.iter().cloned().chain(missing).collect()).await?;
    ensure(keys(store, "conformance/delete/").await?.is_empty(), "many are deleted at once")?;
    store.delete_many(Vec::new()).await
}

/// The result of a read with a version as its condition; `None` if the condition does not hold.
async fn read_version(store: &Store, key: &str, version: Option<&str>) -> Result<Option<Bytes>> {
    let options = GetOptions { if_match: version.map(str::to_owned), ..GetOptions::default() };
    match store.object_store().get_opts(&Path::from(key), options).await {
        Ok(found) => match found.bytes().await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(Error::corrupt("a read is broken off").caused_by(error)),
        },
        Err(object_store::Error::Precondition { .. }) => Ok(None),
        Err(error) => Err(Error::corrupt("a read with a condition fails").caused_by(error)),
    }
}

async fn versions(store: &Store) -> Result<()> {
    let directory = "conformance/versions";
    ensure(store.versions(directory).await?.is_empty(), "nothing has no versions")?;
    for name in ["z", "a/b", "a/c/d"] {
        store.put(&format!("{directory}/{name}"), Bytes::from(name)).await?;
    }
    store.put("conformance/versions-of-others", Bytes::from_static(b"x")).await?;
    let found = store.versions(directory).await?;
    let names: Vec<&str> = found.iter().map(|object| object.name.as_str()).collect();
    ensure(names == ["a/b", "a/c/d", "z"], "versions are those of a directory, in order")?;
    for ObjectVersion { name, size, version, last_modified } in &found {
        let key = format!("{directory}/{name}");
        let info = store.head(&key).await?;
        // Some responses of a store contain fractions of a second, and others do not.
        let second = last_modified.as_second();
        let same = info.map(|info| (info.size, info.last_modified.as_second()));
        ensure(same == Some((*size, second)), "a listing of versions tells size and age")?;
        let read = read_version(store, &key, version.as_deref()).await?;
        ensure(read.is_some_and(|bytes| bytes == *name), "a version can be read as such")?;
    }
    ensure(store.versions(directory).await? == found, "versions stay what they are")?;
    store.put(&format!("{directory}/z"), Bytes::from_static(b"Z")).await?;
    store.copy(&format!("{directory}/a/b"), &format!("{directory}/a/c/d")).await?;
    for ObjectVersion { name, version, .. } in &found {
        let read = read_version(store, &format!("{directory}/{name}"), version.as_deref()).await?;
        ensure(read.is_some() == (name == "a/b"), "a version is gone when it is replaced")?;
    }
    for ObjectVersion { name, version, .. } in &store.versions(directory).await? {
        let read = read_version(store, &format!("{directory}/{name}"), version.as_deref()).await?;
        ensure(read.is_some(), "the new version can be read as such")?;
    }
    clean(store).await
}

async fn large_object(store: &Store) -> Result<()> {
    let key = "conformance/large";
    let content: Vec<u8> = (0..33 << 20).map(|n: u32| (n / 7 % 251) as u8).collect();
    let content = Bytes::from(content);
    store.put(key, content.clone()).await?;
    ensure(store.get(key).await? == content, "a large object has its content")?;
    let (from, to) = (16 << 20, (16 << 20) + 9);
    let middle = store.get_range(key, from..to).await?;
    let expected = content.slice(16 << 20..(16 << 20) + 9);
    ensure(middle == expected, "a range across parts has its bytes")?;
    store.delete(key).await
}

async fn done(
    store: &Store,
    key: &str,
    expected: Option<&Version>,
    body: &'static str,
) -> Result<Version> {
    match store.compare_and_swap(key, expected, Bytes::from_static(body.as_bytes()), body).await? {
        Swap::Done(version) => Ok(version),
        Swap::Lost { .. } => Err(Error::corrupt("the store does not conform")
            .with("check", "a swap with the current version is done")),
    }
}

async fn lost(
    store: &Store,
    key: &str,
    expected: Option<&Version>,
    body: &'static str,
) -> Result<Option<(Bytes, Version)>> {
    match store.compare_and_swap(key, expected, Bytes::from_static(body.as_bytes()), body).await? {
        Swap::Lost { current } => Ok(current),
        Swap::Done(_) => Err(Error::corrupt("the store does not conform")
            .with("check", "a swap with another version is lost")),
    }
}

async fn swapping(store: &Store) -> Result<()> {
    let key = "conformance/swap/new/state";
    let first = done(store, key, None, "id-1").await?;
    let current = lost(store, key, None, "id-2").await?;
    let seen = current.is_some_and(|(bytes, version)| bytes == "id-1" && version == first);
    ensure(seen, "a lost creation tells what is there")?;

    let second = done(store, key, Some(&first), "id-3").await?;
    let current = lost(store, key, Some(&first), "id-4").await?;
    let (bytes, read) = current.ok_or_else(|| Error::corrupt("the object is gone"))?;
    ensure(bytes == "id-3" && read == second, "a lost update tells what is there")?;
    // A version from a read is as valid as one from a write.
    let third = done(store, key, Some(&read), "id-5").await?;
    let again = done(store, key, Some(&third), "id-6").await?;
    ensure(store.get(key).await? == "id-6", "the last swap is what is stored")?;

    store.delete(key).await?;
    ensure(lost(store, key, Some(&again), "id-7").await?.is_none(), "a deleted object is no more")?;
    ensure(store.get_opt(key).await?.is_none(), "a lost update does not bring an object back")?;
    done(store, key, None, "id-8").await?;
    let without_id = store.compare_and_swap(key, None, Bytes::from_static(b"x"), "id-9").await;
    ensure(without_id.is_err(), "a state without the id of its commit is refused")
}

/// A writer whose answer was lost retries after others have built on its commit.
async fn swap_that_was_overtaken(store: &Store) -> Result<()> {
    let key = "conformance/swap/overtaken";
    let first = done(store, key, None, "id-1").await?;
    let body = Bytes::from_static(b"id-1 id-2");
    let Swap::Done(second) = store.compare_and_swap(key, Some(&first), body, "id-2").await? else {
        return ensure(false, "a swap with the current version is done");
    };
    let body = Bytes::from_static(b"id-1 id-2 id-3");
    let _ = store.compare_and_swap(key, Some(&second), body, "id-3").await?;

    let body = Bytes::from_static(b"id-1 id-2");
    let again = store.compare_and_swap(key, Some(&first), body, "id-2").await?;
    let Swap::Done(version) = again else {
        return ensure(false, "a commit that is found in the state is done");
    };
    let current = lost(store, key, Some(&version), "id-4").await?;
    let kept = current.is_some_and(|(bytes, _)| bytes == "id-1 id-2 id-3");
    ensure(kept, "the version of an overtaken commit does not undo what came after")
}

async fn check_capability(store: &Store) -> Result<()> {
    let capability = store.probe().await?;
    ensure(capability.can_commit(), &format!("the probe finds working commits: {capability}"))?;
    let shallow = store.list_shallow().await?;
    ensure(!shallow.iter().any(|info| info.key.starts_with('.')), "a probe leaves nothing behind")
}
