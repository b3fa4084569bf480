//! `docs/options.md`, the JSON Schema, and the schema of the Helm chart are those of the source:
//! `UPDATE=1 cargo test --test options`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test are a test too")]

use std::fs;
use std::path::{Path, PathBuf};

use oauth2_session_filter::config::{options_markdown, options_schema, providers_markdown, refused_markdown};
use serde_json::Value as Json;

const CHART_SCHEMA: &str = "charts/oauth2-session-filter/values.schema.json";

/// oauth2-proxy's names of options, in its file and on its command line.
const ORIGINAL: &str = include_str!("data/oauth2-proxy-v7.15.3.txt");

#[test]
fn documented_options_are_those_of_the_parser() {
    let mut document = read("docs/options.md");
    for (section, table) in [
        ("options", options_markdown()),
        ("providers", providers_markdown()),
        ("refused", refused_markdown()),
        ("flags", flags_markdown()),
    ] {
        let (begin, end) = (format!("<!-- {section} -->\n"), format!("<!-- /{section} -->"));
        let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
        document = format!("{before}{begin}{table}{end}{after}");
    }
    is_current("docs/options.md", &document);
}

#[test]
fn schema_is_that_of_the_parser() {
    let schema = serde_json::to_string_pretty(&options_schema()).unwrap();
    is_current("envoy-config/filter.schema.json", &format!("{schema}\n"));
}

/// The chart's own values are written by hand; `config` is the filter JSON. Its secrets are left out, because the objects
/// of the chart are not secret.
#[test]
fn schema_of_the_chart_has_the_options_without_secrets() {
    let mut options = options_schema();
    options.as_object_mut().unwrap().remove("$schema");
    let properties = options["properties"].as_object_mut().unwrap();
    properties.remove("$schema");
    properties.retain(|_, property| property.get("writeOnly").is_none());
    let mut schema: Json = serde_json::from_str(&read(CHART_SCHEMA)).unwrap();
    schema["properties"]["config"] = options;
    is_current(CHART_SCHEMA, &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()));
}

#[test]
fn every_oauth2_proxy_option_is_documented_once() {
    let document = read("docs/options.md");
    let section = |name: &str| {
        let (_, rest) = document.split_once(&format!("<!-- {name} -->")).unwrap();
        rest.split_once(&format!("<!-- /{name} -->")).unwrap().0
    };
    let taken = section("options").lines().filter(|row| !row.ends_with("| ours |"));
    let cells = taken.chain(section("refused").lines()).filter_map(|row| row.split('|').nth(1));
    let mut documented: Vec<_> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    documented.sort_unstable();
    let mut expected: Vec<_> = original().map(|(name, _)| name).collect();
    expected.sort_unstable();
    assert_eq!(documented, expected);
}

/// Flags with another name than their option.
fn flags_markdown() -> String {
    let renamed = original().filter(|(name, flag)| flag.trim_start_matches("--").replace('-', "_") != *name);
    let rows = renamed.map(|(name, flag)| format!("| `{flag}` | `{name}` |\n"));
    rows.fold("| flag | option |\n|---|---|\n".to_owned(), |table, row| table + &row)
}

fn original() -> impl Iterator<Item = (&'static str, &'static str)> {
    ORIGINAL.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_default()
}

/// Compares a file with its expected content, or writes that content if `UPDATE` is set.
fn is_current(name: &str, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(path(name), expected).unwrap();
    }
    assert!(
        read(name) == expected,
        "{name} is not what src/config has; run: UPDATE=1 cargo test --test options"
    );
}
