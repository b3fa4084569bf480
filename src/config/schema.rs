//! The JSON Schema of the filter JSON, for editors: `envoy-config/filter.schema.json`.

use serde_json::{Map, Value as Json, json};

use super::options::{Presence, Row, rows};
use super::refused;

/// The schema, by draft 2020-12. The parser refuses all that the schema refuses, and also checks options
/// against each other.
///
/// Refused options of oauth2-proxy are in it with their sentences, because editors show these.
pub fn options_schema() -> Json {
    let mut properties = Map::new();
    properties.insert("$schema".to_owned(), json!({ "type": "string", "description": "This schema" }));
    properties.extend(rows().map(|row| (row.name.to_owned(), property(row))));
    for (sentence, names) in refused::all() {
        properties.extend(names.map(|name| (name.to_owned(), refusal(sentence))));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "oauth2-session-filter: the filter JSON",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": required().collect::<Vec<_>>(),
        "if": { "properties": { "mode": { "enum": ["beside", "app"] } }, "required": ["mode"] },
        "else": { "required": needed().collect::<Vec<_>>() },
    })
}

/// The options that the JSON must have. A secret should come from the environment. Other options can too, but
/// rarely do.
fn required() -> impl Iterator<Item = &'static str> {
    let is_required = |row: &&Row| matches!(row.presence, Presence::Required(_)) && !row.is_secret;
    rows().filter(is_required).map(|row| row.name)
}

/// The options that it must also have if the filter signs users in.
fn needed() -> impl Iterator<Item = &'static str> {
    rows().filter(|row| matches!(row.presence, Presence::Needed) && !row.is_secret).map(|row| row.name)
}

fn property(row: &Row) -> Json {
    let mut property = (row.schema)();
    if let Some(members) = property.as_object_mut() {
        let difference = match row.difference {
            "" => String::new(),
            difference => format!(" Differs from oauth2-proxy: {difference}."),
        };
        let text = format!("{}.{difference}", row.doc);
        members.insert("description".to_owned(), plain(&text).into());
        if !matches!(row.presence, Presence::Required(_) | Presence::Needed) {
            members.insert("default".to_owned(), default(row));
        }
        if row.is_secret {
            members.insert("writeOnly".to_owned(), true.into());
        }
    }
    property
}

/// The default, as a value of its JSON type.
fn default(row: &Row) -> Json {
    let text = row.presence.default();
    match row.kind {
        "boolean" => Json::Bool(text == "true"),
        "number" => text.parse::<u64>().map_or_else(|_| text.into(), Json::from),
        "list" => text.split(',').filter(|entry| !entry.is_empty()).collect(),
        _ => text.into(),
    }
}

/// `errorMessage` and `doNotSuggest` are for VS Code and other editors with its language service.
fn refusal(sentence: &str) -> Json {
    let sentence = format!("Refused: {sentence}.");
    json!({
        "not": {}, "deprecated": true, "description": sentence, "errorMessage": sentence, "doNotSuggest": true,
    })
}

/// Markdown without links, which editors do not render.
fn plain(markdown: &str) -> String {
    markdown.replace("[Providers](#providers)", "docs/options.md")
}
