//! The raw options: the members of the JSON and the variables of the environment, by option name.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::errors::ConfigErrors;
use super::options::{self, Presence};
use super::refused;
use super::value::{InvalidValue, Value};

/// The prefix of the variable of an option; the option's name in capitals follows.
const PREFIX: &str = "OAUTH2_PROXY_";

/// The member in which editors find the JSON Schema. It is not an option.
const SCHEMA: &str = "$schema";

/// The limit of a configuration, which usually has some kilobytes. Envoy's own limits are far higher.
const MAX_JSON: usize = 1 << 20;

/// The values of options, not parsed yet.
pub(super) struct RawOptions {
    json: Map<String, Json>,
    env: HashMap<&'static str, String>,
}

impl RawOptions {
    /// The values of both sources. Unknown names and refused options are mistakes. The result is `None` if
    /// the JSON cannot be parsed.
    pub(super) fn new(json: &[u8], env: &[(String, String)], errors: &mut ConfigErrors) -> Option<Self> {
        let env = read_env(env, errors);
        let json = match read_object(json) {
            Ok(json) => json,
            Err(mistake) => {
                errors.add_whole(mistake);
                return None;
            }
        };
        let is_option = |name: &str| options::NAMES.contains(&name);
        for name in json.keys().filter(|name| !is_option(name) && *name != SCHEMA) {
            errors.add(name, objection(name, str::to_owned));
        }
        Some(Self { json, env })
    }

    /// The value of an option; its default if it is not set, or not of the option's type.
    pub(super) fn value<T: Value>(
        &self,
        name: &'static str,
        presence: &Presence,
        errors: &mut ConfigErrors,
    ) -> T {
        let default = || T::from_text(presence.default()).unwrap_or_default();
        let (read, remark) = match (self.env.get(name), self.json.get(name)) {
            (Some(text), _) => (T::from_text(text), format!(" (in {})", variable(name))),
            (None, Some(json)) => (T::from_json(json), found(json).to_owned()),
            (None, None) => (Ok(default()), String::new()),
        };
        match (read, presence) {
            (Err(InvalidValue), _) => {
                errors.add(name, format!("must be {}{remark}", T::EXPECTED));
                default()
            }
            (Ok(value), Presence::Required(hint)) if value.is_empty() => {
                errors.add(name, format!("is missing; {hint}"));
                value
            }
            (Ok(value), _) => value,
        }
    }
}

fn read_object(json: &[u8]) -> Result<Map<String, Json>, String> {
    if json.len() > MAX_JSON {
        return Err(format!("is larger than {MAX_JSON} bytes"));
    }
    // Without a filter JSON, all options can be in the environment.
    if json.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(json) {
        Ok(Json::Object(members)) => Ok(members),
        Ok(other) => Err(format!("must be an object{}", found(&other))),
        // The message of serde_json may quote a value, so only the position is shown.
        Err(error) => Err(format!("is not valid JSON: see line {}, column {}", error.line(), error.column())),
    }
}

/// The variables of options. An empty variable counts as not set, as in oauth2-proxy (viper).
fn read_env(env: &[(String, String)], errors: &mut ConfigErrors) -> HashMap<&'static str, String> {
    let mut given = HashMap::new();
    for (name, value) in env.iter().filter(|(_, value)| !value.is_empty()) {
        let Some(option) = name.strip_prefix(PREFIX) else {
            continue;
        };
        match options::NAMES.iter().find(|option| variable(option) == *name) {
            Some(option) => {
                given.insert(*option, value.clone());
            }
            None => errors.add(name, objection(&option.to_ascii_lowercase(), variable)),
        }
    }
    given
}

fn variable(option: &str) -> String {
    format!("{PREFIX}{}", option.to_ascii_uppercase())
}

/// Why a name is not accepted: it is refused, or unknown. For an unknown name, suggests the nearest one,
/// formatted by `write`.
fn objection(name: &str, write: impl Fn(&str) -> String) -> String {
    if let Some(instead) = refused::instead(name) {
        return instead.to_owned();
    }
    match nearest(name) {
        Some(option) => format!("unknown option; did you mean {}?", write(option)),
        None => "unknown option".to_owned(),
    }
}

/// The option that the name probably means: at most a third of its characters differ. The flags of the
/// command line (`--cookie-domain`) are close to the names of their options.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.trim_start_matches('-').replace('-', "_").to_ascii_lowercase();
    let longest = options::NAMES.iter().map(|name| name.len()).max()?;
    if name.len() > longest.saturating_mul(2) {
        return None;
    }
    options::NAMES
        .iter()
        .map(|option| (strsim::osa_distance(&name, option), *option))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, option)| distance.saturating_mul(3) <= option.len())
        .map(|(_, option)| option)
}

/// The type of a JSON value, for an error; a string needs no remark.
fn found(json: &Json) -> &'static str {
    match json {
        Json::Null => ", but is null",
        Json::Bool(_) => ", but is a boolean",
        Json::Number(_) => ", but is a number",
        Json::String(_) => "",
        Json::Array(_) => ", but is an array",
        Json::Object(_) => ", but is an object",
    }
}
