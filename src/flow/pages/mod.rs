//! The pages of the filter: sign-in, the sessions of a user, and a message: signed in, signed out, an error, an outage.
//!
//! Each page is one HTML document of a few kilobytes that loads nothing but `pages_logo`. Its template is checked at
//! compile time, and escapes every value. Its words are in `words.rs`, in each language. Its one script copies the
//! fragment of the address, which no server sees. It
//! adds the fragment to the `rd` of a link, so that a sign-in leads back to `/#/route`; if a link has no
//! `rd`, to the link itself. An empty link stays empty: with a fragment it would only scroll in the page, and
//! send no request. At a callback the script copies nothing: the fragment may be the provider's, with a code
//! or a token that must not be in a query.
//!
//! ```text
//! base.html ────┬─ sign_in.html       200
//!  words.rs     ├─ sessions.html      200
//!  style.css    └─ message.html       200, the status of an error, or 503 with Retry-After
//!  fragment.js
//! ```

mod html;
#[cfg(test)]
mod tests;
mod words;

use askama::Template;
use http::StatusCode;

use super::Reply;
use super::Unavailable;
use super::http::reply;
use super::http::request::RequestHead;
use crate::config::{self, Config};

pub(super) use self::words::ENGLISH;
pub use self::words::Words;

/// The pages for the browser of one request.
#[derive(Clone, Copy, Debug)]
pub struct Pages<'a> {
    options: &'a config::Pages,
    /// The words in the language of the pages.
    pub words: &'static Words,
}

/// The page with the button that begins a sign-in.
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Copy, Debug)]
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

/// The page with the sessions of a user. Its URLs have a CSRF token, so it has no `Debug`.
#[derive(Clone, Copy)]
pub struct Sessions<'a> {
    /// The user, if it is another one than the user of the page.
    pub user: Option<&'a str>,
    /// The session of the page first, then the others, the newest first.
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
#[template(path = "sign_in.html")]
struct SignInTemplate<'a> {
    pages: Pages<'a>,
    page: SignIn<'a>,
    start_url: &'a str,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsTemplate<'a> {
    pages: Pages<'a>,
    page: Sessions<'a>,
}

/// A page that says something. What is empty or `None` is left out.
#[derive(Clone, Copy, Template)]
#[template(path = "message.html")]
struct Message<'a> {
    pages: Pages<'a>,
    /// The class of the picture above the heading.
    mark: &'static str,
    title: &'a str,
    text: &'a str,
    /// After the text, with a colon before and a full stop after it.
    reason: &'a str,
    /// The target of the button, and the words on it.
    link: Option<(&'a str, &'a str)>,
    /// The target of the button that signs the user out everywhere.
    everywhere_url: Option<&'a str>,
    note: &'a str,
    /// The target of the link in the note that signs the user out at the provider.
    sign_out_url: Option<&'a str>,
    /// After the note.
    reference: Option<&'a str>,
}

impl<'a> Pages<'a> {
    /// The pages as the configuration wants them, in the language for this request.
    pub fn new(config: &'a Config, head: &RequestHead) -> Self {
        let options = &config.pages;
        Self { options, words: Words::of(options.language, head) }
    }

    /// The sign-in page.
    pub fn sign_in(self, page: &SignIn<'_>) -> Reply {
        let start_url = on_this_site(page.start_url);
        self.page(StatusCode::OK, html::NO_FORMS, &SignInTemplate { pages: self, page: *page, start_url })
    }

    /// The page about something that failed.
    pub fn error(self, page: &ErrorPage<'_>) -> Reply {
        let message = Message {
            link: page.retry_url.map(|url| (on_this_site(url), page.retry_label)),
            note: page.reference.map_or("", |_| self.words.reference),
            reference: page.reference,
            ..self.message("bang", page.title, page.message)
        };
        self.page(page.status, html::NO_FORMS, &message)
    }

    /// The page for a browser that is already signed in.
    pub fn signed_in(self, target: &str) -> Reply {
        let message = Message {
            link: Some((on_this_site(target), self.words.go_on)),
            ..self.message("tick", self.words.signed_in, self.words.signed_in_before)
        };
        self.page(StatusCode::OK, html::NO_FORMS, &message)
    }

