//! The pages of the filter: sign-in, signed in, signed out, the sessions of a user, an error, and an outage.
//!
//! Each page is one HTML document of a few kilobytes that loads nothing. Its template is checked at compile
//! time, and escapes every value. Its one script copies the fragment of the address, which no server sees. It
//! adds the fragment to the `rd` of a link, so that a sign-in leads back to `/#/route`; if a link has no
//! `rd`, to the link itself. An empty link stays empty: with a fragment it would only scroll in the page, and
//! send no request. At a callback the script copies nothing: the fragment may be the provider's, with a code
//! or a token that must not be in a query.
//!
//! ```text
//! base.html ────┬─ sign_in.html       200
//!  style.css    ├─ signed_in.html     200
//!  fragment.js  ├─ signed_out.html    200
//!               ├─ sessions.html      200
//!               ├─ error.html         the status that the caller names
//!               └─ unavailable.html   503 with Retry-After
//! ```

mod html;
#[cfg(test)]
mod tests;

use askama::Template;
use http::StatusCode;

use super::Reply;
use super::http::reply;

/// The page with the button that begins a sign-in.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignIn<'a> {
    /// The name of the provider on the button.
    pub provider_name: &'a str,
    /// The target of the button.
    pub start_url: &'a str,
    /// The operator's words above the button; plain text.
    pub banner: Option<&'a str>,
    /// The operator's words at the end of the page; plain text.
    pub footer: Option<&'a str>,
}

/// A page about something that failed.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "error.html")]
pub struct ErrorPage<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// The heading.
    pub title: &'a str,
    /// What happened, for the user.
    pub message: &'a str,
    /// The reference to search for in the log.
    pub reference: Option<&'a str>,
    /// The target of the button; without it there is no button.
    pub retry_url: Option<&'a str>,
    /// The words on the button.
    pub retry_label: &'a str,
}

#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedIn<'a> {
    target: &'a str,
}

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOut<'a> {
    sign_in_url: &'a str,
    retry_url: Option<&'a str>,
    everywhere_url: Option<&'a str>,
}

/// The page with the sessions of a user. Its URLs have a CSRF token, so it has no `Debug`.
#[derive(Clone, Copy, Template)]
#[template(path = "sessions.html")]
pub struct Sessions<'a> {
    /// The user, if it is another one than the user of the page.
    pub user: Option<&'a str>,
    /// The sessions, the newest first.
    pub sessions: &'a [ListedSession],
    /// The target of the button that ends all of them.
    pub everywhere_url: &'a str,
    /// The target of the form that shows the sessions of another user; `None` for no form.
    pub search_url: Option<&'a str>,
    /// Whether the browser goes on to the provider from its buttons.
    pub forms_leave: bool,
}

/// A session on that page.
#[derive(Clone)]
pub struct ListedSession {
    /// When it began (RFC 3339).
    pub began: String,
    /// When it was last used, as far as that is known.
    pub last_used: Option<String>,
    /// Whether it is the session of the browser that asks.
    pub is_current: bool,
    /// The target of the button that ends it.
    pub end_url: String,
}

#[derive(Template)]
#[template(path = "unavailable.html")]
struct Unavailable<'a> {
    what: &'a str,
    reason: &'a str,
    retry_url: &'a str,
}

/// The sign-in page.
pub fn sign_in(page: &SignIn<'_>) -> Reply {
    let page = SignIn { start_url: on_this_site(page.start_url), ..*page };
    html::page(StatusCode::OK, &page)
}

/// The page about something that failed.
pub fn error(page: &ErrorPage<'_>) -> Reply {
    let page = ErrorPage { retry_url: page.retry_url.map(on_this_site), ..*page };
    html::page(page.status, &page)
}

/// The page for a browser that is already signed in.
pub fn signed_in(target: &str) -> Reply {
    html::page(StatusCode::OK, &SignedIn { target: on_this_site(target) })
}

/// The page after a sign-out without another target. `retry_url` is the link to sign out at the provider too, and
/// `everywhere_url` the target of the button that signs the user out everywhere.
pub fn signed_out(sign_in_url: &str, retry_url: Option<&str>, everywhere_url: Option<&str>) -> Reply {
    let (sign_in_url, retry_url) = (on_this_site(sign_in_url), retry_url.map(on_this_site));
    let page = SignedOut { sign_in_url, retry_url, everywhere_url: everywhere_url.map(on_this_site) };
    match everywhere_url {
        Some(_) => html::page_with_own_forms(StatusCode::OK, &page),
        None => html::page(StatusCode::OK, &page),
    }
}

/// The page with the sessions of a user.
pub fn sessions(page: &Sessions<'_>) -> Reply {
    if page.forms_leave {
        html::page_with_forms_that_leave(StatusCode::OK, page)
    } else {
        html::page_with_own_forms(StatusCode::OK, page)
    }
}

/// 503: the store or the provider does not answer. `what` is the beginning of a sentence, and the reason its
/// end. An empty `retry_url` means the same address (RFC 3986 section 4.4).
pub fn unavailable(what: &str, reason: &str, retry_url: &str) -> Reply {
    let page = Unavailable { what, reason, retry_url: on_this_site(retry_url) };
    let mut answer = html::page(StatusCode::SERVICE_UNAVAILABLE, &page);
    reply::retry_later(&mut answer);
    answer
}

/// The page for a request that fails for this reason. If waiting may help, it is [`unavailable`]. Otherwise
/// the operator has to act.
pub(super) fn not_now(
    what: &str,
    reason: super::Unavailable,
    reference: Option<&str>,
    retry_url: &str,
) -> Reply {
    match reason {
        reason if reason.passes() => unavailable(what, reason.explain(), retry_url),
        super::Unavailable::TooLarge(size) => {
            too_large(&size.to_string(), reference, Some(retry_url).filter(|url| !url.is_empty()))
        }
        reason => error(&ErrorPage {
            status: reason.status(),
            title: what,
            message: &format!("Waiting does not help: {}.", reason.explain()),
            reference,
            retry_url: Some(retry_url),
            retry_label: "Try again",
        }),
    }
}

/// 503: a session is too large for its store, so waiting does not help. `size` has the size and the remedy.
/// It begins in lower case and ends without a full stop.
pub fn too_large(size: &str, reference: Option<&str>, retry_url: Option<&str>) -> Reply {
    let message = format!("You are not signed in, because {size}.");
    error(&ErrorPage {
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Your session is too large",
        message: &message,
        reference,
        retry_url,
        retry_label: "Try again",
    })
}

/// A link to a path of this site; any other link becomes one to the same address.
///
/// The path of a request may be the link, and a stranger can choose it. Browsers read `//host` and
/// `/\host` as another site, and drop tabs and line ends first (WHATWG URL, "basic URL parser").
fn on_this_site(url: &str) -> &str {
    let elsewhere = url.starts_with("//") || url.starts_with("/\\") || url.contains(char::is_control);
    if url.starts_with('/') && !elsewhere { url } else { "" }
}
