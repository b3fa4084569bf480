//! What Envoy's access log says about a request: `access_log_fields`.
//!
//! The host writes the fields into the filter state, where the access log finds them. If the option is empty, as it is by
//! default, nothing here runs.
//!
//! | `state` | the request | `reason` |
//! |---|---|---|
//! | `authenticated` | is of a user with a session | `forbidden` if that is not enough |
//! | `anonymous` | has no valid session | why |
//! | `unavailable` | may have one, but the filter cannot tell now | what does not answer |
//! | `skipped` | went through without one, by `skip_auth_*` | why it has none |
//! | `endpoint` | was for an endpoint that loads no session | what a callback ended in, or why a sign-in does not begin |

use std::rc::Rc;

use http::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::decision::{Action, Decision};
use super::http::reply::Reply;
use super::http::{headers, reply};
use super::outcome::{AnonymousReason, Outcome, Unavailable};
use super::util::ready::Ready;
use crate::config::Config;
use crate::session::SessionInfo;

const AUTHENTICATED: &str = "authenticated";
/// The session is not enough.
pub(super) const FORBIDDEN: &str = "forbidden";

/// Envoy's text log does not escape. So all characters are percent-encoded that could end a line or a column or begin
/// an escape. The encoder adds everything that is not ASCII.
const NOT_IN_LOG: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b'\'').add(b'\\');

/// The longest user in a log line, in bytes. A claim can have any length.
const MAX_USER: usize = 256;

/// What the access log says of a request, before the option picks.
pub(super) struct AccessLogEntry {
    state: &'static str,
    reason: &'static str,
    user: Option<String>,
}

impl AccessLogEntry {
    /// By the outcome of loading the session; none without `access_log_fields`.
    pub(super) fn of_session(config: &Config, outcome: &Outcome) -> Option<Self> {
        if config.access_log.is_empty() {
            return None;
        }
        let (state, user) = match outcome {
            Outcome::Authenticated(principal) => (AUTHENTICATED, user(config, &principal.session)),
            Outcome::Anonymous(_) => ("anonymous", None),
            Outcome::Unavailable(_) => ("unavailable", None),
        };
        Some(Self { state, reason: reason(outcome), user })
    }

    /// By what an endpoint ended in, and for which user.
    fn of_endpoint(config: &Config, reason: &'static str, session: Option<&SessionInfo>) -> Self {
        Self { state: "endpoint", reason, user: session.and_then(|session| user(config, session)) }
    }

    /// The answer of an endpoint, with what it ended in.
    pub(super) fn on(
        answer: Reply,
        config: &Config,
        reason: &'static str,
        session: Option<&SessionInfo>,
    ) -> Decision {
        let answer = reply::because(answer, reason);
        if config.access_log.is_empty() {
            return answer.into();
        }
        Self::of_endpoint(config, reason, session).beside(config, Action::Reply(answer))
    }

    /// The decision for an action, with this beside it.
    pub(super) fn beside(mut self, config: &Config, action: Action) -> Decision {
        match &action {
            Action::Forward(_) if self.state != AUTHENTICATED || self.reason == FORBIDDEN => {
                self.state = "skipped";
            }
            // The query of `/oauth2/auth` can ask for more than the configuration does.
            Action::Reply(reply)
                if self.state == AUTHENTICATED && reply.status() == StatusCode::FORBIDDEN =>
            {
                self.reason = FORBIDDEN;
            }
            _ => {}
        }
        let fields = config.access_log;
        let state = fields.state.then(|| ("state", self.state.to_owned()));
        let reason = fields.reason.then(|| ("reason", self.reason.to_owned()));
        let user = self.user.map(|user| ("user", user));
        let fields = [state, reason, user].into_iter().flatten().filter(|(_, value)| !value.is_empty());
        Decision { action, log: fields.collect() }
    }
}

/// The decision; with an entry also if no session was loaded.
pub(super) fn of_endpoint(config: &Rc<Config>, decision: Ready<Decision>) -> Ready<Decision> {
    if config.access_log.is_empty() {
        return decision;
    }
    let config = Rc::clone(config);
    decision.map(move |decision| {
        if decision.log.is_empty() {
            return AccessLogEntry::of_endpoint(&config, "", None).beside(&config, decision.action);
        }
        decision
    })
}

/// The user as in `X-Forwarded-User`, if the option asks for it.
fn user(config: &Config, session: &SessionInfo) -> Option<String> {
    if !config.access_log.user {
        return None;
    }
    let name = headers::name(&config.headers, session);
    let name = String::from_utf8_lossy(name.get(..MAX_USER).unwrap_or(name));
    Some(utf8_percent_encode(&name, NOT_IN_LOG).to_string())
}

/// The word for an outcome; empty for a user who is let in.
pub(super) fn reason(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Authenticated(principal) if principal.allowed => "",
        Outcome::Authenticated(_) => FORBIDDEN,
        Outcome::Anonymous(reason) => anonymous(*reason),
        Outcome::Unavailable(reason) => unavailable(*reason),
    }
}

fn anonymous(reason: AnonymousReason) -> &'static str {
    match reason {
        AnonymousReason::NoCookie => "no_cookie",
        AnonymousReason::BadCookie => "bad_cookie",
        AnonymousReason::BadToken => "bad_token",
        AnonymousReason::NoSession => "no_session",
        AnonymousReason::Gone => "gone",
        AnonymousReason::Expired => "expired",
        AnonymousReason::TooOld => "too_old",
        AnonymousReason::Idle => "idle",
        AnonymousReason::Refused => "refused",
        AnonymousReason::ClientRefused => "client_refused",
        AnonymousReason::TooLarge => "session_too_large",
        AnonymousReason::SignedOut => "signed_out",
    }
}

/// The word for what does not answer.
pub(super) fn unavailable(reason: Unavailable) -> &'static str {
    match reason {
        Unavailable::Provider => "provider_unavailable",
        Unavailable::Misconfigured => "provider_misconfigured",
        Unavailable::Redis => "redis_unavailable",
        Unavailable::NoIndex => "no_session_index",
        Unavailable::Secret => "secret_missing",
        Unavailable::Random => "no_random",
        Unavailable::Busy => "busy",
        Unavailable::TooLarge(_) => "session_too_large",
    }
}
