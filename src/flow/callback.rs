//! `/oauth2/callback`: the provider sent the browser back; a code becomes a session (RFC 6749 section 4.1.2).

use std::rc::Rc;

use http::StatusCode;
use log::{Level, info, log};

use super::access_log::{self, Note};
use super::io::Count;
use super::outcome::Unavailable;
use super::pages::ErrorPage;
use super::person::Person;
use super::provider::SignInError;
use super::{App, Decision, Io, Reply, RequestHead, csrf_cookies, pages, redirect, reply, start};
use crate::session::Session;

/// What it means for a person that something does not answer.
const NOT_DONE: &str = "Your sign-in is not finished";

/// Why a callback ended in no session.
enum Failure {
    /// The `error` that the provider sent instead of a code.
    Provider(String),
    /// There is no `state` or no `code`, or not as we made them.
    Malformed,
    /// No cookie of this login: used already, too old, another browser, or somebody else's link.
    NoLogin,
    /// The code became no session.
    SignIn(SignInError),
    /// `email_domains` or `allowed_groups` does not let this person in.
    Forbidden,
    /// The session could not be kept, and the code is used up.
    NotSaved(Unavailable),
}

/// Finishes a login.
pub(super) async fn callback<I: Io>(app: Rc<App<I>>, head: RequestHead) -> Decision {
    let state = head.query("state").and_then(|state| start::read_state(&app, &state));
    let (state_hash, target) = state.unwrap_or_default();
    let target = if redirect::is_allowed(&target, &app.config.login.whitelist_domains) {
        target
    } else {
        "/".to_owned()
    };
    match sign_in(&app, &head, &state_hash).await {
        Ok((cookie, person)) => {
            app.io.count(Count::SignIn);
            let mut answer = reply::redirect(&target);
            reply::add_headers(&mut answer, app.cookie.save(&cookie, &head).iter());
            reply::add_headers(&mut answer, csrf_cookies::end(&app, &head, &state_hash).iter());
            noted(&app, answer, "signed_in", Some(&person.session))
        }
        Err(failure) => {
            app.io.count(Count::SignInFailed);
            let mut answer = failed(&app, &failure, &target);
            // Where the provider did not answer, the same callback can be asked again.
            if !matches!(failure, Failure::SignIn(SignInError::Unavailable(_))) {
                reply::add_headers(&mut answer, csrf_cookies::end(&app, &head, &state_hash).iter());
            }
            noted(&app, answer, failure.word(), None)
        }
    }
}

/// The answer, and what the access log says about it.
fn noted<I: Io>(app: &App<I>, answer: Reply, reason: &'static str, session: Option<&Session>) -> Decision {
    if app.config.access_log.is_empty() {
        return answer.into();
    }
    Note::of_callback(&app.config, reason, session).beside(&app.config, answer.into())
}

/// The session cookie of the person who comes back.
async fn sign_in<I: Io>(
    app: &App<I>,
    head: &RequestHead,
    state_hash: &str,
) -> Result<(Vec<u8>, Rc<Person>), Failure> {
    if let Some(error) = head.query("error").filter(|error| !error.is_empty()) {
        return Err(Failure::Provider(error));
    }
    let code = head.query("code").filter(|code| !code.is_empty());
    let (Some(code), false) = (code, state_hash.is_empty()) else {
        return Err(Failure::Malformed);
    };
    let login = csrf_cookies::find(app, head, state_hash).ok_or(Failure::NoLogin)?;
    // A code works once: it is not used up for a session that cannot be kept.
    app.store.check().await.map_err(|reason| Failure::SignIn(reason.into()))?;
    let code_verifier = Some(login.code_verifier.as_str()).filter(|verifier| !verifier.is_empty());
    let redirect_uri = start::redirect_uri(app, head);
    let provider = app.provider.as_ref().ok_or(Failure::Malformed)?;
    let mut session = provider
        .redeem(&code, &redirect_uri, code_verifier, &login.nonce_hash())
        .await
        .map_err(Failure::SignIn)?;
    session.nonce = login.nonce;
    let person = Person::new(&app.config, session);
    if !person.allowed {
        return Err(Failure::Forbidden);
    }
    let cookie = app.store.create(&person, head, &app.io).await.map_err(Failure::NotSaved)?;
    info!("sign-in: done");
    Ok((cookie, person))
}

