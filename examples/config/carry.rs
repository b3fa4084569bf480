//! From oauth2-proxy's options to the filter's.

use oauth2_session_filter::config::{Known, known};
use serde_json::{Map, Value};

use crate::Found;

/// What the filter gets.
#[derive(Default)]
pub(crate) struct Carried {
    pub(crate) json: Map<String, Value>,
    /// The secrets, by their variables.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) remarks: Vec<String>,
}

/// Endpoints that oauth2-proxy does not use where it finds them by discovery.
const DISCOVERED: [&str; 4] = ["login_url", "redeem_url", "oidc_jwks_url", "profile_url"];

/// Carries all options over.
pub(crate) fn carry(found: Found) -> Carried {
    let Found { mut options, remarks } = found;
    let mut carried = Carried { remarks, ..Carried::default() };
    // The one default of oauth2-proxy that would mean something else here.
    options.entry("provider").or_insert_with(|| "google".into());
    rename(&mut options);
    let is_discovered = !options.get("skip_oidc_discovery").is_some_and(is_true);
    for (name, value) in options {
        if is_discovered && DISCOVERED.contains(&name.as_str()) {
            carried.remarks.push(format!("{name}: it is found by discovery, as in oauth2-proxy"));
            continue;
        }
        match known(&name) {
            None => carried.remarks.push(format!("{name}: unknown option")),
            Some(Known::Refused(sentence)) => carried.remarks.push(format!("{name}: {sentence}")),
            Some(Known::Taken { is_secret, is_list }) => carried.take(name, value, is_secret, is_list),
        }
    }
    carried
}

impl Carried {
    fn take(&mut self, name: String, value: Value, is_secret: bool, is_list: bool) {
        let variable = format!("OAUTH2_PROXY_{}", name.to_ascii_uppercase());
        if let Some(reference) = value.as_str().filter(|text| text.starts_with('$')) {
            self.remarks.push(format!("{name}: it is {reference} in the source; set {variable} to that"));
            return;
        }
        if is_kept_secret(&name, &value, is_secret) {
            let text = match &value {
                Value::Array(entries) => {
                    entries.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
                }
                value => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            };
            self.environment.push((variable, text));
            return;
        }
        let value = match value {
            Value::String(text) if is_list => text.split(',').map(str::trim).collect(),
            value => value,
        };
        self.json.insert(name, value);
    }
}

/// A URL is a secret where it has a password, all other secrets are.
fn is_kept_secret(name: &str, value: &Value, is_secret: bool) -> bool {
    let has_password = || match value {
        Value::Array(entries) => entries.iter().any(has_user),
        value => has_user(value),
    };
    if name.starts_with("redis_") && name.contains("connection_url") { has_password() } else { is_secret }
}

fn has_user(url: &Value) -> bool {
    url.as_str().is_some_and(|url| url.contains('@'))
}

/// Options that have another name by now, with the same meaning.
fn rename(options: &mut Map<String, Value>) {
    if let Some(method) = options.remove("force_code_challenge_method") {
        options.entry("code_challenge_method").or_insert(method);
    }
    if let Some(patterns) = options.remove("skip_auth_regex") {
        // What stands before a `=` would be a method.
        let routes = list(&patterns).map(|pattern| match pattern.contains('=') {
            true => format!("={pattern}"),
            false => pattern.to_owned(),
        });
        let old = options.get("skip_auth_routes").map(|old| list(old).map(str::to_owned).collect::<Vec<_>>());
        let all: Value = old.unwrap_or_default().into_iter().chain(routes).collect();
        options.insert("skip_auth_routes".to_owned(), all);
    }
    let is_gitlab = options.get("provider").and_then(Value::as_str) == Some("gitlab");
    if let Some(groups) = options.remove("gitlab_groups").filter(|_| is_gitlab) {
        options.insert("allowed_groups".to_owned(), groups);
    }
    let claim = options.remove("user_id_claim").filter(|claim| claim.as_str() != Some("email"));
    if let Some(claim) = claim {
        options.entry("oidc_email_claim").or_insert(claim);
    }
}

/// The entries of a list, which may be one string with commas.
fn list(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::Array(entries) => Box::new(entries.iter().filter_map(Value::as_str)),
        value => Box::new(value.as_str().unwrap_or_default().split(',')),
    }
}

fn is_true(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| matches!(value.as_str(), Some("true" | "1" | "t" | "T" | "TRUE" | "True")))
}
