//! The endpoints, at oauth2-proxy's paths: which one a request is for, and the small ones.

pub(super) mod backchannel_logout;
pub(super) mod beside;
pub(super) mod callback;
pub(super) mod csrf_cookies;
mod end_session;
mod everywhere_token;
pub(super) mod force_https;
pub(super) mod log_limits;
pub(super) mod login_app;
pub(super) mod redirect;
mod sessions;
pub(super) mod sign_out;
pub(super) mod start;
pub(super) mod upstream;

use std::future::Future;
use std::rc::Rc;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::decision::{Action, Decision};
use super::http::{csrf, fetch_metadata, reply};
use super::load::Usage;
use super::outcome::{Loaded, Outcome};
use super::{App, Io, Ready, Reply, RequestHead, access_log, authorize};
use crate::config::{Config, Mode, Routes};
use crate::time::Timestamp;

/// What a session is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To let a request through to the upstream.
    Upstream,
    /// `/oauth2/userinfo`.
    UserInfo,
    /// `/oauth2/refresh`: to renew it, although it is not due.
    Refresh,
    /// `/oauth2/auth`.
    Auth,
}

impl Purpose {
    /// What the session is needed for. `/oauth2/userinfo` is no use of it: a page asks there how long it will go on.
    pub(super) fn usage(self) -> Usage {
        let usage = Usage { may_set_cookie: |_, _| true, ..Usage::LOOK };
        match self {
            Self::Upstream => {
                Usage { may_set_cookie: upstream::may_set_cookie, is_use: upstream::is_use, ..usage }
            }
            Self::Auth => Usage { is_use, ..usage },
            Self::UserInfo => Usage { tells_ends: true, ..usage },
            Self::Refresh => Usage { is_use, tells_ends: true, renews: true, ..usage },
        }
    }

    /// Decides by the session that was loaded.
    pub(super) fn decide<I: Io>(self, app: &App<I>, head: &RequestHead, loaded: Loaded) -> Action {
        match self {
            Self::Upstream => upstream::handle(app, head, loaded),
            Self::UserInfo | Self::Refresh => userinfo(app, head, loaded, self),
            Self::Auth => auth(app, head, loaded),
        }
    }

    /// The answer to an invalid bearer token without fallback.
    pub(super) fn refuse_token(self, routes: &Routes, head: &RequestHead) -> Reply {
        match self {
            Self::Upstream => upstream::refuse_token(routes, head),
            Self::UserInfo | Self::Refresh | Self::Auth => reply::text(StatusCode::FORBIDDEN, "Forbidden"),
        }
    }

    /// The answer with its reason: what loading the session ended in, or else what the endpoint found.
    pub(super) fn explain(self, answer: Reply, reason: &'static str) -> Reply {
        let word = match self {
            _ if !reason.is_empty() => reason,
            _ if answer.status() == StatusCode::FORBIDDEN => access_log::FORBIDDEN,
            Self::Upstream => "upstream",
            Self::UserInfo => "userinfo",
            Self::Refresh => "refresh",
            Self::Auth => "auth",
        };
        reply::because(answer, word)
    }
}