/// The page about a failure. Its reference stands in the log beside the reason.
fn failed<I: Io>(app: &App<I>, failure: &Failure, target: &str) -> Reply {
    let reference = app.io.random::<4>().map(u32::from_be_bytes).unwrap_or_default();
    let reference = format!("{reference:08x}");
    log!(failure.level(), "sign-in: failed, reference {reference}: {}", failure.explain());
    if let Failure::SignIn(SignInError::Unavailable(reason)) = failure {
        // An empty link is this very address, so the code and the state need not stand in the page.
        return pages::unavailable(NOT_DONE, reason.explain(), "");
    }
    if let Failure::NotSaved(reason) = failure {
        // The provider knows the person by now, so a new sign-in asks for nothing.
        return pages::unavailable(NOT_DONE, reason.explain(), &start::start_url(app, target));
    }
    let (status, message) = failure.page();
    pages::error(&ErrorPage {
        status,
        title: "Sign-in failed",
        message,
        reference: Some(&reference),
        retry_url: Some(&start::start_url(app, target)),
        retry_label: "Try again",
    })
}

impl Failure {
    /// For the person in front of the browser.
    fn page(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Provider(_) => {
                (StatusCode::FORBIDDEN, "The sign-in service did not let this sign-in through.")
            }
            Self::Malformed => {
                (StatusCode::FORBIDDEN, "This address is not the end of a sign-in that began here.")
            }
            Self::NoLogin | Self::SignIn(SignInError::InvalidGrant) => (
                StatusCode::FORBIDDEN,
                "This sign-in was finished already, took too long, or began in another browser.",
            ),
            Self::SignIn(SignInError::NoEmail | SignInError::UnverifiedEmail) => (
                StatusCode::FORBIDDEN,
                "The sign-in service did not give a verified email address for this account.",
            ),
            Self::Forbidden | Self::SignIn(SignInError::Tenant) => (
                StatusCode::FORBIDDEN,
                "You are known to the sign-in service, but this account has no access here.",
            ),
            Self::SignIn(_) | Self::NotSaved(_) => (
                StatusCode::BAD_GATEWAY,
                "The sign-in service gave an answer that cannot be trusted. The operator has to look into this.",
            ),
        }
    }

    /// What any browser can bring about is no fault of ours or of the provider.
    fn level(&self) -> Level {
        match self {
            Self::Provider(_) | Self::Malformed | Self::NoLogin | Self::Forbidden => Level::Info,
            Self::SignIn(SignInError::InvalidGrant) => Level::Info,
            Self::SignIn(_) | Self::NotSaved(_) => Level::Warn,
        }
    }

    /// For the access log.
    fn word(&self) -> &'static str {
        match self {
            Self::Provider(_) => "provider_error",
            Self::Malformed => "bad_callback",
            Self::NoLogin => "no_login",
            Self::SignIn(SignInError::Unavailable(reason)) | Self::NotSaved(reason) => {
                access_log::unavailable(*reason)
            }
            Self::SignIn(_) => "bad_answer",
            Self::Forbidden => "forbidden",
        }
    }

    /// For the log: never what a stranger sent, but for an error code of the standards.
    fn explain(&self) -> String {
        match self {
            Self::Provider(code) => format!("the provider answered {}", known_error(code)),
            Self::Malformed => "the callback has no usable state and code".to_owned(),
            Self::NoLogin => "no CSRF cookie fits the state".to_owned(),
            Self::SignIn(error) => error.to_string(),
            Self::NotSaved(reason) => reason.explain().to_owned(),
            Self::Forbidden => "email_domains or allowed_groups does not let this account in".to_owned(),
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
