//! Refresh in the Redis store: one grant for a session, over any number of workers and proxies.
//!
//! ```text
//! a session is due ─┬─ this worker is at it ── wait for it ─────────────────────────┐
//!                   └─ lock ─┬─ taken by another ── look again and again ───────────┤
//!                            └─ ours ── look once more ── grant ── SETEX ── unlock ─┴─► the new session
//! ```

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, select};
use log::warn;

use super::lock::Lock;
use super::{TicketCookie, TicketStore};
use crate::flow::io::Count;
use crate::flow::outcome::{Outcome, Reason, TooLarge, Unavailable};
use crate::flow::person::Person;
use crate::flow::provider::sign_in_error::SignInError;
use crate::flow::store::refresh::{
    BACKOFF, LONG_PATIENCE, LOOK, NotRenewed, Refreshed, is_due, is_expired, old_one_stays, patience, renew,
    tell_ended, without,
};
use crate::flow::{App, Io};
use crate::session::Session;

/// How long a new session is kept for Redis to come back: to lose it is to lose the refresh token,
/// because the old one is used up.
const SAVE_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Where a refresh token is refused, somebody else may have used it a moment ago and be about to save
/// what came of it. So long that is waited for, by looks of this pause; longer where it may have been saved at a master
/// that this worker does not know yet, but not as long as a request waits.
const REFUSED_LOOKS: u32 = 10;
const REFUSED_LOOKS_REPLICATED: u32 = 18;
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// The outcome of a session that is due: refreshed here or by another, or as it is.
pub(in crate::flow) async fn refresh<I: Io>(
    app: &Rc<App<I>>,
    store: &Rc<TicketStore<I>>,
    ticket: &Rc<TicketCookie>,
    old: Rc<Person>,
) -> Outcome {
    let now = app.io.now();
    let is_early = !store.health().settles_in().is_zero() && !is_expired(app, &old.session, now);
    let failed = store.failed_within(ticket, BACKOFF);
    if is_early || failed.is_some() {
        return without(app, old, now, failed.unwrap_or(Unavailable::Provider.into()));
    }
    let refreshed = store.refreshes.get(ticket.ticket.redis_key(), || {
        let (sender, receiver) = oneshot::channel();
        let (task_app, store, ticket) = (Rc::clone(app), Rc::clone(store), Rc::clone(ticket));
        app.io.spawn(async move {
            let _ = sender.send(run(&task_app, &store, &ticket).await);
        });
        Box::pin(async { receiver.await.unwrap_or(no_answer(Unavailable::Provider)) })
    });
    let give_up = app.io.sleep(patience(app, &old.session, now));
    match select(pin!(refreshed), pin!(give_up)).await {
        Either::Left((Refreshed::Now(person), _)) => {
            without(app, person, app.io.now(), Unavailable::Provider)
        }
        Either::Left((Refreshed::Ended(reason), _)) => Outcome::Anonymous(reason),
        Either::Left((Refreshed::Hindered(reason), _)) => without(app, old, app.io.now(), reason),
        Either::Right(_) => without(app, old, app.io.now(), Unavailable::Provider),
    }
}

fn no_answer(reason: Unavailable) -> Refreshed {
    Refreshed::Hindered(reason.into())
}

async fn run<I: Io>(app: &App<I>, store: &Rc<TicketStore<I>>, ticket: &TicketCookie) -> Refreshed {
    let lock = match Lock::new(&app.io, &ticket.ticket) {
        Ok(lock) => lock,
        Err(reason) => return no_answer(reason),
    };
    let began = app.io.now();
    app.io.sleep(store.health().settles_in()).await;
    loop {
        match lock.take().await {
            Ok(true) => break,
            Ok(false) if began.was_within(LONG_PATIENCE, app.io.now()) => app.io.count(Count::LockWait),
            Ok(false) => return no_answer(Unavailable::Provider),
            Err(reason) => return no_answer(reason),
        }
        app.io.sleep(LOOK).await;
        if let Err(refreshed) = look(app, store, ticket).await {
            return refreshed;
        }
    }
    let work = async {
        match look(app, store, ticket).await {
            Ok(old) => grant(app, store, ticket, &old).await,
            Err(refreshed) => refreshed,
        }
    };
    let refreshed = lock.hold(work).await;
    if lock.release().await == Ok(false) && lock.is_signed_out().await {
        // What was saved may have been saved after the session was deleted.
        return match store.sign_out(&ticket.ticket).await {
            Ok(()) => Refreshed::Ended(Reason::Gone),
            Err(reason) => no_answer(reason),
        };
    }
    refreshed
}

