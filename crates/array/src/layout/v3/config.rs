//! The document `_zcollection.json`.

use indexmap::IndexMap;
use partita_core::partition::Resolution;
use partita_core::{Error, Result};

use super::codecs::Chain;
use crate::dataset::{Chunks, Codecs, DType, Dimension, FillValue, Role, Schema, VariableSchema};
use crate::json::{Attributes, Json, Style};
use crate::layout::config::{Document, OWN, OwnMembers, damaged, size_of};
use crate::layout::{Config, Layout};
use crate::partitioning::Partitioning;

/// The version of the document that is read and written.
pub(super) const FORMAT_VERSION: i128 = 1;

pub(in crate::layout) fn decode(bytes: &[u8]) -> Result<Config> {
    let json = Json::parse(bytes)?;
    let document = Document(&json);
    let schema = Document(document.get("schema")?);
    check_version(&document)?;
    check_version(&schema)?;
    let partitioning = Document(document.get("partitioning")?);
    let dimension = document.text("axis")?.to_owned();
    let own = OwnMembers::decode(json.get("extras").and_then(|extras| extras.get(OWN)));
    let mut config = Config {
        layout: Layout::ZarrV3,
        axis: own.axis.unwrap_or_else(|| dimension.clone()),
        dimension,
        partitioning: decode_partitioning(&partitioning)?,
        schema: decode_group(&schema)?,
        catalog: json.get("catalog").and_then(|catalog| catalog.get("enabled")?.as_bool())
            == Some(true),
        version: None,
        commit: own.commit,
        statistics: own.statistics,
        extras: json.get("extras").cloned(),
        view: None,
    };
    if let Some(axis) = config.axis_variable() {
        config.axis = axis;
    }
    config.check().map_err(|error| {
        Error::corrupt("the configuration of the collection is inconsistent").caused_by(error)
    })?;
    Ok(config)
}

pub(in crate::layout) fn encode(config: &Config) -> Result<String> {
    let mut document = IndexMap::from([
        ("format_version".to_owned(), Json::Int(FORMAT_VERSION)),
        ("axis".to_owned(), config.dimension.as_str().into()),
        ("partitioning".to_owned(), encode_partitioning(config)),
        ("catalog".to_owned(), Json::map([("enabled", config.catalog.into())])),
        ("schema".to_owned(), encode_schema(config)?),
    ]);
    let mut extras = config.extras.as_ref().and_then(Json::as_map).cloned().unwrap_or_default();
    extras.extend(OwnMembers::encode(config).map(|own| (OWN.to_owned(), own)));
    if !extras.is_empty() {
        document.insert("extras".to_owned(), Json::Map(extras));
    }
    Ok(Json::Map(document).to_text(Style::Indented(2)))
}

/// The schema as it is stored in the documents of collections and of views.
pub(super) fn encode_schema(config: &Config) -> Result<Json> {
    let Json::Map(mut schema) = encode_group("/", &config.schema, &config.dimension)? else {
        return Err(damaged("schema"));
    };
    schema.insert("format_version".to_owned(), Json::Int(FORMAT_VERSION));
    Ok(Json::Map(schema))
}

/// Refuses documents of a newer version.
pub(super) fn check_version(document: &Document<'_>) -> Result<()> {
    let version = document.int_or("format_version", FORMAT_VERSION)?;
    if version > FORMAT_VERSION {
        return Err(Error::invalid(
            "the collection was written in a newer format than this version reads",
        )
        .with("format version", version));
    }
    Ok(())
}

pub(super) fn decode_group(document: &Document<'_>) -> Result<Schema> {
    let dimensions = document.list("dimensions")?.iter();
    let dimensions = dimensions.map(|json| decode_dimension(&Document(json)));
    let mut variables = IndexMap::new();
    for json in document.list("variables")? {
        let variable = decode_variable(&Document(json))?;
        variables.insert(variable.name.clone(), variable);
    }
    let mut groups = IndexMap::new();
    for json in document.0.get("groups").and_then(Json::as_list).unwrap_or_default() {
        let group = Document(json);
        groups.insert(group.text("name")?.to_owned(), decode_group(&group)?);
    }
    Ok(Schema {
        dimensions: dimensions.collect::<Result<_>>()?,
        variables,
        attributes: decode_attributes(document),
        groups,
        chunk_bytes: None,
    })
}

fn encode_group(name: &str, schema: &Schema, dimension: &str) -> Result<Json> {
    let dimensions = schema.dimensions.iter().map(encode_dimension);
    let variables = schema.variables.values().map(|variable| encode_variable(variable, dimension));
    let groups = schema.groups.iter().map(|(name, group)| encode_group(name, group, dimension));
    Ok(Json::map([
        ("name", name.into()),
        ("dimensions", Json::List(dimensions.collect())),
        ("variables", Json::List(variables.collect::<Result<_>>()?)),
        ("groups", Json::List(groups.collect::<Result<_>>()?)),
        ("attrs", Json::Map(schema.attributes.clone())),
    ]))
}

fn decode_dimension(document: &Document<'_>) -> Result<Dimension> {
    let size = |name: &'static str| match document.0.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(json) => size_of(json).map(Some).ok_or_else(|| damaged(name)),
    };
    Ok(Dimension {
        name: document.text("name")?.to_owned(),
        size: size("size")?,
        chunks: size("chunks")?.map(Chunks::Size),
        shards: size("shards")?,
    })
}

