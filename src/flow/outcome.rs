//! What loading a session ends in: three outcomes, and only one of them is a person.

use std::fmt;
use std::rc::Rc;

use http::StatusCode;

use super::person::Person;

/// Who the request is from.
pub(super) enum Outcome {
    /// A person with a session that is valid now.
    Authenticated(Rc<Person>),
    /// Nobody whom we know: the browser has to sign in.
    Anonymous(Reason),
    /// Nobody can tell now: the operator has to look, and the browser keeps its cookie.
    Unavailable(Unavailable),
}

/// An outcome, and the session cookie's new value where the browser's is to be replaced.
pub(super) struct Loaded {
    pub(super) outcome: Outcome,
    pub(super) renewed: Option<Vec<u8>>,
}

/// Why a request is anonymous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There is no session cookie.
    NoCookie,
    /// The signature does not hold, or the cookie is older than `cookie_expire`.
    BadCookie,
    /// The cookie was signed, but holds no session.
    NoSession,
    /// The cookie holds a ticket, but Redis has no session for it.
    Gone,
    /// The session was valid until its `ExpiresOn`.
    Expired,
    /// The provider refused to renew the session.
    Refused,
    /// The session has expired, and the provider does not take this client, so it cannot be renewed until that is mended.
    ClientRefused,
    /// The session has expired, or never would, and what it would have become is too large for the store.
    TooLarge,
    /// The person signed out while the session was renewed.
    SignedOut,
    /// The bearer token does not hold, and nothing else is taken in its place.
    BadToken,
}

/// Why nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The provider does not answer, or says that it cannot just now.
    Provider,
    /// The provider answers, and what it answers cannot be used: the operator has to look.
    Misconfigured,
    /// Redis does not answer, or not as it should.
    Redis,
    /// The host has no random numbers.
    Random,
    /// Too much of the same kind is asked just now.
    Busy,
    /// The session is larger than what its store takes.
    TooLarge(TooLarge),
}

/// A session that is not kept, and what the operator can do. Nothing is left out of it to make it fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    pub(super) bytes: usize,
    pub(super) most: usize,
    pub(super) remedy: &'static str,
}

impl Reason {
    /// Whether the browser keeps the cookie that it has. A ticket without a session opens nothing. But its request may
    /// have been under way while another tab signed in anew, and what cleared the cookie then would clear the new one;
    /// and a Redis that lost the session may get it back. With a sign-out, the cookie was cleared already. And what the
    /// provider says of the client is no fault of the session.
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
            Self::Refused => "the provider ended the session",
            Self::ClientRefused => "the session has expired, and the provider does not take this client",
            Self::TooLarge => "the session has ended, because the renewed one is too large for the store",
            Self::SignedOut => "the user signed out while the session was being renewed",
            Self::BadToken => "the bearer token is invalid",
        }
    }
}

impl Unavailable {
    /// Whether it may pass by itself, so that it helps to ask again.
    pub(super) fn passes(self) -> bool {
        !matches!(self, Self::Misconfigured | Self::TooLarge(_))
    }

    /// The status of the answer in the place of what was asked for.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Misconfigured => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// For the log and the browser.
    pub(super) fn explain(self) -> &'static str {
        match self {
            Self::Provider => "the sign-in service does not answer",
            Self::Misconfigured => {
                "the sign-in service answers, but this site cannot use its answer; the operator has to fix this"
            }
            Self::Redis => "the session store does not answer",
            Self::Random => "the proxy has no random numbers",
            Self::Busy => "there are too many such requests at the same time",
            Self::TooLarge(_) => {
                "this account has too many groups or other claims for the session store; the operator has to fix this"
            }
        }
    }
}

impl fmt::Display for Unavailable {
    /// As [`Self::explain`], with the size of what is too large.
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
        Self { outcome, renewed: None }
    }
}
