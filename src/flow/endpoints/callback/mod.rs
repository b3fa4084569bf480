//! `/oauth2/callback`: the provider sent the browser back; a code becomes a session (RFC 6749 section 4.1.2).
//!
//! | file | what it is about |
//! |---|---|
//! | `codes` | codes that are being redeemed |
//! | `attempts` | how many codes were tried for one sign-in |
//! | `failure` | why a callback ended in no session |

mod attempts;
mod codes;
mod failure;

use std::rc::Rc;

use log::{Level, log};

pub(in crate::flow) use self::codes::Codes;
use self::codes::SignedIn;
use self::failure::Failure;
use super::csrf_cookies::CsrfCookies;
use super::{redirect, start};
use crate::config::Config;
use crate::flow::access_log::AccessLogEntry;
use crate::flow::decision::Decision;
use crate::flow::http::reply::{self, Reply};
use crate::flow::http::request::RequestHead;
use crate::flow::io::{Count, Io};
use crate::flow::load::Usage;
use crate::flow::outcome::Outcome;
use crate::flow::pages::{ErrorPage, Pages};
use crate::flow::principal::Principal;
use crate::flow::{App, load};

/// Finishes a sign-in.
pub(in crate::flow) async fn handle<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Decision {
    let head = Rc::new(head);
    let state = head.query("state").and_then(|state| start::read_state(&app.config, &state));
    let (state_hash, target) = state.unwrap_or_default();
    let target = redirect::checked(&app.config, target.as_bytes()).unwrap_or_else(|| "/".to_owned());
    let signed_in = sign_in(&app, &head, &state_hash).await;
    // As of now: the sign-in may have waited.
    let csrf_cookies = CsrfCookies::new(&app, &head);
    match signed_in {
        Ok(signed_in) => {
            let (cookie, principal) = &*signed_in;
            app.io.count(Count::SignIn);
            let mut answer = reply::redirect(&target);
            let saved = app.cookie.save(cookie, &principal.session, &head, app.io.now());
            reply::add_headers(&mut answer, saved.iter());
            reply::add_headers(&mut answer, csrf_cookies.end(&state_hash).iter());
            AccessLogEntry::on(answer, &app.config, "signed_in", Some(&principal.session))
        }
        Err(failure) => {
            if matches!(failure, Failure::NoLogin)
                && let Some(principal) = signed_in_already(&app, &head).await
            {
                return offered(&app.config, &head, &principal, &target);
            }
            app.io.count(Count::SignInFailed);
            let mut answer = failed(&app, &head, &failure, &target);
            if failure.passing().is_none() {
                reply::add_headers(&mut answer, csrf_cookies.end(&state_hash).iter());
            }
            AccessLogEntry::on(answer, &app.config, failure.word(), None)
        }
    }
}

/// The session of the user who comes back from the provider.
async fn sign_in<I: Io>(
    app: &Rc<App<I>>,
    head: &Rc<RequestHead>,
    state_hash: &str,
) -> Result<Rc<SignedIn>, Failure> {
    if let Some(error) = head.query("error").filter(|error| !error.is_empty()) {
        return Err(Failure::Provider(error));
    }
    let code = head.query("code").filter(|code| !code.is_empty());
    let (Some(code), false) = (code, state_hash.is_empty()) else {
        return Err(Failure::Malformed);
    };
    let csrf_cookies = CsrfCookies::new(app, head);
    let login = csrf_cookies.find(state_hash).ok_or(Failure::NoLogin)?;
    codes::redeem(app, head, login, code).await
}

/// The user of the browser's session, if that user is allowed. Any site can link to this address, so this changes no
/// cookie: a session that is refreshed gets its new cookie with another request.
async fn signed_in_already<I: Io>(app: &Rc<App<I>>, head: &RequestHead) -> Option<Rc<Principal>> {
    let (_, loaded) = load::session(app, head.clone(), Usage::LOOK).get().await;
    match loaded.outcome {
        Outcome::Authenticated(principal) if principal.allowed => Some(principal),
        _ => None,
    }
}

/// The page for a browser that is signed in and comes back from a sign-in that is over: a second tab, a reload, the
/// back button. A stranger can write this `state` and this code. So the code is not redeemed, and the target is a link that
/// the user may follow. A target on another host begins a new sign-in.
fn offered(config: &Config, head: &RequestHead, principal: &Principal, target: &str) -> Decision {
    let link = if target.starts_with('/') { target.to_owned() } else { start::start_url(config, target) };
    let page = Pages::new(config, head).signed_in(&link);
    AccessLogEntry::on(page, config, "signed_in_already", Some(&principal.session))
}

/// The page about a failure. Its reference is in the log too, beside the reason.
fn failed<I: Io>(app: &App<I>, head: &RequestHead, failure: &Failure, target: &str) -> Reply {
    let pages = Pages::new(&app.config, head);
    let reference = log(app, failure);
    if let Some(reason) = failure.passing() {
        // An empty link leads to the same address. So the page need not contain the code and the state.
        return pages.unavailable(pages.words.sign_in_not_finished, reason, "");
    }
    if let Some(reason) = failure.passing_without_code() {
        // The user is signed in at the provider by now, so a new sign-in asks for nothing.
        return pages.not_now(
            pages.words.sign_in_not_finished,
            reason,
            reference.as_deref(),
            &start::start_url(&app.config, target),
        );
    }
    let (status, message) = failure.page(pages.words);
    pages.error(&ErrorPage {
        status,
        title: pages.words.sign_in_failed,
        message,
        reference: reference.as_deref(),
        retry_url: Some(&start::start_url(&app.config, target)),
        retry_label: pages.words.sign_in_again,
    })
}

/// Logs a failure; gives the reference in its line, if a line was written.
fn log<I: Io>(app: &App<I>, failure: &Failure) -> Option<String> {
    let limit = match (failure.passing(), failure.level()) {
        (Some(_), _) => &app.log_limits.sign_ins_put_off,
        (None, Level::Warn) => &app.log_limits.sign_ins_failed,
        (None, _) => &app.log_limits.sign_ins_refused,
    };
    let left_out = limit.next(app.io.now())?;
    let reference = app.io.random::<4>().map(u32::from_be_bytes).unwrap_or_default();
    let reference = format!("{reference:08x}");
    log!(failure.level(), "sign-in: failed, reference {reference}: {}{left_out}", failure.explain());
    Some(reference)
}
