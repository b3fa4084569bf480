//! Converts oauth2-proxy's options to the filter's.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oauth2_session_filter::config::{Known, known};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::Found;

/// The result of a conversion.
#[derive(Default)]
pub(crate) struct Carried {
    pub(crate) json: Map<String, Value>,
    /// The secrets, with their variables.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) remarks: Vec<String>,
    /// Options that are converted, but are right only under a condition.
    pub(crate) conditions: Vec<String>,
    /// Restrictions that the filter does not have: without them it would allow more users.
    pub(crate) widens: Vec<String>,
}

/// Options of oauth2-proxy that restrict users, and that the filter does not have under this name.
const RESTRICTS: [&str; 13] = [
    "authenticated_emails_file",
    "bitbucket_repository",
    "bitbucket_team",
    "github_org",
    "github_repo",
    "github_team",
    "gitlab_projects",
    "google_group",
    "google_groups",
    "keycloak_groups",
    "oidc_enabled_signing_algs",
    "oidc_public_key_files",
    "validate_url",
];

/// Secrets that oauth2-proxy and the filter always need. Both also read them from the environment.
const SECRETS: [(&str, &str); 2] =
    [("client_secret", "OAUTH2_PROXY_CLIENT_SECRET"), ("cookie_secret", "OAUTH2_PROXY_COOKIE_SECRET")];

/// oauth2-proxy trusts the peers of `trusted_proxy_ips`, or all peers. The filter cannot see the address of a
/// peer.
const REVERSE_PROXY: &str = "reverse_proxy: it means that the proxy in front of Envoy sets X-Forwarded-Host and \
                             X-Forwarded-Uri, and removes those of a client; if there is no such proxy, or if you do \
                             not need these headers, leave it out";

/// A value that is valid as a cookie secret.
const ANY_SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Endpoints that oauth2-proxy ignores if it finds them by discovery.
const DISCOVERED: [&str; 4] = ["login_url", "redeem_url", "oidc_jwks_url", "profile_url"];

/// Converts all options.
pub(crate) fn carry(found: Found) -> Carried {
    let Found { mut options, remarks, unknown } = found;
    let mut carried = Carried { remarks, widens: unknown, ..Carried::default() };
    // The only default of oauth2-proxy that would change the meaning of a configuration here.
    options.entry("provider").or_insert_with(|| "google".into());
    rename(&mut options);
    let is_discovered = !options.get("skip_oidc_discovery").is_some_and(is_true);
    for (name, value) in options {
        if is_discovered && DISCOVERED.contains(&name.as_str()) {
            carried.remarks.push(format!("{name}: it is found by discovery, as in oauth2-proxy"));
            continue;
        }
        match known(&name) {
            // oauth2-proxy does not start with an unknown option, but ignores an unknown variable.
            None if is_given(&value) => carried.widens.push(format!("{name}: unknown option")),
            None => {}
            Some(Known::Refused(sentence)) if RESTRICTS.contains(&name.as_str()) && is_given(&value) => {
                carried.widens.push(format!("{name}: {sentence}"));
            }
            Some(Known::Refused(sentence)) => carried.remarks.push(format!("{name}: {sentence}")),
            Some(Known::Taken { is_secret, is_list }) => {
                if name == "reverse_proxy" && is_true(&value) {
                    carried.conditions.push(REVERSE_PROXY.to_owned());
                }
                if matches!(name.as_str(), "banner" | "footer")
                    && value.as_str().is_some_and(|text| text.contains('<'))
                {
                    carried
                        .conditions
                        .push(format!("{name}: the filter shows it as plain text; remove the HTML from it"));
                }
                carried.take(name, value, is_secret, is_list);
            }
        }
    }
    carried
}

/// Whether an option restricts anything: an empty list does not.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(entries) => !entries.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

impl Carried {
    /// The environment for a check of the JSON: with a placeholder for each secret that the sources do not
    /// have.
    pub(crate) fn complete_environment(&self) -> Vec<(String, String)> {
        let missing = self.missing_secrets().map(|variable| (variable.to_owned(), ANY_SECRET.to_owned()));
        self.environment.iter().cloned().chain(missing).collect()
    }

