//! Options whose value is one of a few words.

use serde_json::{Value as Json, json};

use super::value::{InvalidValue, Read, Value};
use crate::cookie::SameSite;
use crate::oidc::ClientAuthMethod;
use crate::session::ticket::TicketForm;

/// How PKCE's challenge is made from its verifier (RFC 7636 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeChallengeMethod {
    /// Its SHA-256.
    S256,
    /// The verifier itself.
    Plain,
}

/// The value of the option `mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ModeName {
    #[default]
    Login,
    Beside,
    App,
}

/// The option `redis_tracking`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TrackingChoice {
    #[default]
    Auto,
    On,
    Off,
}

impl Value for TrackingChoice {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "\"auto\", \"on\" or \"off\"";

    fn from_text(text: &str) -> Read<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "enum": ["auto", "on", "off"] })
    }
}

impl Value for Option<SameSite> {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "\"lax\", \"strict\", \"none\" or \"\"";

    fn from_text(text: &str) -> Read<Self> {
        match text {
            "" => Ok(None),
            "lax" => Ok(Some(SameSite::Lax)),
            "strict" => Ok(Some(SameSite::Strict)),
            "none" => Ok(Some(SameSite::None)),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "enum": ["", "lax", "strict", "none"] })
    }
}

impl Value for Option<CodeChallengeMethod> {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "\"S256\", \"plain\", or \"\" for no PKCE";

    fn from_text(text: &str) -> Read<Self> {
        match text {
            "" => Ok(None),
            "S256" => Ok(Some(CodeChallengeMethod::S256)),
            "plain" => Ok(Some(CodeChallengeMethod::Plain)),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "enum": ["", "S256", "plain"] })
    }
}

impl Value for Option<ClientAuthMethod> {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "\"client_secret_basic\", \"client_secret_post\" or \"\"";

    fn from_text(text: &str) -> Read<Self> {
        match text {
            "" => Ok(None),
            "client_secret_basic" => Ok(Some(ClientAuthMethod::Basic)),
            "client_secret_post" => Ok(Some(ClientAuthMethod::Post)),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "enum": ["", "client_secret_basic", "client_secret_post"] })
    }
}

impl Value for ModeName {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "\"login\", \"beside\" or \"app\"";

    fn from_text(text: &str) -> Read<Self> {
        match text {
            "login" => Ok(Self::Login),
            "beside" => Ok(Self::Beside),
            "app" => Ok(Self::App),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "enum": ["login", "beside", "app"] })
    }
}

impl Value for Option<TicketForm> {
    const KIND: &'static str = "string";
    const EXPECTED: &'static str = "\"documented\", \"v2\", or \"\"";

    fn from_text(text: &str) -> Read<Self> {
        match text {
            "" => Ok(None),
            "documented" => Ok(Some(TicketForm::Documented)),
            "v2" => Ok(Some(TicketForm::V2)),
            _ => Err(InvalidValue),
        }
    }

    fn schema() -> Json {
        json!({ "enum": ["", "documented", "v2"] })
    }
}
