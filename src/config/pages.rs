//! How the pages look: the service's name and logo, and the language of their words.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::choices::ModeName;
use super::errors::ConfigErrors;
use super::login::text;
use super::options::Options;
use super::url::Url;
use super::value::{InvalidValue, Read, Value};

/// The longest logo in a data URL, in characters. Each page has it.
const MAX_DATA: usize = 32 << 10;

/// The types of images that all browsers show. An image runs no script, an SVG neither.
const IMAGES: [&str; 5] = ["png", "jpeg", "gif", "webp", "svg+xml"];

/// The options of all pages.
#[derive(Clone, Debug)]
pub struct Pages {
    /// `pages_title`, if it is not empty.
    pub title: Option<String>,
    /// `pages_logo`.
    pub logo: Option<Logo>,
    /// `pages_language`.
    pub language: Language,
}

/// The URL of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logo(String);

/// The language of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
    /// The one of these that the browser names first, or else English.
    Browser,
}

impl Logo {
    /// The URL, if the text is one.
    fn parse(text: &str) -> Option<Self> {
        let is_image = match text.strip_prefix("data:image/") {
            Some(data) => data.split_once(";base64,").is_some_and(|(kind, image)| {
                text.len() <= MAX_DATA && IMAGES.contains(&kind) && STANDARD.decode(image).is_ok()
            }),
            // The characters have a meaning in a Content-Security-Policy, which cannot name an IPv6 address.
            None => {
                text.starts_with("https://")
                    && !text.contains([';', ',', '\'', '*', '['])
                    && Url::parse(text).is_some()
            }
        };
        is_image.then(|| Self(text.to_owned()))
    }

    /// The URL of the image.
    pub fn url(&self) -> &str {
        &self.0
    }

    /// What a Content-Security-Policy has to allow for it (CSP Level 3 section 2.3.1): a URL without its query, or
    /// the scheme `data`.
    pub fn source(&self) -> &str {
        match self.0.split_once('?') {
            _ if self.0.starts_with("data:") => "data:",
            Some((source, _)) => source,
            None => &self.0,
        }
    }
}

pub(super) fn build(options: &Options, errors: &mut ConfigErrors) -> Pages {
    let has_pages = options.mode != ModeName::Beside || !options.force_json_errors;
    for (name, is_given) in [
        ("pages_title", !options.pages_title.is_empty()),
        ("pages_logo", options.pages_logo.is_some()),
        ("pages_language", options.pages_language != Language::default()),
    ] {
        errors.check(
            has_pages || !is_given,
            name,
            "has no effect: with mode beside and force_json_errors the filter shows no pages; leave it out",
        );
    }
    Pages {
        title: text(&options.pages_title),
        logo: options.pages_logo.clone(),
        language: options.pages_language,
    }
}

impl Value for Option<Logo> {
    const KIND: &'static str = "URL";
    const EXPECTED: &'static str = "an https URL without [ * ' , and ;, or data:image/png;base64,… (also jpeg, gif, \
                                    webp, svg+xml) of at most 32,768 characters";

    fn from_text(text: &str) -> Read<Self> {
        if text.is_empty() { Ok(None) } else { Logo::parse(text).map(Some).ok_or(InvalidValue) }
    }

    fn schema() -> Json {
        let pattern = "^(https://[^\\s#@\\[*',;]+|data:image/(png|jpeg|gif|webp|svg\\+xml);base64,[A-Za-z0-9+/]+={0,2})?$";
        json!({ "type": "string", "pattern": pattern, "maxLength": MAX_DATA })
    }

    fn is_empty(&self) -> bool {
        self.is_none()
    }
}

impl Value for Language {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "\"en\", \"de\" or \"browser\"";

    fn from_text(text: &str) -> Read<Self> {
        match text {
            "en" => Ok(Self::English),
            "de" => Ok(Self::German),
            "browser" => Ok(Self::Browser),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "enum": ["en", "de", "browser"] })
    }
}
