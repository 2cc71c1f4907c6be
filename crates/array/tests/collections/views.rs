//! Tests of views: variables over a collection that other writers change.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::rows::{DAY, Kind, Row, create, dataset, days, memory, rows_of};
use partita_array::json::Json;
use partita_array::layout::Layout;
use partita_array::{
    Array, Collection, CopyOptions, DType, Depth, DropOptions, GarbageOptions, InsertOptions,
    MapOptions, Partition, PartitionData, PartitionRows, ReadOptions, Schema, Selection,
    UpdateFunction, Variable, VariableSchema, VerifyOptions, View, ViewOptions,
};
use partita_core::store::url_of_repository;
use partita_core::{ErrorKind, Predicate, Store, StoreOptions};
use proptest::prelude::*;

const FILL: i32 = -9;

pub fn extra(name: &str) -> VariableSchema {
    VariableSchema::new(name, DType::Int32, &["time"]).with_fill(Json::Int(FILL.into())).unwrap()
}

pub fn schema(names: &[&str]) -> Schema {
    Schema::new(Vec::new(), names.iter().map(|name| extra(name)).collect()).unwrap()
}

fn covering(predicate: &str) -> ViewOptions {
    ViewOptions { predicate: Some(Predicate::parse(predicate).unwrap()), ..ViewOptions::default() }
}

/// A URL at which a collection of a kind can be created.
fn place(kind: Kind) -> String {
    let store = memory();
    match kind {
        Kind::Plain(_) => store.url().to_owned(),
        Kind::Icechunk => url_of_repository(store.url()),
    }
}

async fn made(url: &str, base: &Collection) -> partita_core::Result<View> {
    made_with(url, base, &ViewOptions::default()).await
}

async fn made_with(
    url: &str,
    base: &Collection,
    options: &ViewOptions,
) -> partita_core::Result<View> {
    View::create(url, base, &schema(&["w"]), options, &StoreOptions::new()).await
}

async fn over(url: &str, base: &Collection) -> View {
    View::open_over(url, base, &StoreOptions::new()).await.unwrap()
}

/// A base with rows on four days, and a view with a variable.
async fn example(kind: impl Into<Kind>, options: &ViewOptions) -> (Collection, View, String) {
    let kind = kind.into();
    let base = create(memory(), kind).await;
    base.insert(&dataset(&days(0..4, 1)), &InsertOptions::default()).await.unwrap();
    let url = place(kind);
    let view = made_with(&url, &base, options).await.unwrap();
    (base, view, url)
}

/// Sets a variable to ten times the hour of the day, plus `more`.
pub fn hours(name: &'static str, more: i32) -> UpdateFunction {
    Arc::new(move |given: PartitionData| {
        let times = given.data.variable("time").unwrap().data().integers().unwrap();
        let hour = |time: &i128| i32::try_from(*time % i128::from(DAY) / 3600).unwrap();
        let values: Vec<u8> =
            times.iter().flat_map(|time| (hour(time) * 10 + more).to_le_bytes()).collect();
        let data = Array::from_bytes(DType::Int32, vec![times.len()], values).unwrap();
        Ok(vec![Variable::new(extra(name), data).unwrap()])
    })
}

async fn values(view: &Collection, name: &str) -> Vec<i128> {
    let options = ReadOptions { variables: Some(vec![name.into()]), ..ReadOptions::default() };
    view.read(&options).await.unwrap().variable(name).unwrap().data().integers().unwrap()
}

async fn paths(view: &Collection) -> Vec<String> {
    view.partitions(None).await.unwrap().into_iter().map(|found| found.path).collect()
}

async fn sound(view: &Collection) {
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    assert_eq!(view.verify(&options).await.unwrap(), []);
}

fn filled(rows: usize) -> Vec<i128> {
    vec![FILL.into(); rows]
}