/// Sends a request to its endpoint; all other requests are for the upstream.
pub(super) fn handle<I: Io>(app: &Rc<App<I>>, head: RequestHead) -> Ready<Decision> {
    let routes = &app.config.routes;
    let is_connect = head.is_connect();
    if is_ping(routes, &head) {
        return done(reply::text(StatusCode::OK, "OK"), "ping");
    }
    if !is_connect && is_at(head.path(), &routes.ready_path) {
        return wait(ready(Rc::clone(app)));
    }
    if let Some(answer) = force_https::answer(&app.config, &head) {
        return done(answer, "needs_https");
    }
    // CONNECT is for a host, not for a path (RFC 9110 section 9.3.6), so no endpoint is meant.
    if is_connect {
        return app.with_session(head, Purpose::Upstream);
    }
    let path = head.path();
    let endpoint = path.strip_prefix(routes.proxy_prefix.as_bytes()).unwrap_or_default();
    match &app.config.mode {
        Mode::Beside if beside::is_of_oauth2_proxy(endpoint) => {
            return Ready::Now(beside::forward(&head).into());
        }
        Mode::App(login_app) if matches!(endpoint, b"/start" | b"/sign_in") => {
            return done(login_app::sign_in(login_app, &redirect::target(&app.config, &head)), "start");
        }
        // The filter sends no browser to the callback in this mode.
        Mode::App(_) if endpoint == b"/callback" => {
            return done(reply::text(StatusCode::NOT_FOUND, "Not Found"), "not_found");
        }
        _ => {}
    }
    let has_index = app.config.redis.as_ref().is_some_and(|redis| redis.session_index);
    let allowed: &[&[u8]] = match endpoint {
        b"/sessions" if has_index => &[b"GET", b"HEAD", b"POST"],
        b"/sign_out_everywhere" if has_index => &[b"POST"],
        b"/start" | b"/userinfo" | b"/sign_in" => &[b"GET", b"HEAD"],
        // A code can be redeemed only once, so a `HEAD` request must not use it up.
        b"/callback" => &[b"GET"],
        b"/sign_out" => &[b"GET", b"HEAD", b"POST"],
        b"/backchannel_logout" if app.config.login.backchannel_logout => &[b"POST"],
        _ => &[],
    };
    if !allowed.is_empty() && !allowed.contains(&head.method()) {
        return done(reply::method_not_allowed(allowed), "method_not_allowed");
    }
    if matches!(endpoint, b"/start" | b"/sign_in" | b"/sign_out") && fetch_metadata::is_unasked(&head) {
        return done(reply::text(StatusCode::FORBIDDEN, "Forbidden"), "unasked");
    }
    match endpoint {
        b"/start" => wait(start::handle(Rc::clone(app), head)),
        b"/sign_in" if app.config.login.skip_provider_button => wait(start::handle(Rc::clone(app), head)),
        b"/sign_in" => wait(start::sign_in_page(Rc::clone(app), head)),
        b"/callback" => wait(callback::handle(Rc::clone(app), head)),
        b"/sign_out" => wait(sign_out::handle(Rc::clone(app), head)),
        b"/sessions" if has_index && head.method() == b"POST" => wait(sessions::end(Rc::clone(app), head)),
        b"/sessions" if has_index => wait(sessions::list(Rc::clone(app), head)),
        b"/sign_out_everywhere" if has_index => wait(sessions::sign_out_everywhere(Rc::clone(app), head)),
        b"/backchannel_logout" if app.config.login.backchannel_logout => {
            Ready::Now(backchannel_logout::by_head(&head))
        }
        b"/userinfo" => app.with_session(head, Purpose::UserInfo),
        b"/refresh" if app.config.mode.owns_sessions() && app.config.renews() => {
            match csrf::refuse(&head, |_| false) {
                Some(refusal) => Ready::Now(refusal.into()),
                None => app.with_session(head, Purpose::Refresh),
            }
        }
        b"/auth" => app.with_session(head, Purpose::Auth),
        _ => app.with_session(head, Purpose::Upstream),
    }
}

/// Whether a request is a use of its session.
fn is_use(config: &Config, head: &RequestHead) -> bool {
    !config.lifetimes.is_ignored(head.method(), head.path())
}

/// Whether a request asks only whether this proxy runs.
pub(super) fn is_ping(routes: &Routes, head: &RequestHead) -> bool {
    !head.is_connect() && is_at(head.path(), &routes.ping_path)
}

/// Whether the endpoint has this path. An endpoint with an empty path is off.
fn is_at(path: &[u8], endpoint: &str) -> bool {
    !endpoint.is_empty() && path == endpoint.as_bytes()
}

fn done(reply: Reply, word: &'static str) -> Ready<Decision> {
    Ready::Now(reply::because(reply, word).into())
}

fn wait(flow: impl Future<Output = impl Into<Decision>> + 'static) -> Ready<Decision> {
    Ready::later(async move { flow.await.into() })
}

