//! The implementation of commands for collections.

use jiff::{SignedDuration, Timestamp};
use partita::array::dataset::{Chunks, Schema, VariableSchema};
use partita::array::json::Style;
use partita::array::layout::Layout;
use partita::array::{
    Activity, Collection, CopyOptions, DropOptions, GarbageOptions, HeldLease, PartitionSize,
    Partitioning, StagedWork, VerifyOptions, Work,
};
use partita::{Cancel, Predicate, StoreOptions};
use serde_json::{Map, Value, json};

use crate::bar::progress;
use crate::failure::Failure;
use crate::grid::{Align, Grid};
use crate::sink::print;
use crate::style;
use crate::types;
use crate::units;

/// The progress display and cancellation of a command.
pub(crate) fn work(json: bool, cancel: Cancel) -> Work {
    Work { progress: progress(json), cancel, ..Work::default() }
}

/// The partitioning in words.
pub(crate) fn partitioned_by(partitioning: &Partitioning) -> String {
    let variables = partitioning.variables().join(", ");
    match partitioning {
        Partitioning::Date { resolution, .. } => format!("{resolution} of {variables}"),
        Partitioning::GroupedSequence { size, start, .. } => {
            format!("{variables}, {size} together from {start}")
        }
        _ => variables,
    }
}

/// The Zarr format of a layout.
pub(crate) fn zarr_format(layout: Layout) -> u8 {
    match layout {
        Layout::ZarrV2 => 2,
        Layout::ZarrV3 => 3,
    }
}

/// `partita info`.
pub(crate) async fn info(collection: &Collection, json: bool) -> Result<(), Failure> {
    let partitions = collection.partitions(None).await?.len();
    let last = collection.history().await?.into_iter().next();
    let config = collection.config();
    let variables = config.schema.paths().len();
    let own = collection.own_variables().await?;
    let view = config.view.as_ref().zip(collection.base());
    let retained = collection.retained().await?;
    let activity = collection.activity().await?;
    if json {
        let last = last.map(|last| {
            json!({
                "number": last.sequence,
                "time": last.time.to_string(),
                "operation": last.operation,
            })
        });
        let mut facts = json!({
            "kind": "collection",
            "url": collection.url(),
            "branch": collection.branch(),
            "zarr_format": zarr_format(config.layout),
            "axis": config.axis,
            "dimension": config.dimension,
            "partition_by": config.partitioning.variables(),
            "fields": config.partitioning.fields(),
            "partitions": partitions,
            "variables": variables,
            "last_commit": last,
            "retained": retained.map(|own| json!({"objects": own.objects, "bytes": own.bytes})),
            "leases": activity.leases.iter().map(lease).collect::<Vec<_>>(),
            "staged": activity.staged.iter().map(staged).collect::<Vec<_>>(),
        });
        if let (Some((view, base)), Some(facts)) = (view, facts.as_object_mut()) {
            facts.insert("kind".into(), "view".into());
            facts.insert("base".into(), base.url().into());
            facts.insert("where".into(), view.filter.as_deref().into());
            facts.insert("own_variables".into(), own.into());
        }
        return print(&format!("{facts}\n"));
    }
    let kind = if view.is_some() { "view" } else { "collection" };
    let mut facts = vec![
        ("kind", kind.to_owned()),
        ("url", collection.url().to_owned()),
        ("branch", collection.branch().unwrap_or_default().to_owned()),
        ("zarr format", zarr_format(config.layout).to_string()),
        ("axis", config.axis.clone()),
        ("partitioned by", partitioned_by(&config.partitioning)),
        ("partitions", units::count(partitions as u64)),
        ("variables", variables.to_string()),
    ];
    if let Some((view, base)) = view {
        facts.push(("base", base.url().to_owned()));
        facts.push(("covers", view.filter.clone().unwrap_or("all partitions".to_owned())));
        facts.push(("own variables", own.join(", ")));
    }
    facts.retain(|(_, value)| !value.is_empty());
    for (name, value) in &config.schema.attributes {
        facts.push(("attribute", format!("{name} = {}", value.to_text(Style::Compact))));
    }
    if let Some(last) = last {
        facts.push(("last commit", format!("{} at {:.0}", last.operation, last.time)));
    }
    if let Some(retained) = retained {
        let (bytes, objects) = (units::bytes(retained.bytes), units::count(retained.objects));
        facts.push(("retained", format!("{bytes} in {objects} objects beside the published ones")));
    }
    facts.extend(under_way(&activity));
    print(&style::facts(facts))
}

