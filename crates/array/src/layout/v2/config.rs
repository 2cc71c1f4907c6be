//! The document `.zcollection`, also in the version of the unreleased line of 2025.

use indexmap::IndexMap;
use partita_core::partition::Resolution;
use partita_core::{Error, Result};

use super::codecs::Numcodecs;
use crate::dataset::{Chunks, Codecs, DType, Dimension, FillValue, Schema, VariableSchema};
use crate::json::{Attributes, Json, Style};
use crate::layout::config::{Document, OWN, OwnMembers, damaged};
use crate::layout::{Config, Layout};
use crate::partitioning::Partitioning;

/// ZCollection's default chunk size in bytes.
const DEFAULT_CHUNK_BYTES: u64 = 128 << 20;

pub(in crate::layout) fn decode(bytes: &[u8]) -> Result<Config> {
    let json = Json::parse(bytes)?;
    let document = Document(&json);
    let schema = decode_schema(&Document(document.get("dataset")?))?;
    let axis = document.text("axis")?.to_owned();
    let dimension = schema
        .variables
        .get(&axis)
        .and_then(|variable| variable.dimensions.first())
        .ok_or_else(|| damaged("axis"))?
        .clone();
    let own = OwnMembers::decode(json.get(OWN));
    let config = Config {
        layout: Layout::ZarrV2,
        partitioning: decode_partitioning(&Document(document.get("partitioning")?))?,
        axis,
        dimension,
        schema,
        catalog: false,
        version: json.get("version").and_then(Json::as_text).map(str::to_owned),
        commit: own.commit,
        statistics: own.statistics,
        extras: None,
        view: None,
    };
    config.check().map_err(|error| {
        Error::corrupt("the configuration of the collection is inconsistent").caused_by(error)
    })?;
    Ok(config)
}

pub(in crate::layout) fn encode(config: &Config) -> Result<String> {
    let mut document = IndexMap::new();
    let members = [
        ("axis", config.axis.as_str().into()),
        ("dataset", encode_schema(&config.schema)?),
        ("partitioning", encode_partitioning(&config.partitioning)?),
    ];
    let own = OwnMembers::encode(config).map(|own| (OWN, own));
    document.extend(members.into_iter().chain(own).map(|(name, json)| (name.to_owned(), json)));
    Ok(Json::Map(document).to_text(Style::Indented(4)))
}

/// The schema as it is stored in the documents of collections and of views.
pub(super) fn encode_schema(schema: &Schema) -> Result<Json> {
    let mut variables: Vec<&VariableSchema> = schema.variables.values().collect();
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    let variables = variables.into_iter().map(encode_variable).collect::<Result<_>>()?;
    let chunks = schema.dimensions.iter().filter_map(|dimension| {
        let chunks = match dimension.chunks? {
            Chunks::Size(size) => Json::ints([size as u64]),
            Chunks::Whole => Json::ints([-1]),
            Chunks::Auto => Json::List(vec!["auto".into()]),
        };
        let Json::List(chunks) = chunks else { return None };
        Some(Json::List(std::iter::once(dimension.name.as_str().into()).chain(chunks).collect()))
    });
    let limit = schema.chunk_bytes.unwrap_or(DEFAULT_CHUNK_BYTES);
    Ok(Json::map([
        ("attrs", encode_attributes(&schema.attributes)),
        ("dimensions", Json::texts(schema.dimensions.iter().map(|dimension| &dimension.name))),
        ("variables", Json::List(variables)),
        ("chunks", Json::List(chunks.collect())),
        ("block_size_limit", Json::Int(limit.into())),
    ]))
}

pub(super) fn decode_schema(document: &Document<'_>) -> Result<Schema> {
    let mut dimensions: Vec<Dimension> = document
        .list("dimensions")?
        .iter()
        .map(|json| decode_dimension(json).ok_or_else(|| damaged("dimensions")))
        .collect::<Result<_>>()?;
    for entry in document.0.get("chunks").and_then(Json::as_list).unwrap_or_default() {
        let [name, chunks] = entry.as_list().unwrap_or_default() else {
            return Err(damaged("chunks"));
        };
        let chunks = match chunks {
            Json::Text(auto) if auto == "auto" => Chunks::Auto,
            Json::Int(-1) => Chunks::Whole,
            size => {
                Chunks::Size(crate::layout::config::size_of(size).ok_or_else(|| damaged("chunks"))?)
            }
        };
        let known = dimensions.iter_mut().find(|known| name.as_text() == Some(&known.name));
        // Chunks may be declared for dimensions that no variable has.
        if let Some(dimension) = known {
            dimension.chunks = Some(chunks);
        }
    }
    let mut variables = IndexMap::new();
    for json in document.list("variables")? {
        let variable = decode_variable(&Document(json))?;
        variables.insert(variable.name.clone(), variable);
    }
    Ok(Schema {
        dimensions,
        variables,
        attributes: decode_attributes(document)?,
        groups: IndexMap::new(),
        chunk_bytes: Some(document.int_or("block_size_limit", DEFAULT_CHUNK_BYTES)?),
    })
}