/// `/ready`: whether the store can be used. The cookie store needs nothing else. If the filter only reads sessions, it
/// is enough that Redis answers.
async fn ready<I: Io>(app: Rc<App<I>>) -> Reply {
    let is_ready = if app.config.writes() { app.store.ready().await } else { app.store.check().await };
    match is_ready {
        Ok(()) => reply::because(reply::text(StatusCode::OK, "OK"), "ready"),
        Err(reason) => {
            reply::because(reply::unavailable_json(reason.explain()), access_log::unavailable(reason))
        }
    }
}

/// The keys of oauth2-proxy's `/oauth2/userinfo`, and when the session ends.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserInfo {
    user: String,
    email: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    preferred_username: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    additional_claims: Map<String, Value>,
    /// When the session ends as it is, in RFC 3339: a refresh moves this.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// If no request uses it: the next use moves this.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_expires_at: Option<String>,
    /// Whatever happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    absolute_expires_at: Option<String>,
}

/// `/oauth2/userinfo`, and `/oauth2/refresh` after the refresh: the signed-in user as JSON, or 401.
fn userinfo<I: Io>(app: &App<I>, head: &RequestHead, loaded: Loaded, purpose: Purpose) -> Action {
    let mut answer = match &loaded.outcome {
        Outcome::Authenticated(principal) if principal.allowed => {
            let (session, lifetimes) = (&principal.session, &app.config.lifetimes);
            let end = lifetimes.end(session, app.config.cookie.enforce_expires_on);
            // oauth2-proxy does not say it, and so neither does the filter without an option of its own.
            let tells_end = purpose == Purpose::Refresh || lifetimes.are_limited();
            let text_of =
                |end: Option<Timestamp>| end.map(|end| Timestamp::from_secs(end.secs()).to_string());
            // JSON is UTF-8. With replacement characters, two users could get the same name.
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
            reply::json(
                StatusCode::OK,
                &UserInfo {
                    user: text(&session.user).unwrap_or_default(),
                    email: text(&session.email).unwrap_or_default(),
                    groups: session.groups.iter().flat_map(|group| text(group)).collect(),
                    preferred_username: text(&session.preferred_username).unwrap_or_default(),
                    additional_claims: session.additional_claims.to_json(),
                    expires_at: text_of(end.filter(|_| tells_end)),
                    idle_expires_at: text_of(loaded.idle_end),
                    absolute_expires_at: text_of(lifetimes.absolute_end(session)),
                },
            )
        }
        Outcome::Authenticated(_) => reply::empty(StatusCode::FORBIDDEN),
        Outcome::Anonymous(_) => reply::json(StatusCode::UNAUTHORIZED, &Map::new()),
        Outcome::Unavailable(reason) => reply::unavailable_json(reason.explain()),
    };
    reply::add_headers(&mut answer, app.cookie.for_response(head, &loaded, app.io.now()).iter());
    Action::Reply(answer)
}

/// `/oauth2/auth`, for `ext_authz` and nginx's `auth_request`: 202 with `X-Auth-Request-*`, 401 or 403.
fn auth<I: Io>(app: &App<I>, head: &RequestHead, loaded: Loaded) -> Action {
    let mut answer = match &loaded.outcome {
        Outcome::Authenticated(principal)
            if principal.allowed && authorize::by_query(&principal.session, head) =>
        {
            let mut answer = reply::empty(StatusCode::ACCEPTED);
            reply::add_headers(&mut answer, principal.headers.response.iter());
            answer
        }
        Outcome::Authenticated(_) => reply::empty(StatusCode::FORBIDDEN),
        Outcome::Anonymous(_) => reply::text(StatusCode::UNAUTHORIZED, "Unauthorized"),
        Outcome::Unavailable(reason) => reply::unavailable_json(reason.explain()),
    };
    reply::add_headers(&mut answer, app.cookie.for_response(head, &loaded, app.io.now()).iter());
    Action::Reply(answer)
}