    /// The variables of the missing secrets. Files with secrets are refused, with a sentence that says what
    /// to do.
    pub(crate) fn missing_secrets(&self) -> impl Iterator<Item = &'static str> {
        let is_there = |variable: &str| self.environment.iter().any(|(name, _)| name == variable);
        let is_told =
            |option: &str| self.remarks.iter().any(|remark| remark.starts_with(&format!("{option}: ")));
        SECRETS
            .into_iter()
            .filter(move |(option, variable)| !is_there(variable) && !is_told(option))
            .map(|(_, variable)| variable)
    }

    fn take(&mut self, name: String, value: Value, is_secret: bool, is_list: bool) {
        let variable = format!("OAUTH2_PROXY_{}", name.to_ascii_uppercase());
        if let Some(reference) = value.as_str().filter(|text| text.starts_with('$')) {
            self.remarks.push(format!("{name}: it is {reference} in the source; set {variable} to that"));
            return;
        }
        let is_url = name.starts_with("redis_") && name.contains("connection_url");
        let mut value = match value {
            Value::String(text) if is_list => text.split(',').map(str::trim).collect(),
            value => value,
        };
        if is_url {
            self.take_passwords(&name, &mut value);
        } else if is_secret {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.set(&variable, text);
            return;
        }
        self.json.insert(name, value);
    }

    /// Moves a password from the URLs to its variable, which every manifest lists. The URLs stay in the JSON.
    fn take_passwords(&mut self, name: &str, value: &mut Value) {
        let variable = match name {
            "redis_sentinel_connection_urls" => "OAUTH2_PROXY_REDIS_SENTINEL_PASSWORD",
            _ => "OAUTH2_PROXY_REDIS_PASSWORD",
        };
        let urls = match value {
            Value::Array(urls) => urls.iter_mut().collect(),
            url => vec![url],
        };
        for url in urls {
            let Some((plain, password)) = url.as_str().and_then(without_password) else { continue };
            *url = plain.into();
            self.set(variable, password);
        }
    }

    /// A variable has one value. An option of its own wins over a URL, as in oauth2-proxy.
    fn set(&mut self, variable: &str, text: String) {
        match self.environment.iter_mut().find(|(name, _)| name == variable) {
            Some((_, old)) if *old != text => {
                self.remarks
                    .push(format!("{variable}: the source has several passwords for it; set the right one"));
            }
            Some(_) => {}
            None => self.environment.push((variable.to_owned(), text)),
        }
    }
}

/// `redis://user:password@host` in parts: the URL without the password, and the password.
fn without_password(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(server, path)| (server, Some(path)));
    let (user, server) = authority.rsplit_once('@')?;
    let (username, password) = user.split_once(':')?;
    let password = percent_decode_str(password).decode_utf8().ok()?.into_owned();
    let user = if username.is_empty() { String::new() } else { format!("{username}@") };
    let path = path.map_or_else(String::new, |path| format!("/{path}"));
    Some((format!("{scheme}://{user}{server}{path}"), password))
}

/// Renames options that have the same meaning under another name.
fn rename(options: &mut Map<String, Value>) {
    if let Some(method) = options.remove("force_code_challenge_method") {
        options.entry("code_challenge_method").or_insert(method);
    }
    if let Some(patterns) = options.remove("skip_auth_regex") {
        // The text before a `=` would be a method.
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
    let logo = options.get("custom_sign_in_logo").and_then(Value::as_str).and_then(logo);
    if let Some(logo) = logo {
        options.remove("custom_sign_in_logo");
        if !logo.is_empty() {
            options.entry("pages_logo").or_insert(logo.into());
        }
    }
    let claim = options.remove("user_id_claim").filter(|claim| claim.as_str() != Some("email"));
    if let Some(claim) = claim {
        options.entry("oidc_email_claim").or_insert(claim);
    }
}

/// `custom_sign_in_logo` as `pages_logo`: a URL stays one, `-` means none, and the image of a file becomes a data URL. None
/// if it is a file of another type, or cannot be read here.
fn logo(text: &str) -> Option<String> {
    if text.starts_with("https://") || matches!(text, "" | "-") {
        return Some(text.trim_start_matches('-').to_owned());
    }
    let kind = match Path::new(text).extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "svg" => "svg+xml",
        "png" => "png",
        "jpg" | "jpeg" => "jpeg",
        _ => return None,
    };
    Some(format!("data:image/{kind};base64,{}", STANDARD.encode(fs::read(text).ok()?)))
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
