//! The result of a valid configuration, and the errors of one with mistakes.

mod callback;
mod cookie;
mod defaults;
mod lifetimes;
mod login;
mod mode;
mod names;
mod pages;
mod provider;
mod redis;
mod redis_servers;
mod routes;
mod schema;
mod secrets;
mod secrets_from;
mod sources;

use serde_json::{Value, json};

use super::{Config, ConfigErrors};

/// The shortest configuration, with some members changed.
fn with(changes: Value) -> Value {
    let mut json = json!({
        "oidc_issuer_url": "https://login.example.com",
        "client_id": "my-service",
        "client_secret": "hush-hush",
        "cookie_secret": "0123456789abcdef",
        "email_domains": ["example.com"],
    });
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json
}

fn parse(json: &Value) -> Result<Config, ConfigErrors> {
    Config::parse(json.to_string().as_bytes(), &[])
}

/// The configuration that differs from the shortest one by some members.
fn config(changes: Value) -> Config {
    parse(&with(changes)).unwrap()
}

/// The mistakes of a configuration that differs from the shortest one by some members.
fn mistakes(changes: Value) -> Vec<String> {
    lines(parse(&with(changes)))
}

fn lines(parsed: Result<Config, ConfigErrors>) -> Vec<String> {
    parsed.unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// Asserts that there is one mistake, about this option, and returns it.
fn mistake(option: &str, changes: Value) -> String {
    let lines = mistakes(changes.clone());
    assert_eq!(lines.len(), 1, "{changes}: {lines:#?}");
    assert!(lines[0].starts_with(&format!("{option}: ")), "{changes}: {}", lines[0]);
    lines[0].clone()
}

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
