//! Behaviour that is particular to local files: names on disk, the lock, and killed processes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use partita_core::store::{DOCUMENT, ObjectInfo, ObjectVersion, Swap};
use partita_core::{ErrorKind, Store, StoreOptions};
use partita_s3_server::{Faults, Server};

fn open(root: &Path) -> Store {
    Store::open(root.to_str().unwrap(), &StoreOptions::new()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn names_on_disk_are_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.put("t/table/city=a%20b/x.parquet", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(names(&dir.path().join("t/table")), ["city=a%20b"]);
    std::fs::create_dir_all(dir.path().join("t/table/city=%C3%B8")).unwrap();
    std::fs::copy(
        dir.path().join("t/table/city=a%20b/x.parquet"),
        dir.path().join("t/table/city=%C3%B8/y.parquet"),
    )
    .unwrap();
    assert_eq!(store.get("t/table/city=%C3%B8/y.parquet").await.unwrap(), "1");
    let found: Vec<ObjectInfo> = store.list("t/table/city=%C3").try_collect().await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_root_that_does_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/b");
    let store = open(&root);
    assert_eq!(store.get("x").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(store.list_shallow().await.unwrap().is_empty());
    let found: Vec<ObjectInfo> = store.list("").try_collect().await.unwrap();
    assert!(found.is_empty());
    store.delete("x").await.unwrap();
    let read_only = Store::open(root.to_str().unwrap(), &StoreOptions::new().read_only(true));
    assert_eq!(
        read_only.unwrap().put("x", Bytes::new()).await.unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
    assert!(names(dir.path()).is_empty(), "reading makes nothing");
    let swap = store.compare_and_swap("t", None, Bytes::from_static(b"id"), "id").await.unwrap();
    assert!(matches!(swap, Swap::Done(_)));
    assert_eq!(names(&root), ["t"]);
}

#[tokio::test]
async fn locks_and_temporary_files_are_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["t.json", ".t.json.lock", "t.json#123", "t#2.json#45", ".hidden", "lock"] {
        File::create(dir.path().join(name)).unwrap();
    }
    let store = open(dir.path());
    let shallow = store.list_shallow().await.unwrap();
    let keys: Vec<_> = shallow.iter().map(|info| info.key.as_str()).collect();
    assert_eq!(keys, [".hidden", "lock", "t.json"]);
    let mut all: Vec<ObjectInfo> = store.list("").try_collect().await.unwrap();
    all.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(all, shallow);
}

#[tokio::test]
async fn what_a_file_system_cannot_hold() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = format!("p={}/x", "%C3%B8".repeat(50));
    let error = store.put(&key, Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    store.put("file", Bytes::new()).await.unwrap();
    assert!(store.get_opt("file/below").await.unwrap().is_none(), "a file has nothing below it");
    let error = store.put("file/below", Bytes::new()).await.unwrap_err();
    assert_ne!(error.kind(), ErrorKind::CommitUnknown, "{error}");
}

#[tokio::test]
async fn large_objects_are_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes: Vec<u8> = (0..3_000_017u32).map(|at| (at / 1000) as u8).collect();
    let bytes = Bytes::from(bytes);
    store.put("put", bytes.clone()).await.unwrap();
    store.put_deferred("deferred", bytes.clone()).await.unwrap();
    store.put("empty", Bytes::new()).await.unwrap();
    for key in ["put", "deferred"] {
        assert_eq!(store.get(key).await.unwrap(), bytes);
    }
    assert_eq!(store.get("empty").await.unwrap(), Bytes::new());
}

/// The directories two levels down, interpreted by both names.
async fn two_levels(store: &Store) -> Vec<(String, Vec<u32>)> {
    let meaning = |above: &Vec<u32>, name: &str| {
        let value = name.strip_prefix("n=")?.parse().ok()?;
        Some(above.iter().copied().chain([value]).collect())
    };
    // Those that are said to be known make no difference.
    let known = ["n=1", "n=9", "elsewhere"].map(str::to_owned).into();
    store.list_directories_at(2, Vec::new(), Arc::new(meaning), known).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_of_some_level() {
    let dir = tempfile::tempdir().unwrap();
    let (local, memory) = (open(dir.path()), Store::open("memory://levels", &StoreOptions::new()));
    let memory = memory.unwrap();
    assert!(two_levels(&local).await.is_empty() && two_levels(&memory).await.is_empty());
    // More entries in one directory than one system call returns, and more directories than
    // threads.
    let wide = (0..600).map(|i| format!("n=7/n={i}/{}", "f".repeat(20)));
    let many = (10..40).map(|i| format!("n={i}/n={}/f", i * 2));
    let others = ["n=7/other/f", "other/n=1/f", "n=8/f", ".n=9/n=1/f", "f"].map(str::to_owned);
    let keys: Vec<String> = wide.chain(many).chain(others).collect();
    for key in &keys {
        local.put(key, Bytes::from_static(b"1")).await.unwrap();
        memory.put(key, Bytes::from_static(b"1")).await.unwrap();
    }
    let found = two_levels(&local).await;
    assert_eq!(found.len(), 630);
    assert!(found.contains(&("n=7/n=599".to_owned(), vec![7, 599])));
    assert!(found.contains(&("n=39/n=78".to_owned(), vec![39, 78])));
    assert_eq!(found, two_levels(&memory).await);
}

#[cfg(unix)]
#[tokio::test]
async fn links_lead_to_directories_and_other_names_are_passed_over() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.put("elsewhere/n=5/f", Bytes::from_static(b"1")).await.unwrap();
    store.put("n=1/n=1", Bytes::from_static(b"a file")).await.unwrap();
    std::fs::create_dir(dir.path().join(OsStr::from_bytes(b"n=\xff"))).unwrap();
    symlink("elsewhere", dir.path().join("n=2")).unwrap();
    symlink("nowhere", dir.path().join("n=3")).unwrap();
    symlink("n=1/n=1", dir.path().join("n=4")).unwrap();
    assert_eq!(two_levels(&store).await, [("n=2/n=5".to_owned(), vec![2, 5])]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_commit_that_cannot_be_written_is_a_plain_failure() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("file")).unwrap();
    let store = open(&dir.path().join("file/t"));
    let swap = store.compare_and_swap("t", None, Bytes::from_static(b"id"), "id").await;
    assert_eq!(swap.unwrap_err().kind(), ErrorKind::Store);
}

/// Runs one of the `child_…` tests below in a process of its own.
fn child(test: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("local::{test}"), "--ignored", "--nocapture"])
        .env("PARTITA_TEST_CHILD", "1")
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn is_child() -> bool {
    !variable("PARTITA_TEST_CHILD").is_empty()
}

#[test]
#[ignore = "run by other tests in a process of its own"]
fn child_holds_lock() {
    if !is_child() {
        return;
    }
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(variable("LOCK")).unwrap();
    file.lock().unwrap();
    println!("\nlocked");
    // Until the process is killed.
    std::thread::park_timeout(Duration::from_secs(60));
    drop(file);
}

/// Adds lines to an object, a given number or until killed.
#[tokio::test]
#[ignore = "run by other tests in a process of its own"]
async fn child_commits() {
    if !is_child() {
        return;
    }
    let mut options = StoreOptions::new();
    for option in variable("OPTIONS").split_terminator(';') {
        let (name, value) = option.split_once('=').unwrap();
        options = options.with(name, value);
    }
    let store = Store::open(&variable("URL"), &options).unwrap();
    for number in 0..variable("COMMITS").parse::<u64>().unwrap() {
        let id = format!("<{}-{number}>\n", std::process::id());
        add_line(&store, &id).await;
        if number == 0 {
            println!("\ncommitted");
        }
    }
}

async fn add_line(store: &Store, line: &str) {
    let mut current = store.get_versioned("t.json").await.unwrap();
    loop {
        let (bytes, version) = current.unzip();
        let next = [bytes.unwrap_or_default().as_ref(), line.as_bytes()].concat();
        let swap = store.compare_and_swap("t.json", version.as_ref(), next.into(), line.trim());
        match swap.await.unwrap() {
            Swap::Done(_) => return,
            Swap::Lost { current: newer } => current = newer,
        }
    }
}

/// Waits until the child prints a word. The result must live as long as the child prints.
fn wait_for(child: &mut Child, word: &str) -> Lines<BufReader<ChildStdout>> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.by_ref().map_while(Result::ok).any(|line| line.trim() == word);
    assert!(said, "the child says {word}");
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_holder_of_the_lock_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join(".t.json.lock");
    let mut holder = child("child_holds_lock", &[("LOCK", lock.to_str().unwrap())]);
    let _output = wait_for(&mut holder, "locked");
    let options = StoreOptions::new().with("lock_timeout", "100ms");
    let patient = open(dir.path());
    let hasty = Store::open(dir.path().to_str().unwrap(), &options).unwrap();
    let done = patient
        .compare_and_swap("t.json", None, Bytes::from_static(b"id-1"), "id-1")
        .await
        .unwrap();
    let Swap::Done(version) = done else { panic!("creating needs no lock") };
    let update = || Bytes::from_static(b"id-2");
    let error =
        hasty.compare_and_swap("t.json", Some(&version), update(), "id-2").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
    assert!(error.to_string().contains(".t.json.lock"), "{error}");

    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(lock.exists(), "it was left behind");
    let began = Instant::now();
    let swap = patient.compare_and_swap("t.json", Some(&version), update(), "id-2").await.unwrap();
    assert!(matches!(swap, Swap::Done(_)));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(names(dir.path()), ["t.json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_a_writer_at_any_moment_leaves_a_whole_state() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for round in 0..8_u64 {
        let url = dir.path().to_str().unwrap();
        let mut writer = child("child_commits", &[("URL", url), ("COMMITS", "1000000")]);
        let _output = wait_for(&mut writer, "committed");
        tokio::time::sleep(Duration::from_micros(700 * round)).await;
        writer.kill().unwrap();
        writer.wait().unwrap();
        add_line(&store, &format!("<after-{round}>\n")).await;
        let text = String::from_utf8(store.get("t.json").await.unwrap().to_vec()).unwrap();
        let whole = |line: &str| line.starts_with('<') && line.ends_with('>');
        assert!(text.ends_with('\n') && text.lines().all(whole), "{text}");
        assert!(!names(dir.path()).contains(&".t.json.lock".to_owned()), "the next removes it");
    }
    let listed = store.list_shallow().await.unwrap();
    assert_eq!(listed.len(), 1, "what the dead left is not listed: {listed:?}");
}

async fn processes_lose_nothing(url: &str, options: StoreOptions) {
    let said: String = options.iter().map(|(name, value)| format!("{name}={value};")).collect();
    let variables = [("URL", url), ("OPTIONS", said.as_str()), ("COMMITS", "50")];
    let children: Vec<Child> = (0..8).map(|_| child("child_commits", &variables)).collect();
    for mut child in children {
        let output = wait_for(&mut child, "committed");
        output.for_each(drop);
        assert!(child.wait().unwrap().success(), "no error reaches a writer");
    }
    let store = Store::open(url, &options).unwrap();
    let text = String::from_utf8(store.get("t.json").await.unwrap().to_vec()).unwrap();
    let lines: std::collections::BTreeSet<&str> = text.lines().collect();
    assert_eq!((lines.len(), text.lines().count()), (400, 400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_on_local_files() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new");
    processes_lose_nothing(root.to_str().unwrap(), StoreOptions::new()).await;
    assert_eq!(names(&root), ["t.json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_on_s3() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), 0, Faults::default()).unwrap();
    processes_lose_nothing("s3://test/new", server.options().into_iter().collect()).await;
}

/// A store with a link to a directory outside of it, which holds two files.
#[cfg(unix)]
fn with_link(name: &str) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("outside/deep")).unwrap();
    for file in ["outside/a.parquet", "outside/deep/b.parquet"] {
        File::create(dir.path().join(file)).unwrap().write_all(b"kept").unwrap();
    }
    let link = dir.path().join("store").join(name);
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), link).unwrap();
    let store = open(&dir.path().join("store"));
    (dir, store)
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_removed_through_a_link() {
    for link in ["t", "t/p=1", "t/p=1/q=2"] {
        let (dir, store) = with_link(link);
        let inside = |key: &str| format!("{link}/{key}");
        assert_eq!(store.get(&inside("deep/b.parquet")).await.unwrap(), "kept");
        let found: Vec<ObjectInfo> = store.list("t/").try_collect().await.unwrap();
        assert_eq!(found.len(), 2, "reading follows links");
        let removable = store.list_removable("t").await.unwrap();
        let keys: Vec<_> = removable.iter().map(|found| found.object.key.as_str()).collect();
        assert_eq!(keys, [link]);
        assert!(removable.iter().all(|found| found.is_link));

        let refused = [
            store.delete(&inside("a.parquet")).await,
            store.delete_many(vec![inside("a.parquet"), inside("deep/b.parquet")]).await,
            store.delete_directory(&inside("deep"), "scratch").await,
            store.discard_directory(&inside("deep"), "scratch").await,
            store.switch_directory("staged", &inside("deep"), None, false, "scratch").await,
            store.switch_directory("staged", &inside("new"), None, true, "scratch").await,
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Store);
            assert!(error.to_string().contains("symbolic link"), "{error}");
        }
        assert_eq!(names(&dir.path().join("outside")), ["a.parquet", "deep"]);

        // The link itself is removed, or exchanged for its replacement.
        store.put_deferred("staged/c.parquet", Bytes::from_static(b"new")).await.unwrap();
        store.switch_directory("staged", link, None, false, "scratch").await.unwrap();
        assert_eq!(store.get(&inside("c.parquet")).await.unwrap(), "new");
        let (dir, store) = with_link(link);
        store.delete_many(vec![link.to_owned()]).await.unwrap();
        assert!(store.list_removable("t").await.unwrap().is_empty());
        let (other, store) = with_link(link);
        store.delete_directory(link, "scratch").await.unwrap();
        partita_core::store::removed().await;
        for dir in [dir, other] {
            assert_eq!(names(&dir.path().join("outside")), ["a.parquet", "deep"]);
            assert_eq!(names(&dir.path().join("outside/deep")), ["b.parquet"]);
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_no_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = std::ffi::CString::new(dir.path().join("pipe").to_str().unwrap()).unwrap();
    let made = Command::new("mkfifo").arg(pipe.to_str().unwrap()).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("device")).unwrap();
    let store = open(dir.path());
    for key in ["pipe", "socket", "device"] {
        let errors = [
            store.get(key).await.err(),
            store.get_opt(key).await.err(),
            store.get_range(key, 0..1).await.err(),
            store.get_versioned(key).await.err(),
            store.begin_get(key).await.err(),
            store.head(key).await.err(),
        ];
        for error in errors {
            let error = error.expect(key);
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{key}");
            assert!(error.to_string().contains("no regular file"), "{error}");
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_no_file_ends_no_listing_and_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    for (link, target) in [("loop", "loop"), ("dangling", "nowhere"), ("device", "/dev/zero")] {
        std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
    }
    let store = open(dir.path());
    for key in ["file", "folder/below"] {
        store.put(key, Bytes::new()).await.unwrap();
    }
    for key in ["loop", "dangling", "folder"] {
        assert!(store.get_opt(key).await.unwrap().is_none(), "{key}");
        assert!(store.head(key).await.unwrap().is_none(), "{key}");
    }
    let listed: Vec<ObjectInfo> = store.list("").try_collect().await.unwrap();
    let mut keys: Vec<String> = listed.into_iter().map(|object| object.key).collect();
    keys.sort();
    assert_eq!(keys, ["file", "folder/below"]);
    let shallow = store.list_shallow().await.unwrap();
    assert!(shallow.into_iter().map(|object| object.key).eq(["file"]));
    assert_eq!(store.list_directories("").await.unwrap(), ["folder"]);
    for key in ["socket", "loop", "dangling", "device", "folder"] {
        store.delete(key).await.unwrap();
    }
    assert_eq!(names(dir.path()), ["file", "folder"]);
}

#[cfg(unix)]
#[tokio::test]
async fn links_that_lead_back_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    for key in ["a/x/1", "a/y/2"] {
        store.put(key, Bytes::new()).await.unwrap();
    }
    let a = dir.path().join("store/a");
    std::os::unix::fs::symlink(dir.path().join("nothing"), a.join("dangling")).unwrap();
    std::os::unix::fs::symlink(a.join("y"), a.join("x/beside")).unwrap();
    let names = |found: Vec<ObjectVersion>| found.into_iter().map(|object| object.name);
    let found = names(store.versions("a").await.unwrap());
    assert!(found.eq(["x/1", "x/beside/2", "y/2"]));
    for (link, target) in [("y/back", a.join("x")), ("y/top", "/".into()), ("y/up", a.clone())] {
        std::os::unix::fs::symlink(target, a.join(link)).unwrap();
        let error = store.versions("a").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.to_string().contains("in which it lies"), "{error}");
        std::fs::remove_file(a.join(link)).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_larger_than_any_document_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
    File::create(dir.path().join("large")).unwrap().set_len(DOCUMENT + 1).unwrap();
    let store = open(dir.path());
    let errors = [
        store.get("large").await.err(),
        store.get_opt("large").await.err(),
        store.get_versioned("large").await.err(),
        store.get("sparse").await.err(),
        store.get_within("sparse", 1 << 20).await.err(),
        store.get_versioned("sparse").await.err(),
        store.begin_get("sparse").await.unwrap().unwrap().read_all(Vec::new(), 1 << 20).err(),
    ];
    for error in errors {
        assert_eq!(error.unwrap().kind(), ErrorKind::Corrupt);
    }
    assert_eq!(store.get_range("sparse", 5..9).await.unwrap(), vec![0; 4]);
}
