//! A request for the upstream: it goes through with its user's headers, or to the sign-in, or it is refused.

use std::rc::Rc;

use http::StatusCode;
use log::debug;

use super::{login_app, redirect};
use crate::config::{Config, Mode, Routes};
use crate::flow::App;
use crate::flow::decision::{Action, Forward};
use crate::flow::http::client_kind::{ClientKind, Problem, Protocol};
use crate::flow::http::forged::ProtectedNames;
use crate::flow::http::reply::{self, Reply};
use crate::flow::http::request::RequestHead;
use crate::flow::http::url::encode;
use crate::flow::io::Io;
use crate::flow::outcome::{AnonymousReason, Loaded, Outcome, Unavailable};
use crate::flow::pages::{ErrorPage, Pages};
use crate::flow::principal::Principal;
use crate::flow::skip_auth::{is_skipped_route, skips_auth};

/// Decides by the session that was loaded.
pub(super) fn handle<I: Io>(app: &App<I>, head: &RequestHead, loaded: Loaded) -> Action {
    match &loaded.outcome {
        Outcome::Authenticated(principal) if principal.allowed => {
            let mut response = principal.headers.response.clone();
            let may_set_cookie = loaded.sets_cookie() && may_set_cookie(&app.config, head);
            if may_set_cookie {
                response.extend(app.cookie.for_response(head, &loaded, app.io.now()));
            }
            let renewed = loaded.renewed.clone().filter(|_| may_set_cookie);
            let forward = forward(app, head, Pass::Principal(principal));
            Action::Forward(Forward { response: reply::private(response), renewed, ..forward })
        }
        _ if skips_auth(&app.config, head) => Action::Forward(forward(app, head, Pass::Anonymous)),
        // The session stays: it may be enough for another path or another host.
        Outcome::Authenticated(_) => {
            let mut answer = forbidden(&app.config, head);
            reply::add_headers(&mut answer, app.cookie.for_response(head, &loaded, app.io.now()).iter());
            Action::Reply(answer)
        }
        Outcome::Anonymous(reason) => {
            debug!("request: not signed in, {}", reason.explain());
            let mut answer = sign_in(&app.config, head, *reason);
            reply::add_headers(&mut answer, app.cookie.for_response(head, &loaded, app.io.now()).iter());
            Action::Reply(answer)
        }
        Outcome::Unavailable(reason) => Action::Reply(unavailable(&app.config, head, *reason)),
    }
}

/// Whether the response may carry a session cookie: not if the request needs no session. A shared cache may keep such a
/// response, and would give one user's cookie to others.
pub(super) fn may_set_cookie(config: &Config, head: &RequestHead) -> bool {
    !skips_auth(config, head)
}

/// Whether a request is a use of its session: not if it needs none. In the cookie store, its response could not say so.
pub(super) fn is_use(config: &Config, head: &RequestHead) -> bool {
    super::is_use(config, head) && !skips_auth(config, head)
}

/// For which user a request is forwarded. The headers cannot tell, because a user may have none.
enum Pass<'a> {
    /// For a user whom the configuration lets in.
    Principal(&'a Principal),
    /// Without a user: the request needs no session.
    Anonymous,
}

/// Lets a request through, with its user's headers instead of those that the client forged.
fn forward<I: Io>(app: &App<I>, head: &RequestHead, pass: Pass<'_>) -> Forward {
    let options = &app.config.headers;
    let (set, keeps_forged) = match pass {
        Pass::Principal(principal) => (Rc::clone(&principal.headers.request), false),
        Pass::Anonymous => {
            ([].into(), !options.skip_auth_strip_headers && is_skipped_route(&app.config, head))
        }
    };
    let mut forward =
        if keeps_forged { Forward::default() } else { Forward::without(ProtectedNames::of(options), head) };
    forward.set = set;
    forward.handed_over = login_app::handed_over(&app.config, head);
    app.cookie.strip(head, &mut forward, &app.io);
    forward
}

/// 302 to the sign-in for a page. A program is told that it is not signed in.
fn sign_in(config: &Config, head: &RequestHead, reason: AnonymousReason) -> Reply {
    if let ClientKind::Program(protocol) = ClientKind::of(&config.routes, head) {
        return protocol.answer(Problem::NotSignedIn);
    }
    if let Mode::App(login_app) = &config.mode {
        return login_app::sign_in(login_app, &redirect::back(config, head));
    }
    // The page with the button ends the browser's session, and this session may go on.
    let skips_page = config.login.skip_provider_button || reason == AnonymousReason::ClientRefused;
    let endpoint = if skips_page { "start" } else { "sign_in" };
    let target = encode(redirect::back(config, head).as_bytes());
    reply::redirect(&format!("{}/{endpoint}?rd={target}", config.routes.proxy_prefix))
}

/// The answer to an invalid bearer token without fallback. Only programs send one, so no page helps.
pub(super) fn refuse_token(routes: &Routes, head: &RequestHead) -> Reply {
    match ClientKind::of(routes, head) {
        ClientKind::Browser | ClientKind::Program(Protocol::Http) => {
            reply::text(StatusCode::FORBIDDEN, "Forbidden")
        }
        ClientKind::Program(protocol) => protocol.answer(Problem::Forbidden),
    }
}

fn forbidden(config: &Config, head: &RequestHead) -> Reply {
    if let ClientKind::Program(protocol) = ClientKind::of(&config.routes, head) {
        return protocol.answer(Problem::Forbidden);
    }
    let pages = Pages::new(config, head);
    pages.error(&ErrorPage {
        status: StatusCode::FORBIDDEN,
        title: pages.words.no_access,
        message: pages.words.account_has_no_access,
        reference: None,
        retry_url: Some(&format!("{}/sign_in", config.routes.proxy_prefix)),
        retry_label: pages.words.other_account,
    })
}

/// The answer to a request whose session the filter cannot check.
pub(in crate::flow) fn unavailable(config: &Config, head: &RequestHead, reason: Unavailable) -> Reply {
    if let ClientKind::Program(protocol) = ClientKind::of(&config.routes, head) {
        return protocol.answer(Problem::Unavailable(reason.explain()));
    }
    let pages = Pages::new(config, head);
    pages.not_now(pages.words.page_not_shown, reason, None, "")
}