fn lease(lease: &HeldLease) -> Value {
    json!({"task": lease.task.name(), "renewed": lease.renewed.to_string()})
}

fn staged(work: &StagedWork) -> Value {
    json!({
        "writer": work.writer,
        "objects": work.objects,
        "bytes": work.bytes,
        "changed": work.changed.to_string(),
    })
}

/// The leases that are held and what is staged, with their ages by the clock of this machine.
fn under_way(activity: &Activity) -> Vec<(&'static str, String)> {
    let now = Timestamp::now();
    let mut facts = Vec::new();
    for lease in &activity.leases {
        let renewed = units::ago(now.duration_since(lease.renewed));
        facts.push(("lease", format!("{}, renewed {renewed}", lease.task.name())));
    }
    if let Some(first) = activity.staged.first() {
        let bytes = units::bytes(activity.staged.iter().map(|work| work.bytes).sum());
        let objects = activity.staged.iter().map(|work| work.objects).sum();
        let objects = units::plural(objects, "object");
        let writers = units::plural(activity.staged.len() as u64, "writer");
        let since = units::ago(now.duration_since(first.changed));
        facts.push(("not committed", format!("{bytes} in {objects} of {writers}, since {since}")));
    }
    facts
}

/// The number of items of a chunk along each dimension of a variable.
pub(crate) fn chunks_of(schema: &Schema, variable: &VariableSchema) -> String {
    let chunks = |name: &String| {
        let mut schemas: Vec<&Schema> = vec![schema];
        while let Some(schema) = schemas.pop() {
            if let Some(dimension) = schema.dimension(name) {
                return dimension.chunks.map(|chunks| match chunks {
                    Chunks::Size(items) => items.to_string(),
                    Chunks::Whole => "whole".to_owned(),
                    Chunks::Auto => "auto".to_owned(),
                });
            }
            schemas.extend(schema.groups.values());
        }
        None
    };
    let chunks = variable.dimensions.iter().map(|name| chunks(name).unwrap_or("-".into()));
    chunks.collect::<Vec<_>>().join(", ")
}

/// `partita schema`.
pub(crate) fn schema(collection: &Collection, json: bool) -> Result<(), Failure> {
    let config = collection.config();
    let along = |own: &VariableSchema| own.axis(&config.dimension).is_some();
    if json {
        let variables: Vec<Value> = config
            .schema
            .paths()
            .into_iter()
            .map(|(path, own)| {
                json!({
                    "name": path,
                    "type": types::of_numpy(&own.dtype.to_string()),
                    "dimensions": own.dimensions,
                    "partitioned": along(own),
                })
            })
            .collect();
        return print(&format!("{}\n", Value::from(variables)));
    }
    let headings = ["variable", "type", "dimensions", "chunks", "role"];
    let mut grid = Grid::new(headings.map(|heading| (heading, Align::Left)));
    for (path, own) in config.schema.paths() {
        let role = match (path == config.axis, along(own)) {
            (true, _) => "axis",
            (_, true) => "",
            (_, false) => "immutable",
        };
        grid.row([
            path,
            types::of_numpy(&own.dtype.to_string()),
            own.dimensions.join(", "),
            chunks_of(&config.schema, own),
            role.to_owned(),
        ]);
    }
    print(&grid.render())
}

/// `partita partitions`.
pub(crate) async fn partitions(collection: &Collection, json: bool) -> Result<(), Failure> {
    let sizes = collection.sizes(None).await?;
    if json {
        let row = |size: &PartitionSize| {
            let key: Map<String, Value> = size
                .partition
                .key
                .pairs()
                .map(|(field, value)| (field.to_owned(), value.to_string().into()))
                .collect();
            json!({
                "key": key,
                "path": size.partition.path,
                "rows": size.rows,
                "objects": size.objects,
                "bytes": size.bytes,
            })
        };
        return print(&format!("{}\n", sizes.iter().map(row).collect::<Value>()));
    }
    let mut grid = Grid::new([
        ("partition", Align::Left),
        ("rows", Align::Right),
        ("objects", Align::Right),
        ("size", Align::Right),
    ]);
    for size in sizes {
        grid.row([
            size.partition.path,
            units::count(size.rows as u64),
            units::count(size.objects as u64),
            units::bytes(size.bytes),
        ]);
    }
    print(&grid.render())
}

