//! Loads the session of a request: by its bearer token, or from the store.

use std::rc::Rc;

use super::App;
use super::bearer::Checked;
use super::http::request::RequestHead;
use super::io::Io;
use super::outcome::{AnonymousReason, Loaded, Outcome};
use super::util::ready::Ready;
use crate::config::Config;

/// A question about a request. It is asked only if the answer matters.
type Question = fn(&Config, &RequestHead) -> bool;

/// What a request needs its session for.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    /// Whether the answer may carry a new session cookie.
    pub(super) may_set_cookie: Question,
    /// Whether the request is a use of the session, so that `session_idle_timeout` begins anew.
    pub(super) is_use: Question,
    /// Whether the answer says when the session ends.
    pub(super) tells_ends: bool,
    /// Whether the session is renewed although it is not due.
    pub(super) renews: bool,
}

impl Usage {
    /// A look at the session that changes nothing.
    pub(super) const LOOK: Self =
        Self { may_set_cookie: |_, _| false, is_use: |_, _| false, tells_ends: false, renews: false };
}

/// Loads the session. A bearer token takes precedence. No future is allocated for a token or cookie that was seen
/// before.
///
/// The head comes back with the session, so that a request which waits holds it once.
pub(super) fn session<I: Io>(
    app: &Rc<App<I>>,
    head: RequestHead,
    usage: Usage,
) -> Ready<(RequestHead, Loaded)> {
    let loaded = match app.bearer.as_ref().and_then(|bearer| bearer.check(&head)) {
        None => by_cookie(app, &head, usage),
        Some(Ready::Now(checked)) => by_token(app, &head, usage, checked),
        Some(Ready::Later(checked)) => {
            let app = Rc::clone(app);
            return Ready::later(async move {
                let loaded = by_token(&app, &head, usage, checked.await).get().await;
                (head, loaded)
            });
        }
    };
    loaded.map(|loaded| (head, loaded))
}

/// By the result of the token's check. With `bearer_token_login_fallback`, an invalid token leads to the cookie's
/// session.
fn by_token<I: Io>(app: &Rc<App<I>>, head: &RequestHead, usage: Usage, checked: Checked) -> Ready<Loaded> {
    let outcome = match checked {
        Ok(Some(principal)) => Outcome::Authenticated(principal),
        Ok(None) if app.config.bearer.as_ref().is_some_and(|bearer| bearer.login_fallback) => {
            return by_cookie(app, head, usage);
        }
        Ok(None) => Outcome::Anonymous(AnonymousReason::BadToken),
        Err(reason) => Outcome::Unavailable(reason),
    };
    Ready::Now(outcome.into())
}

fn by_cookie<I: Io>(app: &Rc<App<I>>, head: &RequestHead, usage: Usage) -> Ready<Loaded> {
    app.store.load(head, usage)
}
