//! The filter JSON.

use oauth2_session_filter::config::Config;
use serde_json::Value;

/// Options whose value no mistake may show.
const SECRETS: [&str; 6] = [
    "client_secret",
    "cookie_secret",
    "basic_auth_password",
    "redis_password",
    "redis_sentinel_password",
    "redis_connection_url",
];

/// The JSON; then, each in a line with a NUL before it, variables of the environment.
pub(super) fn run(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    let json = parts.next().unwrap_or_default();
    let env: Vec<(String, String)> = parts
        .filter_map(|part| std::str::from_utf8(part).ok()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match Config::parse(json, &env) {
        Ok(config) => {
            assert!(matches!(config.cookie.secret.aes_key().len(), 16 | 24 | 32));
            let printed = format!("{config:?}");
            for secret in secrets(json) {
                assert!(!printed.contains(&secret), "a secret is printed");
            }
        }
        Err(errors) => {
            let lines = errors.to_string();
            assert!(!lines.is_empty() && lines.lines().all(|line| line.contains(' ')));
            for secret in secrets(json) {
                assert!(!lines.contains(&secret), "a secret stands in {lines:?}");
            }
        }
    }
}

/// The secrets in the JSON that could stand in a text by no other way.
fn secrets(json: &[u8]) -> Vec<String> {
    let Ok(Value::Object(options)) = serde_json::from_slice(json) else { return Vec::new() };
    let text = String::from_utf8_lossy(json).into_owned();
    let given = SECRETS.iter().filter_map(|name| options.get(*name)?.as_str());
    let secrets = given.filter(|secret| secret.len() >= 12 && text.matches(*secret).count() == 1);
    secrets.filter(|secret| !SECRETS.iter().any(|name| name.contains(*secret))).map(str::to_owned).collect()
}