#[tokio::test]
async fn a_view_has_the_variables_of_both() {
    for kind in Kind::ALL {
        let (base, view, url) = example(kind, &ViewOptions::default()).await;
        assert_eq!(paths(&view).await, paths(&base).await);
        assert_eq!(values(&view, "w").await, filled(28));
        assert!(view.is_synced().await.unwrap());

        let written = view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
        assert_eq!(written.len(), 4);
        let all = view.read(&ReadOptions::default()).await.unwrap();
        assert_eq!(rows_of(&all), days(0..4, 1));
        let expected: Vec<i128> = (0..28).map(|row| row % 7 * 10).collect();
        assert_eq!(all.variable("w").unwrap().data().integers().unwrap(), expected);
        assert_eq!(base.config().schema.names(), ["time", "v"], "the base is as it was");

        // A variable of the view selects rows of both.
        let options = ReadOptions {
            predicate: Some(Predicate::parse("w >= 50 and time < '1970-01-03'").unwrap()),
            ..ReadOptions::default()
        };
        let some = view.read(&options).await.unwrap();
        assert_eq!(some.variable("w").unwrap().data().integers().unwrap(), [50, 60, 50, 60]);
        assert_eq!(rows_of(&some)[0], (5 * 3600, 1));

        let again = over(&url, &base).await;
        assert_eq!(values(&again, "w").await, expected);
        let none = Collection::open(&url, &StoreOptions::new()).await;
        assert_eq!(none.unwrap_err().kind(), ErrorKind::NotFound);
        let taken = made(&url, &base).await;
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let over_view = made(&place(kind), &view).await;
        assert_eq!(over_view.unwrap_err().kind(), ErrorKind::InvalidArgument);
        sound(&view).await;
        let operations = view.history().await.unwrap().into_iter().map(|record| record.operation);
        // In a repository, creating a view is a commit of its own.
        let made = if kind == Kind::Icechunk { 2 } else { 1 };
        let expected = [vec!["update"], vec!["create"; made]].concat();
        assert_eq!(operations.collect::<Vec<_>>(), expected);
        let garbage = view.collect_garbage(&GarbageOptions::default()).await.unwrap();
        assert_eq!(garbage.keys, Vec::<String>::new());
    }
}

#[tokio::test]
async fn variables_come_and_go() {
    for kind in Kind::ALL {
        let (base, view, _) = example(kind, &ViewOptions::default()).await;
        let work = partita_array::AlterOptions::default();
        view.add_variable("", &extra("u"), &work).await.unwrap();
        view.update(hours("u", 1), &MapOptions::default()).await.unwrap();
        assert_eq!(values(&view, "w").await, filled(28));
        assert_eq!(values(&view, "u").await[..3], [1, 11, 21]);
        view.drop_variable("w", &work).await.unwrap();
        assert_eq!(view.config().schema.names(), ["time", "v", "u"]);
        assert_eq!(view.own_variables().await.unwrap(), ["u"]);

        // This variable overrides one of the base, which stays unchanged.
        let mut wide = extra("v");
        wide.dimensions.push("x".into());
        view.add_variable("", &wide, &work).await.unwrap();
        assert_eq!(values(&view, "v").await, filled(56));
        assert_eq!(values(&base, "v").await[..2], [1, -1]);
        view.drop_variable("v", &work).await.unwrap();
        assert_eq!(values(&view, "v").await[..2], [1, -1]);

        for refused in [
            view.drop_variable("v", &work).await,
            view.add_variable("", &extra("time"), &work).await,
            view.insert(&dataset(&days(0..1, 1)), &InsertOptions::default()).await.map(drop),
            view.drop_partitions(&DropOptions::default()).await.map(drop),
            view.update(hours("v", 0), &MapOptions::default()).await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        let unknown = view.update(hours("x", 0), &MapOptions::default()).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::SchemaMismatch);
        sound(&view).await;
    }
}

#[tokio::test]
async fn functions_see_neighbours_of_both() {
    for kind in Kind::ALL {
        let (_, view, _) = example(kind, &ViewOptions::default()).await;
        view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
        for (depth, expected) in [
            (Depth::None, [7, 7, 7, 7]),
            (Depth::Partitions(1), [14, 21, 21, 14]),
            (Depth::Rows(2), [9, 11, 11, 9]),
        ] {
            let count: partita_array::MapFunction<_> = Arc::new(|given: PartitionData| {
                let rows = |name: &str| given.data.variable(name).unwrap().size("time").unwrap();
                assert_eq!((rows("w"), rows("v")), (rows("time"), rows("time")));
                Ok(rows("w"))
            });
            let options = MapOptions { depth, ..MapOptions::default() };
            let found = view.map(count, &options).await.unwrap();
            assert_eq!(found.into_iter().map(|(_, rows)| rows).collect::<Vec<_>>(), expected);
        }
    }
}

