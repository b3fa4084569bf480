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

pub(super) use self::codes::Codes;
use self::codes::SignedIn;
use self::failure::Failure;
use super::access_log::Note;
use super::io::Count;
use super::pages::ErrorPage;
use super::{App, Decision, Io, Reply, RequestHead, csrf_cookies, pages, redirect, reply, start};

/// What it means for a person that something does not answer.
const NOT_DONE: &str = "Your sign-in is not finished";

/// Finishes a login.
pub(super) async fn callback<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Decision {
    let head = Rc::new(head);
    let state = head.query("state").and_then(|state| start::read_state(&app, &state));
    let (state_hash, target) = state.unwrap_or_default();
    let target = redirect::checked(&app.config, target.as_bytes()).unwrap_or_else(|| "/".to_owned());
    match sign_in(&app, &head, &state_hash).await {
        Ok(signed_in) => {
            let (cookie, person) = &*signed_in;
            app.io.count(Count::SignIn);
            let mut answer = reply::redirect(&target);
            reply::add_headers(&mut answer, app.cookie.save(cookie, &head).iter());
            reply::add_headers(&mut answer, csrf_cookies::end(&app, &head, &state_hash).iter());
            Note::on(answer, &app.config, "signed_in", Some(&person.session))
        }
        Err(failure) => {
            app.io.count(Count::SignInFailed);
            let mut answer = failed(&app, &failure, &target);
            if failure.passing().is_none() {
                reply::add_headers(&mut answer, csrf_cookies::end(&app, &head, &state_hash).iter());
            }
            Note::on(answer, &app.config, failure.word(), None)
        }
    }
}

/// The session of the person who comes back.
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
    let login = csrf_cookies::find(app, head, state_hash).ok_or(Failure::NoLogin)?;
    codes::redeem(app, head, login, code).await
}

/// The page about a failure. A reference on it stands in the log beside the reason.
fn failed<I: Io>(app: &App<I>, failure: &Failure, target: &str) -> Reply {
    let reference = log(app, failure);
    if let Some(reason) = failure.passing() {
        // An empty link is this very address, so the code and the state need not stand in the page.
        return pages::unavailable(NOT_DONE, reason.explain(), "");
    }
    if let Some(reason) = failure.passing_without_code() {
        // The provider knows the person by now, so a new sign-in asks for nothing.
        return pages::not_now(NOT_DONE, reason, reference.as_deref(), &start::start_url(app, target));
    }
    let (status, message) = failure.page();
    pages::error(&ErrorPage {
        status,
        title: "Sign-in failed",
        message,
        reference: reference.as_deref(),
        retry_url: Some(&start::start_url(app, target)),
        retry_label: "Sign in again",
    })
}

/// Logs a failure; gives the reference that its line has, if there is one.
fn log<I: Io>(app: &App<I>, failure: &Failure) -> Option<String> {
    let limit = match (failure.passing(), failure.level()) {
        (Some(_), _) => &app.logs.sign_ins_put_off,
        (None, Level::Warn) => &app.logs.sign_ins_failed,
        (None, _) => &app.logs.sign_ins_refused,
    };
    let left_out = limit.next(app.io.now())?;
    let reference = app.io.random::<4>().map(u32::from_be_bytes).unwrap_or_default();
    let reference = format!("{reference:08x}");
    log!(failure.level(), "sign-in: failed, reference {reference}: {}{left_out}", failure.explain());
    Some(reference)
}
