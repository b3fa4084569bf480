//! The sources of oauth2-proxy's options: its file, the environment, arguments.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use crate::{Found, alpha};

const PREFIX: &str = "OAUTH2_PROXY_";

/// oauth2-proxy's names of options, in its file and on its command line.
const NAMES: &str = include_str!("../../tests/data/oauth2-proxy-v7.15.3.txt");

/// Adds the options of a source. `env` is the environment of this program. Any other name is a file: its kind
/// depends on its extension, and a file that begins with `--` is a list of arguments.
pub(crate) fn read(name: &str, found: &mut Found) -> Result<(), String> {
    if name == "env" {
        environment(std::env::vars(), found);
        return Ok(());
    }
    let text = fs::read_to_string(name).map_err(|error| error.to_string())?;
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match ending {
        "yaml" | "yml" => alpha::read(&text, found),
        "env" => {
            environment(text.lines().filter_map(variable), found);
            Ok(())
        }
        _ if text.trim_start().trim_start_matches("- ").trim_start_matches(['"', '\'']).starts_with("--") => {
            arguments(&text, found);
            Ok(())
        }
        _ => {
            // Not the message of the library, because it shows the line, which may have a secret.
            let file: Map<String, Value> = toml::from_str(&text).map_err(|error| {
                let at = error.span().map_or(0, |span| span.start);
                let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count().saturating_add(1);
                format!("is not valid TOML: see line {line}")
            })?;
            found.options.extend(file);
            Ok(())
        }
    }
}

fn environment(variables: impl Iterator<Item = (String, String)>, found: &mut Found) {
    for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
        if let Some(option) = name.strip_prefix(PREFIX) {
            found.options.insert(option.to_ascii_lowercase(), value.into());
        }
    }
}

/// A line of an `.env` file.
fn variable(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    (!name.starts_with('#')).then(|| (name.trim().to_owned(), unquoted(value).to_owned()))
}

/// Arguments, one a line: `--cookie-domain=.example.com`. A repeated flag is a list.
fn arguments(text: &str, found: &mut Found) {
    let mut given: Map<String, Value> = Map::new();
    for argument in text.lines().map(|line| unquoted(line.trim().trim_start_matches("- "))) {
        let (flag, value) = argument.split_once('=').unwrap_or((argument, "true"));
        if flag.is_empty() || matches!(flag, "--config" | "--alpha-config") {
            continue;
        }
        let name = option_of(flag);
        let value = Value::from(unquoted(value));
        match given.get_mut(&name) {
            None => {
                given.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    found.options.extend(given);
}

/// The option of a flag.
fn option_of(flag: &str) -> String {
    let known = NAMES.lines().filter_map(|line| line.split_once(' ')).find(|(_, other)| *other == flag);
    known.map_or_else(|| flag.trim_start_matches('-').replace('-', "_"), |(name, _)| name.to_owned())
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}
