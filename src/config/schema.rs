//! The JSON Schema of the filter JSON, for editors: `envoy-config/filter.schema.json`.

use serde_json::{Map, Value as Json, json};

use super::options::{Presence, Row, rows};
use super::refused;

/// The schema, by draft 2020-12. What it refuses, the parser refuses too; the parser also knows what options
/// demand of each other.
///
/// An option of oauth2-proxy that is refused is there with its sentence, for that is what an editor shows.
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

/// What the JSON must have. A secret should come from the environment; all else can, but rarely does.
fn required() -> impl Iterator<Item = &'static str> {
    let is_required = |row: &&Row| matches!(row.presence, Presence::Required(_)) && !row.is_secret;
    rows().filter(is_required).map(|row| row.name)
}

/// What it must have too where the filter signs people in.
fn needed() -> impl Iterator<Item = &'static str> {
    rows().filter(|row| matches!(row.presence, Presence::Needed)).map(|row| row.name)
}

fn property(row: &Row) -> Json {
    let mut property = (row.schema)();
    if let Some(members) = property.as_object_mut() {
        let difference = match row.difference {
            "" => String::new(),
            difference => format!(" Other than oauth2-proxy's: {difference}."),
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

/// The default in the type that JSON has for it.
fn default(row: &Row) -> Json {
    let text = row.presence.default();
    match row.kind {
        "boolean" => Json::Bool(text == "true"),
        "number" => text.parse::<u64>().map_or(Json::Null, Json::from),
        "list" => text.split(',').filter(|entry| !entry.is_empty()).collect(),
        _ => text.into(),
    }
}

/// `errorMessage` and `doNotSuggest` are those of VS Code and of what uses its language service.
fn refusal(sentence: &str) -> Json {
    let sentence = format!("Refused: {sentence}.");
    json!({
        "not": {}, "deprecated": true, "description": sentence, "errorMessage": sentence, "doNotSuggest": true,
    })
}

/// Markdown without links, which editors show as they stand.
fn plain(markdown: &str) -> String {
    markdown.replace("[Providers](#providers)", "docs/options.md")
}
