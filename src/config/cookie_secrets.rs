//! `cookie_secret`: one secret, or several of which the first signs.
//!
//! ```text
//! "0123456789abcdef"                     one secret, as in oauth2-proxy
//! "0123456789abcdef,fedcba9876543210"    two: as a whole, it has no length of an AES key
//! ["0123456789abcdef", "fedcba98…"]      two
//! ```
//!
//! A string is never both: of several secrets with commas between them, the whole has 33 characters or more, and base64 has
//! no comma.

use serde_json::{Value as Json, json};

use super::secret::Secret;
use super::value::{InvalidValue, Read, Value};
use crate::cookie::{CookieSecret, CookieSecrets, MAX_SECRETS};

/// The secrets as they are written.
#[derive(Clone, Debug, Default)]
pub struct SecretList(Vec<Secret>);

/// The cookie secrets of a text, as the option has them, or what is wrong with it.
///
/// # Errors
/// A sentence that shows no secret.
pub fn cookie_secrets(text: &str) -> Result<CookieSecrets, String> {
    let list =
        SecretList::from_text(text).map_err(|InvalidValue| format!("must be {}", SecretList::EXPECTED))?;
    list.secrets()
}

impl SecretList {
    /// The secrets, or what is wrong with them. The text never shows a secret.
    pub(super) fn secrets(&self) -> Result<CookieSecrets, String> {
        let count = self.0.len();
        let mut secrets = Vec::new();
        for (number, secret) in (1_usize..).zip(&self.0) {
            let name = if count > 1 { format!("secret {number} of {count} ") } else { String::new() };
            if secret.is_empty() {
                return Err(format!("{name}is empty"));
            }
            let secret = CookieSecret::new(secret.expose().as_bytes());
            let secret = secret.map_err(|invalid| format!("{name}{invalid}"))?;
            if let Some(first) = secrets.iter().position(|other| *other == secret) {
                return Err(format!("{name}is the same as secret {}", first.saturating_add(1)));
            }
            secrets.push(secret);
        }
        CookieSecrets::new(secrets)
            .ok_or_else(|| format!("must be 1 to {MAX_SECRETS} secrets, but are {count}"))
    }
}

impl Value for SecretList {
    const KIND: &'static str = "string or list";
    const IS_SECRET: bool = true;
    const EXPECTED: &'static str = "a string without control characters, such as the line break that echo adds, or a \
                                    list of such strings";

    fn from_text(text: &str) -> Read<Self> {
        let is_one = CookieSecret::new(text.as_bytes()).is_ok() || !text.contains(',');
        let parts: Vec<&str> = if is_one { vec![text] } else { text.split(',').map(str::trim).collect() };
        parts.into_iter().map(Secret::from_text).collect::<Read<_>>().map(Self)
    }

    fn from_json(json: &Json) -> Read<Self> {
        match json {
            Json::Array(entries) => entries.iter().map(Secret::from_json).collect::<Read<_>>().map(Self),
            Json::String(text) => Self::from_text(text),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["array", "string"], "items": { "type": "string" } })
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Secret::is_empty)
    }
}
