//! The pages that people see: sign-in, signed out, an error, and "not right now".
//!
//! Each page is one HTML document of a few kilobytes that loads nothing. Its template is checked at compile time, and
//! escapes every value. Its one script hands the fragment of the address on, which no server sees: to the `rd` of a link
//! that has one, so that a sign-in leads back to `/#/route`; else to the link itself. An empty link stays as it is: with a
//! fragment it would lead to a place in the page that is there, and ask nobody. At a callback nothing is handed on: the
//! fragment may be the provider's, with a code or a token that is not for a query.
//!
//! ```text
//! base.html ────┬─ sign_in.html       200
//!  style.css    ├─ signed_in.html     200
//!  fragment.js  ├─ signed_out.html    200
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

/// The page with the button that begins a login.
#[derive(Clone, Copy, Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignIn<'a> {
    /// What the button calls the provider.
    pub provider_name: &'a str,
    /// Where the button leads.
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
    /// What happened, for the person in front of the browser.
    pub message: &'a str,
    /// What to look for in the log.
    pub reference: Option<&'a str>,
    /// Where the button leads; without it there is no button.
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

/// The page for a browser that had nothing to finish.
pub fn signed_in(target: &str) -> Reply {
    html::page(StatusCode::OK, &SignedIn { target: on_this_site(target) })
}

/// The page after a sign-out that leads nowhere else.
pub fn signed_out(sign_in_url: &str) -> Reply {
    html::page(StatusCode::OK, &SignedOut { sign_in_url: on_this_site(sign_in_url) })
}

/// 503: something that is needed does not answer. `what` that means begins a sentence, the reason ends it.
///
/// An empty `retry_url` is this very address (RFC 3986 section 4.4).
pub fn unavailable(what: &str, reason: &str, retry_url: &str) -> Reply {
    let page = Unavailable { what, reason, retry_url: on_this_site(retry_url) };
    let mut answer = html::page(StatusCode::SERVICE_UNAVAILABLE, &page);
    reply::retry_later(&mut answer);
    answer
}

/// The page in the place of what cannot be had for this reason. If that may pass by itself, it is [`unavailable`]; otherwise
/// it is for the operator.
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

/// 503: a session does not fit into its store, which does not pass by itself. The size and what helps are sentences that
/// begin in lower case and end without a full stop.
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

/// A link to a path of this site; in the place of anything else, to this very address.
///
/// The path of a request may be the link, and a stranger can choose it. Browsers read `//host` and
/// `/\host` as another site, and drop tabs and line ends first (WHATWG URL, "basic URL parser").
fn on_this_site(url: &str) -> &str {
    let elsewhere = url.starts_with("//") || url.starts_with("/\\") || url.contains(char::is_control);
    if url.starts_with('/') && !elsewhere { url } else { "" }
}
