//! The document `.view`.

use partita_core::Result;

use super::config::{decode_schema, encode_schema};
use super::filter;
use crate::dataset::{Dimension, Schema};
use crate::json::{Json, Style};
use crate::layout::config::{Document, OWN, OwnMembers};
use crate::layout::view::{Reference, ViewConfig};
use crate::layout::{Config, Layout};

pub(in crate::layout) fn decode(bytes: &[u8]) -> Result<Config> {
    let json = Json::parse(bytes)?;
    let document = Document(&json);
    let base = Document(document.get("view_ref")?);
    let base = Reference {
        location: base.text("path")?.to_owned(),
        file_system: Some(base.get("fs")?.clone()),
    };
    let view = ViewConfig {
        base,
        home: Some(document.text("base_dir")?.to_owned()),
        filter: filter::decode(document.text("filters")?)?,
    };
    let schema = decode_schema(&Document(document.get("metadata")?))?;
    Config::of_view(Layout::ZarrV2, schema, view, OwnMembers::decode(json.get(OWN)))
}

pub(in crate::layout) fn encode(config: &Config, view: &ViewConfig) -> Result<String> {
    // The chunks are those of the base, and ZCollection does not repeat them.
    let plain = |own: &Dimension| Dimension::new(&own.name);
    let dimensions = config.schema.dimensions.iter().map(plain).collect();
    let schema = Schema { dimensions, chunk_bytes: None, ..config.schema.clone() };
    let file_system = view.base.file_system.clone().unwrap_or(Json::Null);
    let reference = Json::map([("path", view.base.location.as_str().into()), ("fs", file_system)]);
    let members = [
        ("base_dir", view.home.as_deref().unwrap_or_default().into()),
        ("filters", Json::Text(filter::encode(view.filter.as_deref())?)),
        ("metadata", encode_schema(&schema)?),
        ("view_ref", reference),
    ];
    let own = OwnMembers::encode(config).map(|own| (OWN, own));
    let members = members.into_iter().chain(own);
    let document = members.map(|(name, json)| (name.to_owned(), json)).collect();
    Ok(Json::Map(document).to_text(Style::Indented(4)))
}
