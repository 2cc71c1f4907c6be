//! `partita migrate`.

use std::str::FromStr;

use clap::Args;
use partita::array::dataset::{ByteOrder, Chunks, Codecs, Schema};
use partita::array::json::Json;
use partita::array::{
    Collection, CopyOptions, Index, IndexPlace, IndexTarget, MigrateOptions, MigratedIndex,
    MigratedView, View,
};
use partita::{Cancel, Error, Predicate};

use super::collection;
use crate::arguments::{AtVersion, Common, Either};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  partita migrate lake/ssh lake/ssh3 --zarr 3 --chunk time=1000 --compressor zstd:6
  partita migrate lake/ssh lake/new --view lake/anomaly lake/new-anomaly";

/// Copy a collection to another Zarr format, with other chunks or codecs.
///
/// Views and indexes can be migrated with it. The written data is read back and compared. If the
/// command is interrupted, running it again continues.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MigrateArguments {
    /// The collection
    url: String,
    /// The location of the new collection
    target: String,
    #[command(flatten)]
    at: AtVersion,
    /// Only these partitions
    #[arg(long = "where", short = 'w', value_name = "EXPR")]
    filter: Option<String>,
    /// The Zarr format, 2 or 3
    #[arg(long, value_name = "FORMAT", value_parser = clap::value_parser!(u8).range(2..=3))]
    zarr: Option<u8>,
    /// Items per chunk along a dimension; may be repeated for several dimensions
    #[arg(long = "chunk", value_name = "DIMENSION=ITEMS")]
    chunks: Vec<Chunk>,
    /// The compressor of all variables: zstd or gzip with its level, or none
    #[arg(long, value_name = "CODEC[:LEVEL]")]
    compressor: Option<Compressor>,
    /// For a view, the collection that the new view is based on: its own base, migrated before
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// A view over the collection to migrate too, and the location of the new view
    #[arg(long = "view", num_args = 2, value_names = ["URL", "TARGET"])]
    views: Vec<String>,
    /// An index file to migrate too, and the location of the new one; those kept with the
    /// collection are always migrated
    #[arg(long = "index", num_args = 2, value_names = ["URL", "TARGET"])]
    indexes: Vec<String>,
    /// Do not read the written data back
    #[arg(long)]
    no_verify: bool,
    /// Promise that nobody else writes, for stores that cannot commit atomically
    #[arg(long)]
    single_writer: bool,
}

/// `DIMENSION=ITEMS`
#[derive(Debug, Clone)]
struct Chunk {
    dimension: String,
    items: usize,
}

impl FromStr for Chunk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (dimension, items) = text.split_once('=').ok_or("write it as time=4000")?;
        match items.parse() {
            Ok(items) if items > 0 => Ok(Self { dimension: dimension.to_owned(), items }),
            _ => Err("the number of items is not a positive number".to_owned()),
        }
    }
}

/// `CODEC[:LEVEL]`; `None` for no compression.
#[derive(Debug, Clone)]
struct Compressor(Option<(String, i128)>);

impl FromStr for Compressor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (codec, level) = text.split_once(':').unwrap_or((text, ""));
        let (default, levels) = match codec {
            "none" if level.is_empty() => return Ok(Self(None)),
            "zstd" => (3, 1..=22),
            "gzip" => (6, 1..=9),
            _ => return Err("known are zstd, gzip and none".to_owned()),
        };
        let level = match level {
            "" => default,
            level => level.parse().map_err(|_| "the level is not a number")?,
        };
        match levels.contains(&level) {
            true => Ok(Self(Some((codec.to_owned(), level)))),
            false => Err(format!("the levels of {codec} are {levels:?}")),
        }
    }
}

