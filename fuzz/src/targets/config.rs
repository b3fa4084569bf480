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

const MARK: &str = "kept-from-every-text-of-ours-391";

/// The JSON; then, each in a line with a NUL before it, variables of the environment.
pub(super) fn run(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    let json = parts.next().unwrap_or_default();
    let env: Vec<(String, String)> = parts
        .filter_map(|part| std::str::from_utf8(part).ok()?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match Config::parse(json, &env) {
        Ok(config) => assert!(matches!(config.cookie.secrets.current().aes_key().len(), 16 | 24 | 32)),
        Err(errors) => {
            let lines = errors.to_string();
            assert!(!lines.is_empty() && lines.lines().all(|line| line.contains(' ')));
        }
    }
    for json in marked(json) {
        let printed = match Config::parse(&json, &env) {
            Ok(config) => format!("{config:?}"),
            Err(errors) => errors.to_string(),
        };
        assert!(!printed.contains(MARK), "a secret is printed: {printed}");
    }
}

/// The same JSON, each time with one of its secrets replaced by one that can stand in no text by another way.
fn marked(json: &[u8]) -> Vec<Vec<u8>> {
    let has_mark = json.windows(MARK.len()).any(|bytes| bytes == MARK.as_bytes());
    let Ok(Value::Object(options)) = serde_json::from_slice(json) else { return Vec::new() };
    let given = SECRETS.iter().filter(|name| !has_mark && options.get(**name).is_some_and(Value::is_string));
    given
        .map(|name| {
            let mut options = options.clone();
            // Of the length of a cookie secret, and with the end of a URL, which has its password before the `@`.
            let secret = match options.get(*name).and_then(Value::as_str).and_then(|url| url.split_once('@'))
            {
                Some((_, host)) => format!("redis://:{MARK}@{host}"),
                None => MARK.to_owned(),
            };
            options.insert((*name).to_owned(), Value::String(secret));
            Value::Object(options).to_string().into_bytes()
        })
        .collect()
}
