//! Why a callback did not end in a session: for the user, for the log and for the access log.

use http::StatusCode;
use log::Level;

use crate::flow::access_log;
use crate::flow::outcome::Unavailable;
use crate::flow::pages::Words;
use crate::flow::provider::sign_in_error::SignInError;
use crate::oidc::ErrorScope;

/// Why a callback did not end in a session.
#[derive(Clone)]
pub(super) enum Failure {
    /// The `error` that the provider sent instead of a code.
    Provider(String),
    /// `state` or `code` is missing, or is not one that the filter made.
    Malformed,
    /// No CSRF cookie fits this sign-in: it was used already, took too long, or began in another browser.
    NoLogin,
    /// This sign-in has tried as many codes as it may.
    TooManyCodes,
    /// The code could not be redeemed for a session.
    SignIn(SignInError),
    /// `email_domains` or `allowed_groups` does not let this user in.
    Forbidden,
    /// The session could not be kept, and the code is used up.
    NotSaved(Unavailable),
}

impl Failure {
    /// The status and the message for the user.
    pub(super) fn page(&self, words: &Words) -> (StatusCode, &'static str) {
        match self {
            Self::Provider(_) => (StatusCode::FORBIDDEN, words.provider_refused),
            Self::Malformed => (StatusCode::FORBIDDEN, words.link_incomplete),
            Self::NoLogin | Self::TooManyCodes | Self::SignIn(SignInError::InvalidGrant) => {
                (StatusCode::FORBIDDEN, words.sign_in_is_over)
            }
            Self::SignIn(SignInError::NoEmail | SignInError::UnverifiedEmail) => {
                (StatusCode::FORBIDDEN, words.no_verified_email)
            }
            Self::SignIn(
                SignInError::Unavailable(Unavailable::Misconfigured)
                | SignInError::CodeUsed(Unavailable::Misconfigured),
            ) => (StatusCode::BAD_GATEWAY, words.unusable_answer),
            Self::Forbidden | Self::SignIn(SignInError::Tenant) => {
                (StatusCode::FORBIDDEN, words.unknown_account)
            }
            Self::SignIn(SignInError::Grant(error)) if error.about() == ErrorScope::Client => {
                (StatusCode::BAD_GATEWAY, words.client_refused)
            }
            Self::SignIn(_) | Self::NotSaved(_) => (StatusCode::BAD_GATEWAY, words.invalid_answer),
        }
    }

    /// A failure that any browser can cause is not a fault of the filter or of the provider.
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Provider(_) | Self::Malformed | Self::NoLogin | Self::TooManyCodes => Level::Info,
            Self::SignIn(SignInError::InvalidGrant) | Self::Forbidden => Level::Info,
            Self::SignIn(_) | Self::NotSaved(_) => Level::Warn,
        }
    }

    /// For the access log.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Provider(_) => "provider_error",
            Self::Malformed => "bad_callback",
            Self::NoLogin => "no_login",
            Self::TooManyCodes => "too_many_codes",
            Self::SignIn(SignInError::Unavailable(reason) | SignInError::CodeUsed(reason))
            | Self::NotSaved(reason) => access_log::unavailable(*reason),
            Self::SignIn(SignInError::Grant(error)) if error.about() == ErrorScope::Client => {
                "client_refused"
            }
            Self::SignIn(_) => "bad_answer",
            Self::Forbidden => "forbidden",
        }
    }

    /// Why the callback failed, if the same callback can be tried again: its code is not used up.
    pub(super) fn passing(&self) -> Option<Unavailable> {
        match self {
            Self::SignIn(SignInError::Unavailable(reason)) => Some(*reason).filter(|reason| reason.passes()),
            _ => None,
        }
    }

    /// Why the callback failed, if a new sign-in may work: the code is used up.
    pub(super) fn passing_without_code(&self) -> Option<Unavailable> {
        match self {
            Self::SignIn(SignInError::CodeUsed(reason)) => Some(*reason).filter(|reason| reason.passes()),
            Self::NotSaved(reason) => Some(*reason),
            _ => None,
        }
    }

    /// For the log: never text that a client sent, except for the error codes of the standards.
    pub(super) fn explain(&self) -> String {
        match self {
            Self::Provider(code) => format!("the provider answered {}", known_error(code)),
            Self::Malformed => "the callback has no usable state and code".to_owned(),
            Self::NoLogin => "no CSRF cookie matches the state".to_owned(),
            Self::TooManyCodes => "too many codes were tried for this sign-in".to_owned(),
            Self::SignIn(error) => error.to_string(),
            Self::NotSaved(reason) => reason.to_string(),
            Self::Forbidden => "email_domains or allowed_groups does not allow this account".to_owned(),
        }
    }
}

/// An error code of RFC 6749 section 4.1.2.1 or OpenID Connect Core 3.1.2.6.
fn known_error(code: &str) -> &'static str {
    const CODES: [&str; 16] = [
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "invalid_request",
        "invalid_request_object",
        "invalid_request_uri",
        "invalid_scope",
        "login_required",
        "registration_not_supported",
        "request_not_supported",
        "request_uri_not_supported",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    ];
    CODES.into_iter().find(|known| *known == code).unwrap_or("an unknown error")
}