impl Compressor {
    /// The same pipeline with this compressor.
    fn replace(&self, codecs: &Codecs) -> Codecs {
        let entry = |name: &str, value: Json| (name.to_owned(), value);
        match codecs {
            Codecs::V3 { array_to_array, array_to_bytes, shard_bytes, .. } => {
                let codec = |(codec, level): &(String, i128)| {
                    let mut configuration = vec![entry("level", Json::Int(*level))];
                    if codec == "zstd" {
                        configuration.push(entry("checksum", Json::Bool(false)));
                    }
                    Json::Map(
                        [
                            entry("name", Json::Text(codec.clone())),
                            entry("configuration", Json::Map(configuration.into_iter().collect())),
                        ]
                        .into_iter()
                        .collect(),
                    )
                };
                Codecs::V3 {
                    array_to_array: array_to_array.clone(),
                    array_to_bytes: array_to_bytes.clone(),
                    bytes_to_bytes: self.0.iter().map(codec).collect(),
                    shard_bytes: *shard_bytes,
                }
            }
            Codecs::V2 { .. } | Codecs::Default => {
                let (filters, order) = match codecs {
                    Codecs::V2 { filters, order, .. } => (filters.clone(), *order),
                    _ => (Vec::new(), ByteOrder::Little),
                };
                let codec = |(codec, level): &(String, i128)| {
                    let members =
                        [entry("id", Json::Text(codec.clone())), entry("level", Json::Int(*level))];
                    Json::Map(members.into_iter().collect())
                };
                Codecs::V2 { compressor: self.0.as_ref().map(codec), filters, order }
            }
        }
    }
}

impl MigrateArguments {
    /// The new schema; `None` if chunks and compressor stay the same.
    fn schema(&self, own: &Schema) -> Result<Option<Schema>, Error> {
        if self.chunks.is_empty() && self.compressor.is_none() {
            return Ok(None);
        }
        let mut schema = own.clone();
        for Chunk { dimension, items } in &self.chunks {
            if !chunk(&mut schema, dimension, Chunks::Size(*items)) {
                return Err(Error::invalid("the collection has no such dimension")
                    .with("dimension", dimension));
            }
        }
        if let Some(compressor) = &self.compressor {
            compress(&mut schema, compressor);
        }
        Ok(Some(schema))
    }
}

/// Sets the chunks of a dimension in every group; false if no group has the dimension.
fn chunk(schema: &mut Schema, dimension: &str, chunks: Chunks) -> bool {
    let mut found = false;
    for own in schema.dimensions.iter_mut().filter(|own| own.name == dimension) {
        (own.chunks, found) = (Some(chunks), true);
    }
    schema.groups.values_mut().fold(found, |found, group| chunk(group, dimension, chunks) || found)
}

fn compress(schema: &mut Schema, compressor: &Compressor) {
    for variable in schema.variables.values_mut() {
        variable.codecs = compressor.replace(&variable.codecs);
    }
    schema.groups.values_mut().for_each(|group| compress(group, compressor));
}

/// Runs the command.
pub(crate) async fn run(
    arguments: MigrateArguments,
    common: &Common,
    cancel: Cancel,
) -> Result<(), Failure> {
    let store = common.writing(arguments.single_writer);
    let Either::Collection(found) = arguments.at.open_either(&arguments.url, common).await? else {
        let error = Error::invalid("that is a table, which has one format; use partita copy");
        return Err(error.with("url", &arguments.url).into());
    };
    let base = match &arguments.base {
        Some(url) => Some(Collection::open(url, &common.reading()).await?),
        None => None,
    };
    let copy = CopyOptions {
        predicate: arguments.filter.as_deref().map(Predicate::parse).transpose()?,
        layout: arguments.zarr.map(collection::layout_of),
        schema: arguments.schema(&found.config().schema)?,
        base,
        verify: !arguments.no_verify,
        work: collection::work(common.json, cancel),
    };
    let mut options = MigrateOptions { copy, ..MigrateOptions::default() };
    for (url, target) in pairs(&arguments.views) {
        let view = View::open_over(url, &found, &common.reading()).await?;
        let schema = arguments.schema(&view.config().schema)?;
        let (url, store) = (target.to_owned(), store.clone());
        options.views.push(MigratedView { view, url, store, schema });
    }
    for (url, target) in pairs(&arguments.indexes) {
        let place = IndexPlace::at(url, &common.reading())?;
        let index = Index::open(&found, place, None).await?;
        let target = IndexTarget::At(IndexPlace::at(target, &store)?);
        options.indexes.push(MigratedIndex { index, target });
    }
    let copy = found.migrate(&arguments.target, &store, &options).await?;
    collection::copied(&copy, common.json).await
}

/// The values of an option that takes pairs.
fn pairs(values: &[String]) -> impl Iterator<Item = (&str, &str)> {
    values.chunks_exact(2).filter_map(|pair| match pair {
        [one, other] => Some((one.as_str(), other.as_str())),
        _ => None,
    })
}
