//! The types of options: how a value is read from text (environment, defaults) and from JSON.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::duration;
use super::secret::Secret;
use super::url::Url;

/// The value is not of the option's type.
#[derive(Debug)]
pub(super) struct InvalidValue;

pub(super) type Read<T> = Result<T, InvalidValue>;

/// A type of options.
pub(super) trait Value: Default {
    /// The type, in the documentation.
    const KIND: &'static str;

    /// Whether the value must not be shown.
    const IS_SECRET: bool = false;

    /// What the value must be, in an error.
    const EXPECTED: &'static str;

    /// The value of an environment variable, a default, or a JSON string.
    fn from_text(text: &str) -> Read<Self>;

    /// The value in the JSON. A string is accepted for every type, because the environment has only strings.
    fn from_json(json: &Json) -> Read<Self> {
        json.as_str().map_or(Err(InvalidValue), Self::from_text)
    }

    /// What [`Self::from_json`] accepts, as JSON Schema.
    fn schema() -> Json {
        json!({ "type": "string" })
    }

    /// Whether this value is the same as an option that is not set.
    fn is_empty(&self) -> bool {
        false
    }
}

impl Value for String {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "a string";

    fn from_text(text: &str) -> Read<Self> {
        Ok(text.to_owned())
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Value for Secret {
    const KIND: &'static str = "string";
    const IS_SECRET: bool = true;
    const EXPECTED: &'static str =
        "a string without control characters, such as the line break that echo adds";

    /// A secret that was read from a file often ends with a line break, and then it is another secret.
    fn from_text(text: &str) -> Read<Self> {
        if text.chars().any(char::is_control) { Err(InvalidValue) } else { Ok(Self::new(text)) }
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Value for bool {
    const KIND: &'static str = "boolean";
    const EXPECTED: &'static str = "true or false";

    /// As Go's `strconv.ParseBool`.
    fn from_text(text: &str) -> Read<Self> {
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(InvalidValue),
        }
    }

    fn from_json(json: &Json) -> Read<Self> {
        match json {
            Json::Bool(value) => Ok(*value),
            Json::String(text) => Self::from_text(text),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["boolean", "string"], "pattern": "^(1|t|T|true|TRUE|True|0|f|F|false|FALSE|False)$" })
    }
}

impl Value for usize {
    const KIND: &'static str = "number";
    const EXPECTED: &'static str = "a whole number, 0 or more";

    fn from_text(text: &str) -> Read<Self> {
        // Rust's parser accepts a sign.
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number).ok_or(InvalidValue)
    }

    fn from_json(json: &Json) -> Read<Self> {
        match json {
            Json::Number(number) => {
                number.as_u64().and_then(|number| Self::try_from(number).ok()).ok_or(InvalidValue)
            }
            Json::String(text) => Self::from_text(text),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        // Nine digits fit into a word of every machine.
        json!({ "type": ["integer", "string"], "minimum": 0, "maximum": 999_999_999, "pattern": "^[0-9]{1,9}$" })
    }
}

impl Value for Option<usize> {
    const KIND: &'static str = usize::KIND;
    const EXPECTED: &'static str = usize::EXPECTED;

    fn from_text(text: &str) -> Read<Self> {
        if text.is_empty() { Ok(None) } else { usize::from_text(text).map(Some) }
    }

    fn from_json(json: &Json) -> Read<Self> {
        match json {
            Json::String(text) => Self::from_text(text),
            json => usize::from_json(json).map(Some),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["integer", "string"], "minimum": 0, "maximum": 999_999_999, "pattern": "^[0-9]{0,9}$" })
    }
}

impl Value for Duration {
    const KIND: &'static str = "duration";
    const EXPECTED: &'static str = "a duration in quotes, such as \"168h\" or \"1m30s\", and not negative";

    fn from_text(text: &str) -> Read<Self> {
        duration::parse(text).ok_or(InvalidValue)
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": duration::PATTERN })
    }
}

impl Value for Vec<String> {
    const KIND: &'static str = "list";
    const EXPECTED: &'static str = "a list of strings, or one string with commas";

    fn from_text(text: &str) -> Read<Self> {
        Ok(without_blanks(text.split(',')))
    }

    fn from_json(json: &Json) -> Read<Self> {
        match json {
            Json::Array(entries) => {
                let texts: Option<Vec<_>> = entries.iter().map(Json::as_str).collect();
                texts.map(|texts| without_blanks(texts.into_iter())).ok_or(InvalidValue)
            }
            Json::String(text) => Self::from_text(text),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["array", "string"], "items": { "type": "string" } })
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

/// The entries of a list. An empty entry comes from an extra comma and is never a value.
fn without_blanks<'a>(entries: impl Iterator<Item = &'a str>) -> Vec<String> {
    entries.map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

impl Value for Option<Url> {
    const KIND: &'static str = "URL";
    const EXPECTED: &'static str =
        "an absolute http or https URL such as \"https://login.example.com\", without user name and fragment";

    fn from_text(text: &str) -> Read<Self> {
        if text.is_empty() { Ok(None) } else { Url::parse(text).map(Some).ok_or(InvalidValue) }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(https?://[^\\s#@]+)?$" })
    }

    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn boolean_is_read_from_json_or_as_in_go() {
        assert!(bool::from_json(&json!(true)).unwrap());
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert!(bool::from_text(text).unwrap(), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert!(!bool::from_text(text).unwrap(), "{text}");
        }
        for text in ["", "yes", "on", "tRUE", " true"] {
            assert!(bool::from_text(text).is_err(), "{text}");
        }
        assert!(bool::from_json(&json!(1)).is_err());
    }

    #[test]
    fn a_number_is_whole_and_not_negative() {
        assert_eq!(usize::from_json(&json!(12)).unwrap(), 12);
        assert_eq!(usize::from_json(&json!("12")).unwrap(), 12);
        for json in [json!(-1), json!(1.5), json!("-1"), json!("+1"), json!(""), json!("1e3"), json!([1])] {
            assert!(usize::from_json(&json).is_err(), "{json}");
        }
        assert!(usize::from_text("99999999999999999999999").is_err());
    }

    #[test]
    fn a_list_is_an_array_or_has_commas() {
        let list = |json| Vec::from_json(&json).unwrap();
        assert_eq!(list(json!(["a", "b,c"])), ["a", "b,c"]);
        assert_eq!(list(json!("a, b")), ["a", "b"]);
        assert_eq!(list(json!("a")), ["a"]);
        assert!(list(json!([])).is_empty());
        assert!(Vec::from_json(&json!(["a", 1])).is_err());
        assert!(Vec::from_json(&json!({"a": "b"})).is_err());
    }

    #[test]
    fn an_empty_entry_of_a_list_is_left_out() {
        assert_eq!(Vec::from_text("a,,b, ,").unwrap(), ["a", "b"]);
        assert_eq!(Vec::from_json(&json!(["", "a", " "])).unwrap(), ["a"]);
    }
}