    /// The page after a sign-out without another target. `retry_url` is the link to sign out at the provider too, and
    /// `everywhere_url` the target of the button that signs the user out everywhere.
    pub fn signed_out(
        self,
        sign_in_url: &str,
        retry_url: Option<&str>,
        everywhere_url: Option<&str>,
    ) -> Reply {
        let words = self.words;
        let message = Message {
            link: Some((on_this_site(sign_in_url), words.sign_in_again)),
            everywhere_url: everywhere_url.map(on_this_site),
            note: retry_url.map_or(words.still_signed_in_there, |_| words.provider_is_silent),
            sign_out_url: retry_url.map(on_this_site),
            ..self.message("tick", words.signed_out, words.session_has_ended)
        };
        let form_action = if everywhere_url.is_some() { html::OWN_FORMS } else { html::NO_FORMS };
        self.page(StatusCode::OK, form_action, &message)
    }

    /// The page with the sessions of a user.
    pub fn sessions(self, page: &Sessions<'_>) -> Reply {
        let form_action = if page.forms_leave { html::FORMS_THAT_LEAVE } else { html::OWN_FORMS };
        self.page(StatusCode::OK, form_action, &SessionsTemplate { pages: self, page: *page })
    }

    /// 503: the store or the provider does not answer. `what` is the beginning of a sentence. An empty `retry_url` means
    /// the same address (RFC 3986 section 4.4).
    pub fn unavailable(self, what: &str, reason: Unavailable, retry_url: &str) -> Reply {
        let message = Message {
            reason: self.words.reason(reason),
            link: Some((on_this_site(retry_url), self.words.try_again)),
            note: self.words.wait,
            ..self.message("wait", self.words.not_available, what)
        };
        let mut answer = self.page(StatusCode::SERVICE_UNAVAILABLE, html::NO_FORMS, &message);
        reply::retry_later(&mut answer);
        answer
    }

    /// The page for a request that fails for this reason. If waiting may help, it is [`Self::unavailable`]. Otherwise the
    /// operator has to act.
    pub(super) fn not_now(
        self,
        what: &str,
        reason: Unavailable,
        reference: Option<&str>,
        retry_url: &str,
    ) -> Reply {
        let words = self.words;
        let (title, text, reason_text, url) = match reason {
            reason if reason.passes() => return self.unavailable(what, reason, retry_url),
            Unavailable::TooLarge(size) => {
                let [before, between, after] = words.session_size;
                let text = format!("{before}{}{between}{}{after}", size.bytes, size.most);
                (
                    words.session_too_large,
                    words.not_signed_in,
                    text,
                    Some(retry_url).filter(|url| !url.is_empty()),
                )
            }
            reason => (what, words.waiting_does_not_help, words.reason(reason).to_owned(), Some(retry_url)),
        };
        let message = Message {
            reason: &reason_text,
            link: url.map(|url| (on_this_site(url), words.try_again)),
            note: reference.map_or("", |_| words.reference),
            reference,
            ..self.message("bang", title, text)
        };
        self.page(reason.status(), html::NO_FORMS, &message)
    }

    fn message<'b>(self, mark: &'static str, title: &'b str, text: &'b str) -> Message<'b>
    where
        'a: 'b,
    {
        Message {
            pages: self,
            mark,
            title,
            text,
            reason: "",
            link: None,
            everywhere_url: None,
            note: "",
            sign_out_url: None,
            reference: None,
        }
    }

    /// Renders a page with forms like this.
    fn page(self, status: StatusCode, form_action: &str, template: &dyn askama::DynTemplate) -> Reply {
        html::page(status, self.options.logo.as_ref(), form_action, template)
    }
}

/// A link to a path of this site; any other link becomes one to the same address.
///
/// The path of a request may be the link, and a stranger can choose it. Browsers read `//host` and
/// `/\host` as another site, and drop tabs and line ends first (WHATWG URL, "basic URL parser").
fn on_this_site(url: &str) -> &str {
    let elsewhere = url.starts_with("//") || url.starts_with("/\\") || url.contains(char::is_control);
    if url.starts_with('/') && !elsewhere { url } else { "" }
}