fn encode_dimension(dimension: &Dimension) -> Json {
    let int = |size: Option<usize>| {
        size.and_then(|size| i128::try_from(size).ok()).map_or(Json::Null, Json::Int)
    };
    let chunks = match dimension.chunks {
        Some(Chunks::Size(size)) => Some(size),
        Some(Chunks::Whole | Chunks::Auto) | None => None,
    };
    Json::map([
        ("name", dimension.name.as_str().into()),
        ("size", int(dimension.size)),
        ("chunks", int(chunks)),
        ("shards", int(dimension.shards)),
    ])
}

fn decode_variable(document: &Document<'_>) -> Result<VariableSchema> {
    let name = document.text("name")?.to_owned();
    let named = |error: Error| error.with("variable", &name);
    let codecs = Document(document.get("codecs")?);
    let list = |name: &str| codecs.0.get(name).and_then(Json::as_list).unwrap_or_default().to_vec();
    let array_to_bytes = codecs.get("array_to_bytes").map_err(named)?.clone();
    let (mut dtype, _) = DType::parse(document.text("dtype")?).map_err(named)?;
    if dtype == DType::Text
        && array_to_bytes.get("name").and_then(Json::as_text) == Some("vlen-bytes")
    {
        dtype = DType::Bytes;
    }
    let sharded = codecs.0.get("sharded").and_then(Json::as_bool) == Some(true);
    let shard_bytes = codecs.int_or("shard_target_bytes", 0).map_err(named)?;
    let fill = FillValue::from_json(dtype, document.get("fill_value")?).map_err(named)?;
    let role = match document.0.get("role").and_then(Json::as_text) {
        Some("filler") => Role::Filler,
        Some("aux") => Role::Aux,
        _ => Role::User,
    };
    Ok(VariableSchema {
        dimensions: document.texts("dimensions").map_err(named)?,
        fill,
        attributes: decode_attributes(document),
        codecs: Codecs::V3 {
            array_to_array: list("array_to_array"),
            array_to_bytes,
            bytes_to_bytes: list("bytes_to_bytes"),
            shard_bytes: (sharded && shard_bytes > 0).then_some(shard_bytes),
        },
        role,
        ..VariableSchema::new::<&str>(&name, dtype, &[])
    })
}

fn encode_variable(variable: &VariableSchema, dimension: &str) -> Result<Json> {
    let chain = Chain::of(variable)?;
    let role = match variable.role {
        Role::User => "user",
        Role::Filler => "filler",
        Role::Aux => "aux",
    };
    let codecs = Json::map([
        ("array_to_array", Json::List(chain.array_to_array)),
        ("array_to_bytes", chain.array_to_bytes),
        ("bytes_to_bytes", Json::List(chain.bytes_to_bytes)),
        ("sharded", chain.shard_bytes.is_some().into()),
        ("shard_target_bytes", chain.shard_bytes.map_or(Json::Null, |n| Json::Int(n.into()))),
    ]);
    let fill = variable.fill.as_ref().map_or(Json::Null, |fill| fill.to_json(variable.dtype));
    Ok(Json::map([
        ("name", variable.name.as_str().into()),
        ("dtype", Json::Text(variable.dtype.name())),
        ("dimensions", Json::texts(&variable.dimensions)),
        ("fill_value", fill),
        ("codecs", codecs),
        ("attrs", Json::Map(variable.attributes.clone())),
        ("role", role.into()),
        ("immutable", variable.axis(dimension).is_none().into()),
    ]))
}

fn decode_attributes(document: &Document<'_>) -> Attributes {
    document.0.get("attrs").and_then(Json::as_map).cloned().unwrap_or_default()
}

fn decode_partitioning(document: &Document<'_>) -> Result<Partitioning> {
    match document.text("name")? {
        "date" => {
            let resolution = Resolution::from_code(document.text("resolution")?);
            let resolution = resolution.ok_or_else(|| damaged("resolution"))?;
            Ok(Partitioning::date(document.text("variable")?, resolution))
        }
        "sequence" => Ok(Partitioning::Sequence { variables: document.texts("variables")? }),
        "grouped-sequence" => Ok(Partitioning::GroupedSequence {
            variables: document.texts("variables")?,
            size: document.int_or("size", 0)?,
            start: document.int_or("start", 0)?,
        }),
        other => Err(Error::invalid("the partitioning of the collection is not supported")
            .with("partitioning", other)),
    }
}

fn encode_partitioning(config: &Config) -> Json {
    let variables = Json::texts(config.partitioning.variables());
    let dimension: Json = config.dimension.as_str().into();
    match &config.partitioning {
        Partitioning::Date { variable, resolution } => Json::map([
            ("name", "date".into()),
            ("variable", variable.as_str().into()),
            ("resolution", resolution.code().into()),
            ("dimension", dimension),
        ]),
        Partitioning::Sequence { .. } => Json::map([
            ("name", "sequence".into()),
            ("variables", variables),
            ("dimension", dimension),
        ]),
        Partitioning::GroupedSequence { size, start, .. } => Json::map([
            ("name", "grouped-sequence".into()),
            ("variables", variables),
            ("dimension", dimension),
            ("size", Json::Int((*size).into())),
            ("start", Json::Int((*start).into())),
        ]),
    }
}