#[tokio::test]
async fn a_partial_view_reads_what_it_covers() {
    for kind in Kind::ALL {
        let (base, view, url) = example(kind, &covering("day in (2, 3)")).await;
        assert_eq!(values(&view, "v").await.len(), 28);
        assert_eq!(view.partitions(None).await.unwrap().len(), 2);
        base.insert(&dataset(&days(5..6, 1)), &InsertOptions::default()).await.unwrap();
        assert!(view.is_synced().await.unwrap(), "the view does not cover the new day");
        let view = over(&url, &base).await;
        let written = view.sync(&covering("day == 6")).await.unwrap();
        assert_eq!(written.len(), 1);
        assert_eq!(view.partitions(None).await.unwrap().len(), 3);
        assert_eq!(view.config().view.as_ref().unwrap().filter.as_deref(), Some("day == 6"));
        sound(&view).await;
    }
    let base = create(memory(), Layout::ZarrV2).await;
    for condition in ["week == 1", "day == 'Monday'"] {
        let made = made_with(&place(Layout::ZarrV2.into()), &base, &covering(condition)).await;
        assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidPredicate);
    }
}

#[tokio::test]
async fn a_view_says_where_it_is_not_in_line() {
    for kind in Kind::ALL {
        // The base has the same number of rows at other times, or more rows, or lacks the
        // partition.
        for change in 0..3 {
            let (base, view, _) = example(kind, &ViewOptions::default()).await;
            view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
            let shifted: Vec<Row> =
                days(1..2, 5).into_iter().map(|(time, value)| (time + 3600, value)).collect();
            let more = [days(1..2, 5), vec![(DAY + 22 * 3600, 5)]].concat();
            let gone = DropOptions {
                predicate: Some(Predicate::parse("day == 2").unwrap()),
                ..DropOptions::default()
            };
            match change {
                0 => {
                    drop(base.insert(&dataset(&shifted), &InsertOptions::default()).await.unwrap())
                }
                1 => drop(base.insert(&dataset(&more), &InsertOptions::default()).await.unwrap()),
                _ => drop(base.drop_partitions(&gone).await.unwrap()),
            }
            let day = "year=1970/month=01/day=02";
            let reads = [
                view.read(&ReadOptions::default()).await.map(drop),
                view.update(hours("w", 1), &MapOptions::default()).await.map(drop),
                view.plan(&ReadOptions::default()).await.map(drop),
            ];
            for refused in reads {
                let error = refused.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::OutOfSync, "{error}");
                assert!(error.to_string().contains("sync()"), "{error}");
                assert!(error.context().contains(&("partition", day.to_owned())), "{error}");
            }
            let others = ReadOptions {
                predicate: Some(Predicate::parse("day != 2").unwrap()),
                ..ReadOptions::default()
            };
            assert!(view.read(&others).await.is_ok(), "the others can be read");
            assert!(!view.is_synced().await.unwrap());
            let problems = view.verify(&VerifyOptions::default()).await.unwrap();
            assert_eq!(problems.len(), 1);
            assert_eq!((problems[0].kind.name(), problems[0].at.as_str()), ("unsynced", day));

            let written = view.sync(&ViewOptions::default()).await.unwrap();
            assert_eq!(written.len(), usize::from(change < 2));
            assert!(view.is_synced().await.unwrap());
            assert_eq!(view.sync(&ViewOptions::default()).await.unwrap(), []);
            let first = [0, 10, 20, 30, 40, 50, 60];
            let fill = i128::from(FILL);
            let second: &[i128] = match change {
                0 => &[10, 20, 30, 40, 50, 60, fill],
                1 => &[0, 10, 20, 30, 40, 50, 60, fill],
                _ => &[],
            };
            assert_eq!(values(&view, "w").await, [&first, second, &first, &first].concat());
            sound(&view).await;
        }
    }
}

