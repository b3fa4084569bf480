//! What loading a session ends in: one of three outcomes. Only one of them is a signed-in user.

use std::fmt;
use std::rc::Rc;

use http::StatusCode;

use super::pages::ENGLISH;
use super::principal::Principal;
use crate::time::Timestamp;

/// The result of loading the session of a request.
pub(super) enum Outcome {
    /// The user has a session that is valid now.
    Authenticated(Rc<Principal>),
    /// There is no valid session: the browser has to sign in.
    Anonymous(AnonymousReason),
    /// The filter cannot tell now. The browser keeps its cookie, and the operator has to act.
    Unavailable(Unavailable),
}

/// An outcome, and the new values of the cookies that the browser has to replace.
pub(super) struct Loaded {
    pub(super) outcome: Outcome,
    /// Of the session cookie.
    pub(super) renewed: Option<Vec<u8>>,
    /// Of the cookie with the time of the session's last use.
    pub(super) last_use: Option<Vec<u8>>,
    /// When the session ends if no request uses it, if that was asked for and is known.
    pub(super) idle_end: Option<Timestamp>,
}

impl Loaded {
    /// Whether the response has to set a cookie.
    pub(super) fn sets_cookie(&self) -> bool {
        self.renewed.is_some() || self.last_use.is_some()
    }
}

/// Why a request is anonymous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnonymousReason {
    /// There is no session cookie.
    NoCookie,
    /// The signature is invalid, or the cookie is older than `cookie_expire`.
    BadCookie,
    /// The cookie is signed, but holds no session.
    NoSession,
    /// The cookie holds a ticket, but Redis has no session for it.
    Gone,
    /// The session is past its `ExpiresOn`.
    Expired,
    /// The sign-in is longer ago than `session_max_lifetime`.
    TooOld,
    /// No request used the session for `session_idle_timeout`.
    Idle,
    /// The provider refused to renew the session.
    Refused,
    /// The session has expired, and the provider rejects this client. So it cannot be refreshed until the operator has
    /// fixed that.
    ClientRefused,
    /// The session has expired, or has no expiry, and the refreshed one is too large for the store.
    TooLarge,
    /// The user signed out while the session was refreshed.
    SignedOut,
    /// The bearer token is invalid, and there is no fallback (`bearer_token_login_fallback`).
    BadToken,
}

/// Why the filter cannot tell whether a request has a session, or cannot do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The provider does not answer, or answers that it cannot now.
    Provider,
    /// The provider's answer cannot be used: the operator has to act.
    Misconfigured,
    /// Redis does not answer, or its answer cannot be used.
    Redis,
    /// Redis refuses the commands of the index of sessions, or there is none.
    NoIndex,
    /// A secret that comes over the bridge is not there yet.
    Secret,
    /// The host has no random numbers.
    Random,
    /// Too many requests of this kind are under way.
    Busy,
    /// The session is too large for its store.
    TooLarge(TooLarge),
}

/// A session that is too large to be kept, and what the operator can do. The filter leaves nothing out of it to make it
/// fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    pub(super) bytes: usize,
    pub(super) most: usize,
    pub(super) remedy: &'static str,
}

impl AnonymousReason {
    /// Whether the browser keeps its cookie. A ticket without a session opens nothing. But its request may have been
    /// under way while another tab signed in, and clearing the cookie would then clear the new one; and a Redis that
    /// lost the session may get it back. A sign-out has cleared the cookie already. And that the provider rejects the
    /// client does not make the session invalid.
    pub(super) fn keeps_cookie(self) -> bool {
        matches!(self, Self::NoCookie | Self::Gone | Self::SignedOut | Self::ClientRefused)
    }

    /// For the log.
    pub(super) fn explain(self) -> &'static str {
        match self {
            Self::NoCookie => "no session cookie",
            Self::BadCookie => "the session cookie has no valid signature, or is too old",
            Self::NoSession => "the session cookie has no session in it",
            Self::Gone => "Redis has no session for the cookie's ticket",
            Self::Expired => "the session has expired",
            Self::TooOld => "the sign-in is longer ago than session_max_lifetime",
            Self::Idle => "no request used the session for session_idle_timeout",
            Self::Refused => "the provider ended the session",
            Self::ClientRefused => "the session has expired, and the provider does not take this client",
            Self::TooLarge => "the session has ended, because the renewed one is too large for the store",
            Self::SignedOut => "the user signed out while the session was being renewed",
            Self::BadToken => "the bearer token is invalid",
        }
    }
}

impl Unavailable {
    /// Whether this may pass by itself, so that it helps to try again.
    pub(super) fn passes(self) -> bool {
        !matches!(self, Self::Misconfigured | Self::NoIndex | Self::TooLarge(_))
    }

    /// The status of the answer.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Misconfigured => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// For the log and for programs. Pages say it in their language.
    pub(super) fn explain(self) -> &'static str {
        ENGLISH.reason(self)
    }
}

impl fmt::Display for Unavailable {
    /// As [`Self::explain`]; for a session that is too large, with its size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(size) => size.fmt(f),
            other => f.write_str(other.explain()),
        }
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, most, remedy } = self;
        write!(
            f,
            "this account has too many groups or other claims: its session has {bytes} bytes, but at most {most} are \
             allowed. {remedy}"
        )
    }
}

impl From<Outcome> for Loaded {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, renewed: None, last_use: None, idle_end: None }
    }
}