/// `partita history`.
pub(crate) async fn history(collection: &Collection, json: bool) -> Result<(), Failure> {
    let records = collection.history().await?;
    let bytes = |record: &partita::array::Record| -> u64 {
        record.changes.iter().map(|change| change.bytes).sum()
    };
    if json {
        let row = |record: &partita::array::Record| {
            json!({
                "number": record.sequence,
                "commit": record.id,
                "time": record.time.to_string(),
                "operation": record.operation,
                "partitions": record.changes.iter().map(|c| &c.path).collect::<Vec<_>>(),
                "bytes": bytes(record),
            })
        };
        return print(&format!("{}\n", records.iter().map(row).collect::<Value>()));
    }
    let mut grid = Grid::new([
        ("commit", Align::Right),
        ("time", Align::Left),
        ("operation", Align::Left),
        ("partitions", Align::Right),
        ("written", Align::Right),
    ]);
    for record in &records {
        grid.row([
            record.sequence.to_string(),
            format!("{:.0}", record.time),
            record.operation.clone(),
            units::count(record.changes.len() as u64),
            units::bytes(bytes(record)),
        ]);
    }
    print(&grid.render())
}

/// `partita verify`.
pub(crate) async fn verify(
    collection: &Collection,
    data: bool,
    repair: bool,
    json: bool,
    cancel: Cancel,
) -> Result<(), Failure> {
    let options = VerifyOptions { predicate: None, data, repair, work: work(json, cancel) };
    let problems = collection.verify(&options).await?;
    if json {
        let row = |problem: &partita::array::Problem| {
            json!({
                "kind": problem.kind.name(),
                "key": problem.at,
                "message": problem.message,
                "repaired": problem.repaired,
            })
        };
        print(&format!("{}\n", problems.iter().map(row).collect::<Value>()))?;
    } else if problems.is_empty() {
        print("nothing is wrong\n")?;
    } else {
        print(&problems.iter().map(|problem| format!("{problem}\n")).collect::<String>())?;
    }
    match problems.iter().filter(|problem| !problem.repaired).count() as u64 {
        0 => Ok(()),
        wrong => Err(Failure::Found(units::plural(wrong, "problem"))),
    }
}

/// `partita gc`: returns the removed keys and their size in bytes.
pub(crate) async fn garbage(
    collection: &Collection,
    grace: SignedDuration,
    dry_run: bool,
    cancel: Cancel,
) -> Result<(Vec<String>, u64), Failure> {
    let options = GarbageOptions { grace, dry_run, cancel };
    let garbage = collection.collect_garbage(&options).await?;
    Ok((garbage.keys, garbage.bytes))
}

/// The layout with the given Zarr format.
pub(crate) fn layout_of(format: u8) -> Layout {
    if format == 3 { Layout::ZarrV3 } else { Layout::ZarrV2 }
}

/// `partita copy`.
pub(crate) async fn copy(
    collection: &Collection,
    target: &str,
    store: &StoreOptions,
    options: &CopyOptions,
    json: bool,
) -> Result<(), Failure> {
    copied(&collection.copy_to(target, store, options).await?, json).await
}

/// Prints the result of a copy.
pub(crate) async fn copied(copy: &Collection, json: bool) -> Result<(), Failure> {
    let partitions = copy.partitions(None).await?.len() as u64;
    if json {
        let done = json!({"url": copy.url(), "partitions": partitions});
        return print(&format!("{done}\n"));
    }
    print(&format!("copied {} to {}\n", units::plural(partitions, "partition"), copy.url()))
}

/// `partita delete`: removes partitions.
pub(crate) async fn delete(
    collection: &Collection,
    filter: Predicate,
    key: Option<String>,
    json: bool,
    cancel: Cancel,
) -> Result<(), Failure> {
    let (predicate, work) = (Some(filter), work(json, cancel));
    let options = DropOptions { predicate, older_than: None, key, work };
    let gone = collection.drop_partitions(&options).await?;
    if json {
        let paths: Vec<&String> = gone.iter().map(|partition| &partition.path).collect();
        let done = json!({"url": collection.url(), "partitions_removed": paths});
        return print(&format!("{done}\n"));
    }
    print(&format!("removed {}\n", units::plural(gone.len() as u64, "partition")))
}
