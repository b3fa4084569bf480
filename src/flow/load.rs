//! Loading the session of a request: by its bearer token, from the cookie, or by its ticket from Redis.

use std::rc::Rc;

use super::bearer::{Bearer, Brought};
use super::outcome::{Loaded, Outcome, Reason, Unavailable};
use super::store::cookie::CookieStore;
use super::store::redis::{TicketCookie, TicketStore};
use super::store::session_cookie::Found;
use super::store::{cookie, redis, refresh};
use super::verified_cache::VerifiedPerson;
use super::{App, Io, RequestHead, Store};

/// A loaded session, or one that has to be waited for.
pub(super) enum Loading<I> {
    Done(Loaded),
    Wait(Pending<I>),
}

/// Whether the answer to a request may carry a new session cookie.
pub(super) type MaySetCookie<I> = fn(&App<I>, &RequestHead) -> bool;

/// What is waited for.
pub(super) enum Pending<I> {
    /// The check of a bearer token.
    Token(String),
    /// The refresh of a session that was in the cookie.
    Refresh(Rc<CookieStore>, Rc<VerifiedPerson>),
    /// The session in Redis.
    Ticket(Rc<TicketStore<I>>, Found<Rc<TicketCookie>>),
}

/// Loads the session: at once where the token or the cookie was seen before. A token comes first.
pub(super) fn load<I: Io>(app: &App<I>, head: &RequestHead, may_set_cookie: MaySetCookie<I>) -> Loading<I> {
    let Some(bearer) = &app.bearer else { return by_cookie(app, head, may_set_cookie) };
    match bearer.brought(head, app.io.now()) {
        Brought::Nothing => by_cookie(app, head, may_set_cookie),
        Brought::NoToken => without_token(app, bearer, head, may_set_cookie),
        Brought::Person(person) => Loading::Done(Outcome::Authenticated(person).into()),
        Brought::Token(token) => Loading::Wait(Pending::Token(token)),
    }
}

/// A token that is none: then the cookie's session, or nothing.
fn without_token<I: Io>(
    app: &App<I>,
    bearer: &Bearer<I>,
    head: &RequestHead,
    may_set_cookie: MaySetCookie<I>,
) -> Loading<I> {
    if bearer.has_login_fallback() {
        return by_cookie(app, head, may_set_cookie);
    }
    Loading::Done(Outcome::Anonymous(Reason::BadToken).into())
}

fn by_cookie<I: Io>(app: &App<I>, head: &RequestHead, may_set_cookie: MaySetCookie<I>) -> Loading<I> {
    let now = app.io.now();
    let refused = |reason| Loading::Done(Outcome::Anonymous(reason).into());
    match &app.store {
        Store::Cookies(store) => match store.load(head, now) {
            Err(reason) => refused(reason),
            Ok(Found { it: signed_in, .. }) if refresh::is_due(app, &signed_in.person.session, now) => {
                if may_set_cookie(app, head) {
                    return Loading::Wait(Pending::Refresh(Rc::clone(store), signed_in));
                }
                // The refresh token would be used up, and what came of it be lost.
                Loading::Done(refresh::as_it_is(app, Rc::clone(&signed_in.person), now).into())
            }
            Ok(Found { it: signed_in, is_alone }) => {
                let person = Rc::clone(&signed_in.person);
                let loaded = refresh::without(app, person, now, Unavailable::Provider).into();
                Loading::Done(in_one_scope(app, head, is_alone, &signed_in.raw, loaded))
            }
        },
        Store::Tickets(store) => match store.ticket(head) {
            Err(reason) => refused(reason),
            Ok(ticket) => match store.recall(&ticket.it.ticket) {
                Some(person) if !refresh::is_due(app, &person.session, now) => {
                    let outcome = refresh::without(app, person, now, Unavailable::Provider);
                    Loading::Done(with_cookie(app, store, head, &ticket, outcome))
                }
                _ => Loading::Wait(Pending::Ticket(Rc::clone(store), ticket)),
            },
        },
    }
}

impl<I: Io> Pending<I> {
    /// Waits for it.
    pub(super) async fn finish(
        self,
        app: &Rc<App<I>>,
        head: &RequestHead,
        may_set_cookie: MaySetCookie<I>,
    ) -> Loaded {
        match self {
            Self::Token(token) => by_token(app, &token, head, may_set_cookie).await,
            Self::Refresh(store, signed_in) => cookie::refresh::refresh(app, &store, signed_in).await,
            Self::Ticket(store, ticket) => by_ticket(app, &store, head, &ticket).await,
        }
    }
}

async fn by_token<I: Io>(
    app: &Rc<App<I>>,
    token: &str,
    head: &RequestHead,
    may_set_cookie: MaySetCookie<I>,
) -> Loaded {
    let Some(bearer) = &app.bearer else { return Outcome::Anonymous(Reason::BadToken).into() };
    match bearer.verify(app, token).await {
        Ok(Some(person)) => return Outcome::Authenticated(person).into(),
        Err(reason) => return Outcome::Unavailable(reason).into(),
        Ok(None) => {}
    }
    match without_token(app, bearer, head, may_set_cookie) {
        Loading::Done(loaded) => loaded,
        // What a cookie waits for is never a token again.
        Loading::Wait(pending) => Box::pin(pending.finish(app, head, may_set_cookie)).await,
    }
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
