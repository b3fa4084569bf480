//! Loading the session of a request: by its bearer token, from the cookie, or by its ticket from Redis.

use std::rc::Rc;

use super::bearer::Checked;
use super::outcome::{Loaded, Outcome, Reason, Unavailable};
use super::store::redis::{TicketCookie, TicketStore};
use super::store::session_cookie::Found;
use super::store::{cookie, redis, refresh};
use super::{App, Io, Ready, RequestHead, Store};

/// Whether the answer to a request may carry a new session cookie.
pub(super) type MaySetCookie<I> = fn(&App<I>, &RequestHead) -> bool;

/// Loads the session: at once where the token or the cookie was seen before. A token comes first.
pub(super) fn load<I: Io>(
    app: &Rc<App<I>>,
    head: &RequestHead,
    may_set_cookie: MaySetCookie<I>,
) -> Ready<Loaded> {
    let Some(bearer) = &app.bearer else { return by_cookie(app, head, may_set_cookie) };
    match bearer.check(head) {
        None => by_cookie(app, head, may_set_cookie),
        Some(Ready::Now(checked)) => by_token(app, head, may_set_cookie, checked),
        Some(Ready::Later(checked)) => {
            let (app, head) = (Rc::clone(app), head.clone());
            Ready::later(async move { by_token(&app, &head, may_set_cookie, checked.await).get().await })
        }
    }
}

/// A token that is none: then the cookie's session, or nothing.
fn by_token<I: Io>(
    app: &Rc<App<I>>,
    head: &RequestHead,
    may_set_cookie: MaySetCookie<I>,
    checked: Checked,
) -> Ready<Loaded> {
    let outcome = match checked {
        Ok(Some(person)) => Outcome::Authenticated(person),
        Ok(None) if app.config.bearer.as_ref().is_some_and(|bearer| bearer.login_fallback) => {
            return by_cookie(app, head, may_set_cookie);
        }
        Ok(None) => Outcome::Anonymous(Reason::BadToken),
        Err(reason) => Outcome::Unavailable(reason),
    };
    Ready::Now(outcome.into())
}

fn by_cookie<I: Io>(app: &Rc<App<I>>, head: &RequestHead, may_set_cookie: MaySetCookie<I>) -> Ready<Loaded> {
    let now = app.io.now();
    Ready::Now(match &app.store {
        Store::Cookies(store) => match store.load(head, now) {
            Err(reason) => Outcome::Anonymous(reason).into(),
            Ok(Found { it: signed_in, .. }) if refresh::is_due(app, &signed_in.person.session, now) => {
                if may_set_cookie(app, head) {
                    let (app, store) = (Rc::clone(app), Rc::clone(store));
                    return Ready::later(
                        async move { cookie::refresh::refresh(&app, &store, signed_in).await },
                    );
                }
                // The refresh token would be used up, and what came of it be lost.
                refresh::as_it_is(app, Rc::clone(&signed_in.person), now).into()
            }
            Ok(Found { it: signed_in, is_alone }) => {
                let person = Rc::clone(&signed_in.person);
                let loaded = refresh::without(app, person, now, Unavailable::Provider).into();
                in_one_scope(app, head, is_alone, &signed_in.raw, loaded)
            }
        },
        Store::Tickets(store) => match store.ticket(head) {
            Err(reason) => Outcome::Anonymous(reason).into(),
            Ok(ticket) => match store.recall(&ticket.it.ticket) {
                Some(person) if !refresh::is_due(app, &person.session, now) => {
                    let outcome = refresh::without(app, person, now, Unavailable::Provider);
                    with_cookie(app, store, head, &ticket, outcome)
                }
                _ => {
                    let (app, store, head) = (Rc::clone(app), Rc::clone(store), head.clone());
                    return Ready::later(async move { by_ticket(&app, &store, &head, &ticket).await });
                }
            },
        },
    })
}

async fn by_ticket<I: Io>(
    app: &Rc<App<I>>,
    store: &Rc<TicketStore<I>>,
    head: &RequestHead,
    found: &Found<Rc<TicketCookie>>,
) -> Loaded {
    let (now, ticket) = (app.io.now(), &found.it);
    let outcome = match store.load(&ticket.ticket).await {
        Err(reason) => Outcome::Unavailable(reason),
        Ok(None) => Outcome::Anonymous(Reason::Gone),
        Ok(Some(person)) if refresh::is_due(app, &person.session, now) => {
            redis::refresh::refresh(app, store, ticket, person).await
        }
        Ok(Some(person)) => refresh::without(app, person, now, Unavailable::Provider),
    };
    with_cookie(app, store, head, found, outcome)
}

/// The cookie lasts as long as the session, which may have been renewed here, by another request, or by another
/// proxy.
fn with_cookie<I: Io>(
    app: &App<I>,
    store: &TicketStore<I>,
    head: &RequestHead,
    found: &Found<Rc<TicketCookie>>,
    outcome: Outcome,
) -> Loaded {
    let renewed = match &outcome {
        Outcome::Authenticated(person) => store.cookie_of(&found.it, &person.session),
        _ => None,
    };
    in_one_scope(app, head, found.is_alone, &found.it.raw, Loaded { outcome, renewed })
}

/// If the browser has session cookies in several scopes, the one that counts goes out once more, to the scope that is in
/// use: in which scope it was, the browser does not say. With it the others are cleared ([`SessionCookie::save`]).
///
/// [`SessionCookie::save`]: super::store::session_cookie::SessionCookie::save
fn in_one_scope<I: Io>(
    app: &App<I>,
    head: &RequestHead,
    is_alone: bool,
    cookie: &[u8],
    loaded: Loaded,
) -> Loaded {
    let is_authenticated = matches!(loaded.outcome, Outcome::Authenticated(_));
    if is_alone || !is_authenticated || loaded.renewed.is_some() || !app.cookie.is_in_several_scopes(head) {
        return loaded;
    }
    Loaded { renewed: Some(cookie.to_vec()), ..loaded }
}