#[tokio::test]
async fn updates_of_two_variables_at_once_both_stay() {
    for kind in Kind::ALL {
        let (base, view, url) = example(kind, &ViewOptions::default()).await;
        let work = partita_array::AlterOptions::default();
        view.add_variable("", &extra("u"), &work).await.unwrap();
        let other = over(&url, &base).await;
        let update = |view: View, name: &'static str, more: i32| async move {
            view.update(hours(name, more), &MapOptions::default()).await
        };
        let updates = [("w", 1, &view), ("u", 2, &other), ("w", 3, &other), ("u", 4, &view)];
        let updates =
            updates.map(|(name, more, view)| tokio::spawn(update(view.clone(), name, more)));
        for update in updates {
            assert_eq!(update.await.unwrap().unwrap().len(), 4);
        }
        let (w, u) = (values(&view, "w").await, values(&view, "u").await);
        assert!([1, 3].contains(&w[0]) && [2, 4].contains(&u[0]), "{w:?} {u:?}");
        for row in 0..28 {
            assert_eq!(w[row] - w[0], (row % 7 * 10) as i128);
            assert_eq!(u[row] - u[0], (row % 7 * 10) as i128);
        }
        sound(&view).await;
    }
}

#[tokio::test]
async fn a_copy_is_a_view_over_the_same_base() {
    for kind in Kind::ALL {
        let (base, view, _) = example(kind, &covering("day > 1")).await;
        view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
        let predicate = Some(Predicate::parse("day < 4").unwrap());
        let options = CopyOptions { predicate, verify: true, ..CopyOptions::default() };
        let target = place(kind);
        view.copy_to(&target, &StoreOptions::new(), &options).await.unwrap();
        let copy = over(&target, &base).await;
        assert_eq!(values(&copy, "w").await, [0, 10, 20, 30, 40, 50, 60].repeat(2));
        assert!(copy.is_synced().await.unwrap());
        copy.update(hours("w", 1), &MapOptions::default()).await.unwrap();
        assert_eq!(values(&view, "w").await[0], 0);
        let other = match view.config().layout {
            Layout::ZarrV2 => Layout::ZarrV3,
            Layout::ZarrV3 => Layout::ZarrV2,
        };
        let options = CopyOptions { layout: Some(other), ..CopyOptions::default() };
        let refused = view.copy(memory(), &options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    }
}

#[tokio::test]
async fn copies_of_views_go_into_repositories_and_out_of_them() {
    let v3 = Kind::Plain(Layout::ZarrV3);
    let options = CopyOptions { verify: true, ..CopyOptions::default() };
    for (from, to) in [(v3, Kind::Icechunk), (Kind::Icechunk, v3)] {
        let (base, view, _) = example(from, &covering("day > 1")).await;
        view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
        let (below, target) = (place(to), place(to));
        let below = base.copy_to(&below, &StoreOptions::new(), &options).await.unwrap();
        let options = CopyOptions { base: Some(below.clone()), ..options.clone() };
        let copy = view.copy_to(&target, &StoreOptions::new(), &options).await.unwrap();
        assert_eq!(copy.base().unwrap().url(), below.url());
        let copy = View::open(&target, &StoreOptions::new()).await.unwrap();
        assert!(copy.is_synced().await.unwrap());
        assert_eq!(values(&copy, "w").await, values(&view, "w").await);
        base.drop_partitions(&DropOptions::default()).await.unwrap();
        assert_eq!(values(&copy, "w").await.len(), 21, "the other base is as it was");
        sound(&copy).await;
    }
    // A view over a base in Zarr v2 is in Zarr v2 too.
    let (_, view, _) = example(Layout::ZarrV2, &ViewOptions::default()).await;
    let target = place(Kind::Icechunk);
    for refused in [
        view.copy_to(&target, &StoreOptions::new(), &options).await.map(drop),
        made(&target, view.under()).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    let none = View::open(&target, &StoreOptions::new()).await;
    assert_eq!(none.unwrap_err().kind(), ErrorKind::NotFound, "nothing is left");
}

#[tokio::test]
async fn states_of_a_view_in_a_repository_are_read() {
    let (base, view, url) = example(Kind::Icechunk, &ViewOptions::default()).await;
    view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
    view.create_tag("first", None).await.unwrap();
    view.create_branch("trial", None).await.unwrap();
    let trial = View::of(view.on_branch("trial").await.unwrap()).unwrap();
    trial.update(hours("w", 5), &MapOptions::default()).await.unwrap();
    view.update(hours("w", 1), &MapOptions::default()).await.unwrap();
    assert_eq!(values(&view, "w").await[..2], [1, 11]);
    assert_eq!(values(&trial, "w").await[..2], [5, 15]);
    let first = view.at("first").await.unwrap();
    assert_eq!(values(&first, "w").await[..2], [0, 10]);
    let again = View::open(trial.url(), &StoreOptions::new()).await.unwrap();
    assert_eq!((again.branch(), again.under().url()), (Some("trial"), base.url()));
    assert!(trial.url().starts_with(&url));
    assert_eq!(values(&again, "w").await[..2], [5, 15]);
    let refused = first.update(hours("w", 2), &MapOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);

    // The base changes after the tag was made: the tagged view is out of sync, and the branch can
    // be synced.
    base.insert(&dataset(&days(1..2, 5)[1..]), &InsertOptions::default()).await.unwrap();
    let refused = view.at("first").await.unwrap().read(&ReadOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OutOfSync);
    trial.sync(&ViewOptions::default()).await.unwrap();
    assert_eq!(values(&trial, "w").await[6..9], [65, 15, 25]);
    assert!(!view.is_synced().await.unwrap());
}

#[tokio::test]
async fn a_planned_read_in_a_repository_is_of_the_state_that_was_planned() {
    let (base, view, _) = example(Kind::Icechunk, &ViewOptions::default()).await;
    let options = ReadOptions::default();
    let plan = view.plan(&options).await.unwrap();
    let rows: Vec<_> = plan
        .partitions
        .iter()
        .map(|found| (found.rows.partition.path.clone(), found.rows.rows.clone()))
        .collect();
    base.insert(&dataset(&days(1..2, 7)[2..]), &InsertOptions::default()).await.unwrap();
    view.sync(&ViewOptions::default()).await.unwrap();
    view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
    let read = view.read_rows(&rows, plan.commit, &options).await.unwrap();
    assert_eq!(rows_of(&read), days(0..4, 1));
    assert_eq!(read.variable("w").unwrap().data().integers().unwrap(), filled(28));
}

#[tokio::test]
async fn a_planned_read_notices_changes_of_both() {
    let (base, view, _) = example(Layout::ZarrV2, &ViewOptions::default()).await;
    let options = ReadOptions::default();
    for below in [false, true] {
        let plan = view.plan(&options).await.unwrap();
        let rows: Vec<_> = plan
            .partitions
            .iter()
            .map(|found| (found.rows.partition.path.clone(), vec![2..3, 3..4]))
            .collect();
        let read = view.read_rows(&rows, plan.commit, &options).await.unwrap();
        assert_eq!(read.variable("w").unwrap().data().len(), 8);
        match below {
            false => drop(view.update(hours("w", 0), &MapOptions::default()).await.unwrap()),
            true => {
                let again = dataset(&days(1..2, 7));
                base.insert(&again, &InsertOptions::default()).await.unwrap();
            }
        }
        let error = view.read_rows(&rows, plan.commit, &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommitConflict);
    }
}

#[tokio::test]
async fn a_view_finds_its_base_where_both_were_moved() {
    for kind in Kind::ALL {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
        let options = StoreOptions::default();
        let base = create(Store::open(&at("old/ssh"), &options).unwrap(), kind).await;
        base.insert(&dataset(&days(0..2, 1)), &InsertOptions::default()).await.unwrap();
        let url_of = |name: &str| match kind {
            Kind::Plain(_) => at(name),
            Kind::Icechunk => url_of_repository(&at(name)),
        };
        let url = url_of("old/views/w");
        let view = made(&url, &base).await.unwrap();
        view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
        let view = View::open(&url, &options).await.unwrap();
        assert_eq!(values(&view, "w").await.len(), 14);
        assert!(view.under().check_writable().is_err(), "a base is only read");

        std::fs::rename(at("old"), at("new")).unwrap();
        let view = View::open(&url_of("new/views/w"), &options).await.unwrap();
        assert_eq!(view.under().url(), url_of("new/ssh"));
        assert_eq!(values(&view, "w").await[..2], [0, 10]);
        view.update(hours("w", 1), &MapOptions::default()).await.unwrap();

        std::fs::rename(at("new/ssh"), at("other")).unwrap();
        let error = View::open(&url_of("new/views/w"), &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.context().iter().any(|(name, _)| *name == "base"), "{error}");
        let base = Collection::open(&url_of("other"), &options).await.unwrap();
        let view = over(&url_of("new/views/w"), &base).await;
        assert_eq!(values(&view, "w").await[..2], [1, 11]);
    }
}

fn golden(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/zcollection");
    root.canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn views_of_zcollection_are_read() {
    let options = StoreOptions::default();
    for (line, rows, columns) in [("v1", 2, 3), ("v3", 3600, 3)] {
        let base = Collection::open(&golden(&format!("{line}-date")), &options).await.unwrap();
        let url = golden(&format!("{line}-view"));
        let gone = View::open(&url, &options).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
        let view = View::open_over(&url, &base, &options).await.unwrap();
        assert_eq!(paths(&view).await, ["year=2022/month=01"]);
        let data = view.read(&ReadOptions::default()).await.unwrap();
        let v2 = data.variable("v2").unwrap();
        assert_eq!(v2.data().shape(), [rows, columns]);
        assert_eq!(v2.schema().attributes.get("units"), Some(&Json::from("K")));
        assert_eq!(data.variable("time").unwrap().data().len(), rows);
        sound(&view).await;
        if line == "v1" {
            let filter = view.config().view.as_ref().unwrap().filter.clone();
            assert_eq!(filter.as_deref(), Some("month == 1"));
            assert!(view.is_synced().await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_view_that_names_no_rows_is_taken_at_its_word() {
    let (base, _, _) = example(Layout::ZarrV3, &ViewOptions::default()).await;
    let store = memory();
    let options = ViewOptions::default();
    View::create_in(store.clone(), &base, &schema(&["w"]), &options).await.unwrap();
    let view = View::open_over_in(store.clone(), &base).await.unwrap();
    view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
    // ZCollection leaves an updated partition like this.
    let day = "year=1970/month=01/day=02";
    let updated = async || {
        let key = format!("{day}/w/zarr.json");
        let text = [store.get(&key).await.unwrap(), " ".into()].concat();
        store.put(&key, text.into()).await.unwrap();
        store.delete_directory(&format!("{day}/.checksum"), ".partita/scratch").await.unwrap();
    };
    updated().await;
    assert!(view.is_synced().await.unwrap());
    let noted = view.sync(&ViewOptions::default()).await.unwrap();
    assert_eq!(noted.iter().map(|found| found.path.as_str()).collect::<Vec<_>>(), [day]);
    assert_eq!(view.sync(&ViewOptions::default()).await.unwrap(), []);
    let mut rows = days(1..2, 5);
    rows.remove(3);
    base.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
    view.sync(&ViewOptions::default()).await.unwrap();
    assert_eq!(values(&view, "w").await[7..13], [0, 10, 20, 40, 50, 60]);

    // After rows have changed, it is not known which rows its values belong to.
    updated().await;
    base.insert(&dataset(&days(1..2, 5)), &InsertOptions::default()).await.unwrap();
    let error = view.sync(&ViewOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSync);
    assert_eq!(view.history().await.unwrap()[0].operation, "sync");
}

#[tokio::test]
async fn rows_that_are_chosen_of_the_base_are_those_of_the_view() {
    for kind in Kind::ALL {
        let (base, view, _) = example(kind, &covering("day > 1")).await;
        view.update(hours("w", 0), &MapOptions::default()).await.unwrap();
        let rows = |partition: Partition| PartitionRows {
            partition,
            rows: vec![Range { start: 2, end: 4 }],
        };
        let commit = base.last_commit().await.unwrap().own;
        let all = base.partitions(None).await.unwrap();
        // The view does not cover the first partition.
        let chosen = Selection::new(commit, [all[0].clone(), all[2].clone()].map(rows));
        let reading = ReadOptions { rows: Some(chosen.clone()), ..ReadOptions::default() };
        let some = view.read(&reading).await.unwrap();
        assert_eq!(rows_of(&some), days(2..3, 1)[2..4]);
        assert_eq!(some.variable("w").unwrap().data().integers().unwrap(), [20, 30]);

        let updating = MapOptions { rows: Some(chosen), ..MapOptions::default() };
        let written = view.update(hours("w", 5), &updating).await.unwrap();
        assert_eq!(written, [all[2].clone()]);
        let expected = [0, 10, 20, 30, 40, 50, 60, 0, 10, 25, 35, 40, 50, 60];
        assert_eq!(values(&view, "w").await[..14], expected);
        sound(&view).await;

        base.insert(&dataset(&days(2..3, 2)), &InsertOptions::default()).await.unwrap();
        for failed in [
            view.read(&reading).await.map(drop),
            view.update(hours("w", 6), &updating).await.map(drop),
            view.map(Arc::new(|_| Ok(())), &updating).await.map(drop),
        ] {
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::CommitConflict);
        }
    }
}

/// The values that sync must produce: matched by time, equal times in their order.
fn expected(old: &[(i64, i32)], new: &[i64]) -> Vec<i32> {
    let mut known: BTreeMap<i64, VecDeque<i32>> = BTreeMap::new();
    for (time, value) in old {
        known.entry(*time).or_default().push_back(*value);
    }
    let mut take = |time: &i64| known.get_mut(time).and_then(VecDeque::pop_front);
    new.iter().map(|time| take(time).unwrap_or(FILL)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Hours of three days, in any order and repeated.
    #[test]
    fn sync_keeps_the_values_of_rows_that_are_still_there(
        kind in prop::sample::select(Kind::ALL.to_vec()),
        states in prop::collection::vec(prop::collection::vec(0i64..72, 0..24), 2..4),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let base = create(memory(), kind).await;
            let options = ViewOptions::default();
            let view = made(&place(kind), &base).await.unwrap();
            let mut model: BTreeMap<i64, Vec<(i64, i32)>> = BTreeMap::new();
            for state in states {
                let all = DropOptions::default();
                base.drop_partitions(&all).await.unwrap();
                let rows: Vec<Row> = state.iter().map(|hour| (hour * 3600, 0)).collect();
                base.insert(&dataset(&rows), &InsertOptions::default()).await.unwrap();
                let mut new: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
                for (time, _) in &rows {
                    new.entry(time / DAY).or_default().push(*time);
                }
                view.sync(&options).await.unwrap();
                assert!(view.is_synced().await.unwrap());
                let none = Vec::new();
                let wanted: Vec<i128> = new
                    .iter()
                    .flat_map(|(day, times)| expected(model.get(day).unwrap_or(&none), times))
                    .map(i128::from)
                    .collect();
                assert_eq!(values(&view, "w").await, wanted);
                sound(&view).await;
                // The values identify rows, also those with the same time.
                let number: UpdateFunction = Arc::new(|given: PartitionData| {
                    let times = given.data.variable("time").unwrap().data().integers().unwrap();
                    let value = |(row, time): (usize, &i128)| (*time as i32) + row as i32;
                    let values: Vec<u8> =
                        times.iter().enumerate().flat_map(|pair| value(pair).to_le_bytes()).collect();
                    let data = Array::from_bytes(DType::Int32, vec![times.len()], values)?;
                    Ok(vec![Variable::new(extra("w"), data)?])
                });
                view.update(number, &MapOptions::default()).await.unwrap();
                model = new
                    .into_iter()
                    .map(|(day, times)| {
                        let value = |(row, time): (usize, i64)| (time, time as i32 + row as i32);
                        (day, times.into_iter().enumerate().map(value).collect())
                    })
                    .collect();
            }
        });
    }
}
