//! Loads the session of a request: by its bearer token, or from the store.

use std::rc::Rc;

use super::App;
use super::bearer::Checked;
use super::http::request::RequestHead;
use super::io::Io;
use super::outcome::{AnonymousReason, Loaded, Outcome};
use super::util::ready::Ready;
use crate::config::Config;

/// Whether the answer to a request may carry a new session cookie.
pub(super) type MaySetCookie = fn(&Config, &RequestHead) -> bool;

/// Loads the session. A bearer token takes precedence. No future is allocated for a token or cookie that was seen
/// before.
///
/// The head comes back with the session, so that a request which waits holds it once.
pub(super) fn session<I: Io>(
    app: &Rc<App<I>>,
    head: RequestHead,
    may_set_cookie: MaySetCookie,
) -> Ready<(RequestHead, Loaded)> {
    let loaded = match app.bearer.as_ref().and_then(|bearer| bearer.check(&head)) {
        None => by_cookie(app, &head, may_set_cookie),
        Some(Ready::Now(checked)) => by_token(app, &head, may_set_cookie, checked),
        Some(Ready::Later(checked)) => {
            let app = Rc::clone(app);
            return Ready::later(async move {
                let loaded = by_token(&app, &head, may_set_cookie, checked.await).get().await;
                (head, loaded)
            });
        }
    };
    loaded.map(|loaded| (head, loaded))
}

/// By the result of the token's check. With `bearer_token_login_fallback`, an invalid token leads to the cookie's
/// session.
fn by_token<I: Io>(
    app: &Rc<App<I>>,
    head: &RequestHead,
    may_set_cookie: MaySetCookie,
    checked: Checked,
) -> Ready<Loaded> {
    let outcome = match checked {
        Ok(Some(principal)) => Outcome::Authenticated(principal),
        Ok(None) if app.config.bearer.as_ref().is_some_and(|bearer| bearer.login_fallback) => {
            return by_cookie(app, head, may_set_cookie);
        }
        Ok(None) => Outcome::Anonymous(AnonymousReason::BadToken),
        Err(reason) => Outcome::Unavailable(reason),
    };
    Ready::Now(outcome.into())
}

fn by_cookie<I: Io>(app: &Rc<App<I>>, head: &RequestHead, may_set_cookie: MaySetCookie) -> Ready<Loaded> {
    app.store.load(head, || may_set_cookie(&app.config, head))
}
