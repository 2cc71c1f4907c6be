//! The document `_zcollection_view.json`.

use partita_core::Result;

use super::config::{FORMAT_VERSION, check_version, decode_group, encode_schema};
use crate::json::{Json, Style};
use crate::layout::config::{Document, OWN, OwnMembers};
use crate::layout::view::{Reference, ViewConfig};
use crate::layout::{Config, Layout};

/// Partita's own members, which ZCollection does not store and ignores.
const HOME: &str = "home";
const FILTER: &str = "where";

pub(in crate::layout) fn decode(bytes: &[u8]) -> Result<Config> {
    let json = Json::parse(bytes)?;
    let document = Document(&json);
    check_version(&document)?;
    let schema = Document(document.get("schema")?);
    check_version(&schema)?;
    let location = Document(document.get("reference")?).text("uri")?.to_owned();
    let own = json.get(OWN);
    let text = |name: &str| own.and_then(|own| own.get(name)?.as_text()).map(str::to_owned);
    let view = ViewConfig {
        base: Reference { location, file_system: None },
        home: text(HOME),
        filter: text(FILTER),
    };
    Config::of_view(Layout::ZarrV3, decode_group(&schema)?, view, OwnMembers::decode(own))
}

pub(in crate::layout) fn encode(config: &Config, view: &ViewConfig) -> Result<String> {
    let mut own =
        OwnMembers::encode(config).and_then(|own| own.as_map().cloned()).unwrap_or_default();
    for (name, value) in [(HOME, &view.home), (FILTER, &view.filter)] {
        own.extend(value.as_deref().map(|value| (name.to_owned(), value.into())));
    }
    let document = Json::map([
        ("format_version", Json::Int(FORMAT_VERSION)),
        ("reference", Json::map([("uri", view.base.location.as_str().into())])),
        ("schema", encode_schema(config)?),
        (OWN, Json::Map(own)),
    ]);
    Ok(document.to_text(Style::Compact))
}