/// The session in Redis where it is due still; otherwise what became of it.
async fn look<I: Io>(
    app: &App<I>,
    store: &Rc<TicketStore<I>>,
    ticket: &TicketCookie,
) -> Result<Rc<Person>, Refreshed> {
    match store.load(&ticket.ticket).await {
        Ok(Some(person)) if is_due(app, &person.session, app.io.now()) => Ok(person),
        Ok(Some(person)) => Err(Refreshed::Now(person)),
        Ok(None) => Err(Refreshed::Ended(Reason::Gone)),
        Err(reason) => Err(no_answer(reason)),
    }
}

async fn grant<I: Io>(
    app: &App<I>,
    store: &Rc<TicketStore<I>>,
    ticket: &TicketCookie,
    old: &Rc<Person>,
) -> Refreshed {
    let session = match renew(app, &old.session).await {
        Ok(session) => session,
        Err(NotRenewed::Ended(error)) => return refused(app, store, ticket, old, error).await,
        Err(NotRenewed::Hindered(reason)) => {
            store.failed(ticket, reason);
            return Refreshed::Hindered(reason);
        }
    };
    let refresh_token = session.refresh_token.clone();
    let person = Person::new(&app.config, session);
    match store.save(&ticket.ticket, &person, SAVE_PATIENCE, true).await {
        Ok(()) => {}
        Err(Unavailable::TooLarge(size)) => {
            return unchanged(app, store, ticket, old, refresh_token, size).await;
        }
        Err(_) => warn!("refresh: Redis was away for too long; a session that was renewed is not there"),
    }
    Refreshed::Now(person)
}

/// The renewed session is too large. The old one stays until it ends, with the new refresh token, because its own is
/// used up; and as old as the new one, so that the provider is not asked again at once. One that has expired, or never
/// will, ends: each grant would give the same, and a sign-in says why.
async fn unchanged<I: Io>(
    app: &App<I>,
    store: &Rc<TicketStore<I>>,
    ticket: &TicketCookie,
    old: &Rc<Person>,
    refresh_token: Vec<u8>,
    size: TooLarge,
) -> Refreshed {
    if !old_one_stays(app, &old.session, size) {
        return ended(store, ticket, Reason::TooLarge).await;
    }
    let created_at = Some(app.io.now());
    let session = Session { refresh_token, created_at, ..old.session.clone() };
    let person = Person::new(&app.config, session);
    match store.save(&ticket.ticket, &person, SAVE_PATIENCE, true).await {
        Ok(()) => Refreshed::Now(person),
        Err(_) => no_answer(Unavailable::TooLarge(size)),
    }
}

/// Deletes a session that is over.
async fn ended<I: Io>(store: &Rc<TicketStore<I>>, ticket: &TicketCookie, reason: Reason) -> Refreshed {
    match store.delete(&ticket.ticket).await {
        Ok(()) => Refreshed::Ended(reason),
        Err(reason) => no_answer(reason),
    }
}

/// The provider refused the refresh token. That ends the session, unless another token is there by now.
async fn refused<I: Io>(
    app: &App<I>,
    store: &Rc<TicketStore<I>>,
    ticket: &TicketCookie,
    old: &Rc<Person>,
    error: SignInError,
) -> Refreshed {
    for _ in 0..if store.has_replicas { REFUSED_LOOKS_REPLICATED } else { REFUSED_LOOKS } {
        match store.load(&ticket.ticket).await {
            Ok(Some(person)) if person.session.refresh_token != old.session.refresh_token => {
                return Refreshed::Now(person);
            }
            Ok(Some(_)) => app.io.sleep(REFUSED_PAUSE).await,
            Ok(None) => return Refreshed::Ended(Reason::Gone),
            Err(reason) => return no_answer(reason),
        }
    }
    tell_ended(app, error);
    ended(store, ticket, Reason::Refused).await
}