/// A name (`"time"`), or a list of name, size (-1 if not known) and chunk size (`["time", -1,
/// 1000]`).
fn decode_dimension(json: &Json) -> Option<Dimension> {
    let known = |json: &Json| crate::layout::config::size_of(json);
    match json {
        Json::Text(name) => Some(Dimension::new(name)),
        Json::List(parts) => {
            let [name, size, chunks] = parts.as_slice() else { return None };
            let chunks = known(chunks).map(Chunks::Size);
            Some(Dimension { size: known(size), chunks, ..Dimension::new(name.as_text()?) })
        }
        _ => None,
    }
}

fn decode_variable(document: &Document<'_>) -> Result<VariableSchema> {
    let name = document.text("name")?.to_owned();
    let named = |error: Error| error.with("variable", &name);
    let compressor = document.0.get("compressor").filter(|json| **json != Json::Null).cloned();
    let filters = document.0.get("filters").and_then(Json::as_list).unwrap_or_default().to_vec();
    let (mut dtype, order) = DType::parse(document.text("dtype")?).map_err(named)?;
    if dtype == DType::Text && is_of_bytes(&filters) {
        dtype = DType::Bytes;
    }
    let fill = FillValue::from_json(dtype, document.get("fill_value")?).map_err(named)?;
    Ok(VariableSchema {
        dimensions: document.texts("dimensions").map_err(named)?,
        attributes: decode_attributes(document).map_err(named)?,
        codecs: Codecs::V2 { compressor, filters, order },
        fill,
        ..VariableSchema::new::<&str>(&name, dtype, &[])
    })
}

/// True if the filters of an array of objects encode bytes.
pub(super) fn is_of_bytes(filters: &[Json]) -> bool {
    let id = filters.first().and_then(|filter| filter.get("id"));
    id.and_then(Json::as_text) == Some("vlen-bytes")
}

fn encode_variable(variable: &VariableSchema) -> Result<Json> {
    let codecs = Numcodecs::of(variable)?;
    Ok(Json::map([
        ("attrs", encode_attributes(&variable.attributes)),
        ("compressor", codecs.compressor.unwrap_or(Json::Null)),
        ("dimensions", Json::texts(&variable.dimensions)),
        ("dtype", Json::Text(variable.dtype.name_in(codecs.order))),
        ("fill_value", fill_json(variable)),
        ("filters", Json::List(codecs.filters)),
        ("name", variable.name.as_str().into()),
    ]))
}

pub(super) fn fill_json(variable: &VariableSchema) -> Json {
    variable.fill.as_ref().map_or(Json::Null, |fill| fill.to_json(variable.dtype))
}

fn decode_attributes(document: &Document<'_>) -> Result<Attributes> {
    let pair = |json: &Json| {
        let [name, value] = json.as_list()? else { return None };
        Some((name.as_text()?.to_owned(), value.clone()))
    };
    let pairs = document.list("attrs")?.iter();
    pairs.map(|json| pair(json).ok_or_else(|| damaged("attrs"))).collect()
}

fn encode_attributes(attributes: &Attributes) -> Json {
    let mut pairs: Vec<(&String, &Json)> = attributes.iter().collect();
    pairs.sort_by_key(|(name, _)| name.as_str());
    let pair =
        |(name, value): (&String, &Json)| Json::List(vec![name.as_str().into(), value.clone()]);
    Json::List(pairs.into_iter().map(pair).collect())
}

fn decode_partitioning(document: &Document<'_>) -> Result<Partitioning> {
    let variables = document.texts("variables")?;
    match document.text("id")? {
        "Date" => {
            let resolution = Resolution::from_code(document.text("resolution")?);
            let resolution = resolution.ok_or_else(|| damaged("resolution"))?;
            let [variable] = variables.as_slice() else { return Err(damaged("variables")) };
            Ok(Partitioning::date(variable, resolution))
        }
        "Sequence" => Ok(Partitioning::Sequence { variables }),
        "GroupedSequence" => {
            let (size, start) = (document.int_or("size", 0)?, document.int_or("start", 0)?);
            Ok(Partitioning::GroupedSequence { variables, size, start })
        }
        other => Err(Error::invalid("the partitioning of the collection is not supported")
            .with("partitioning", other)),
    }
}

fn encode_partitioning(partitioning: &Partitioning) -> Result<Json> {
    let variables = Json::texts(partitioning.variables());
    match partitioning {
        Partitioning::Date { resolution, .. } => Ok(Json::map([
            ("id", "Date".into()),
            ("variables", variables),
            ("resolution", resolution.code().into()),
        ])),
        Partitioning::Sequence { .. } => {
            Ok(Json::map([("id", "Sequence".into()), ("variables", variables)]))
        }
        Partitioning::GroupedSequence { .. } => Err(Error::invalid(
            "released ZCollection does not support grouped sequences; create the collection in \
             Zarr v3",
        )),
    }
}
