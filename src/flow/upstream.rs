//! A request for the upstream: through with its person's headers, or to sign in, or refused.

use http::StatusCode;
use log::debug;
use serde_json::Map;

use super::outcome::{Loaded, Outcome};
use super::pages::ErrorPage;
use super::url::{encode, is_unambiguous};
use super::{App, Decision, Forward, Header, Io, Reply, RequestHead, headers, login_app, pages, reply};
use crate::config::Mode;

/// Decides by the session that was loaded.
pub(super) fn upstream<I: Io>(app: &App<I>, head: &RequestHead, loaded: Loaded) -> Decision {
    match &loaded.outcome {
        Outcome::Authenticated(person) if person.allowed => {
            let mut response = person.response_headers.clone();
            let set = person.request_headers.clone();
            response.extend(app.cookies_after(head, &loaded));
            forward(app, head, set, response)
        }
        _ if skips_auth(app, head) => {
            let response = app.cookies_after(head, &loaded);
            forward(app, head, [].into(), response)
        }
        Outcome::Authenticated(_) => {
            let mut answer = forbidden(app, head);
            if loaded.is_of_token {
                return answer.into();
            }
            if app.config.mode.owns_sessions() {
                app.store.discard(head, &app.io);
            }
            reply::add_headers(&mut answer, app.clear(head).iter());
            answer.into()
        }
        Outcome::Anonymous(reason) => {
            debug!("request: not signed in, {}", reason.explain());
            let mut answer = sign_in(app, head);
            app.add_cookies(&mut answer, head, &loaded);
            answer.into()
        }
        Outcome::Unavailable(reason) => unavailable(app, head, reason.explain()).into(),
    }
}

/// Lets a request through, with `set` in the place of what the client forged.
fn forward<I: Io>(
    app: &App<I>,
    head: &RequestHead,
    set: std::rc::Rc<[Header]>,
    response: Vec<Header>,
) -> Decision {
    let options = &app.config.headers;
    let keeps_forged = set.is_empty() && !options.skip_auth_strip_headers;
    let remove = if keeps_forged { Vec::new() } else { headers::forged(options, head) };
    let handed_over = login_app::handed_over(app, head);
    let mut forward = Forward { remove, set, cookie: None, response, handed_over };
    app.cookie.strip(head, &mut forward);
    Decision::Forward(forward)
}

/// `skip_auth_routes` and `skip_auth_preflight`.
fn skips_auth<I: Io>(app: &App<I>, head: &RequestHead) -> bool {
    let routes = &app.config.routes;
    if routes.skip_auth_preflight && head.method() == b"OPTIONS" {
        return true;
    }
    let is_skipped = is_unambiguous(head.path()) && routes.skip_auth.allows(head.method(), head.path());
    is_skipped || login_app::is_asked(app, head)
}

/// 302 to sign in for a page, 401 for a program.
fn sign_in<I: Io>(app: &App<I>, head: &RequestHead) -> Reply {
    if is_program(app, head) {
        return reply::json(StatusCode::UNAUTHORIZED, &Map::new());
    }
    if let Mode::App(login_app) = &app.config.mode {
        return login_app::sign_in(login_app, head.target());
    }
    let endpoint = if app.config.login.skip_provider_button { "start" } else { "sign_in" };
    reply::redirect(&format!("{}/{endpoint}?rd={}", app.config.routes.proxy_prefix, encode(head.target())))
}

/// Whether a program asks, which cannot follow a login: by `api_routes` and `force_json_errors`, or
/// because it says so (`Accept`, `X-Requested-With`, `Upgrade`, Fetch Metadata).
fn is_program<I: Io>(app: &App<I>, head: &RequestHead) -> bool {
    let routes = &app.config.routes;
    let accepts_json = || {
        head.all("accept")
            .flat_map(|accept| accept.split(|byte| *byte == b','))
            .filter_map(|media| media.split(|byte| *byte == b';').next())
            .any(|media| media.trim_ascii().eq_ignore_ascii_case(b"application/json"))
    };
    let fetch_mode = head.header("sec-fetch-mode");
    routes.force_json_errors
        || routes.is_api(head.path())
        || accepts_json()
        || head.header("x-requested-with").eq_ignore_ascii_case(b"XMLHttpRequest")
        || head.header("upgrade").eq_ignore_ascii_case(b"websocket")
        || !(fetch_mode.is_empty() || fetch_mode == b"navigate")
}

fn forbidden<I: Io>(app: &App<I>, head: &RequestHead) -> Reply {
    if is_program(app, head) {
        return reply::empty(StatusCode::FORBIDDEN);
    }
    pages::error(&ErrorPage {
        status: StatusCode::FORBIDDEN,
        title: "You may not see this",
        message: "You are signed in, but this account has no access here.",
        reference: None,
        retry_url: Some(&format!("{}/sign_in", app.config.routes.proxy_prefix)),
        retry_label: "Sign in with another account",
    })
}

fn unavailable<I: Io>(app: &App<I>, head: &RequestHead, reason: &str) -> Reply {
    if is_program(app, head) {
        return reply::unavailable_json(reason);
    }
    pages::unavailable("This page cannot be shown", reason, "")
}
