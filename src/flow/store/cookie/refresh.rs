//! Refresh in the cookie store: one grant for an old cookie in the whole Envoy, and its new session for
//! all who ask.
//!
//! ```text
//! request with the old cookie ─┬─ nobody at it ── claim, refresh in a task of its own ─┐
//!                              ├─ somebody at it ── wait ──────────────────────────────┤
//!                              └─ it is done ── the new session, and its Set-Cookie ◄──┘
//! ```
//!
//! A sign-out ends the cookie of the browser, and all that it has become. Then no answer brings one of them back:
//! neither of a refresh under way, nor of a request that the upstream has not answered yet.

use std::borrow::Cow;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use log::warn;

use super::CookieStore;
use super::slots::{Meeting, Refresh};
use crate::cookie;
use crate::flow::outcome::{Loaded, Outcome, Reason, Unavailable};
use crate::flow::store::refresh::{
    BACKOFF, Hindrance, LEASE, NotRenewed, is_due, old_one_stays, patience, renew, tell_ended, without,
};
use crate::flow::verified_cache::VerifiedPerson;
use crate::flow::{App, Io};
use crate::session::Session;

/// How long the new session is there for requests with the old cookie. Longer than a page needs: the
/// answer that carried the new cookie may have been lost on the way to the browser.
const HAND_OVER: Duration = Duration::from_secs(10 * 60);

/// How often those who wait look whether it is done.
const LOOK: Duration = Duration::from_millis(10);

/// An old cookie can stand for a session that was refreshed several times since, so many at most.
const MAX_HOPS: u32 = 16;

/// The session that `old` has become, refreshed here or by another request.
pub(in crate::flow) async fn refresh<I: Io>(
    app: &Rc<App<I>>,
    store: &Rc<CookieStore>,
    old: Rc<VerifiedPerson>,
) -> Loaded {
    let mut signed_in = Rc::clone(&old);
    let mut hindrance = Unavailable::Provider.into();
    for _ in 0..MAX_HOPS {
        if !is_due(app, &signed_in.person.session, app.io.now()) {
            break;
        }
        signed_in = match follow(app, store, &signed_in).await {
            Ok(next) => next,
            Err(Stop::Ended(reason)) => return Outcome::Anonymous(reason).into(),
            Err(Stop::Hindered(reason)) => {
                hindrance = reason;
                break;
            }
        };
    }
    Loaded {
        outcome: without(app, Rc::clone(&signed_in.person), app.io.now(), hindrance),
        renewed: (!Rc::ptr_eq(&signed_in, &old)).then(|| signed_in.raw.clone()),
    }
}

/// Why there is no newer session.
enum Stop {
    Ended(Reason),
    Hindered(Hindrance),
}

/// Ends the session of a cookie, for everybody who waits for what becomes of it, or will be given it.
pub(in crate::flow) fn end<I: Io>(store: &CookieStore, cookie: &[u8], io: &I) {
    let mut cookie = Cow::Borrowed(cookie);
    for _ in 0..MAX_HOPS {
        match meeting_of(store, &cookie).tell(io, &Refresh::Ended, HAND_OVER) {
            Some(Refresh::Done(next)) => cookie = Cow::Owned(next),
            _ => return,
        }
    }
}

/// Whether that was done to a cookie, or to what it has become.
pub(in crate::flow) fn is_ended<I: Io>(store: &CookieStore, cookie: &[u8], io: &I) -> bool {
    let mut cookie = Cow::Borrowed(cookie);
    for _ in 0..MAX_HOPS {
        match meeting_of(store, &cookie).look(io) {
            Some(Refresh::Done(next)) => cookie = Cow::Owned(next),
            found => return found == Some(Refresh::Ended),
        }
    }
    false
}

/// Where all meet who have this cookie and would use its refresh token.
fn meeting_of(store: &CookieStore, cookie: &[u8]) -> Meeting {
    Meeting::new(&store.fingerprint, cookie::signed_part(cookie))
}

/// Waits for what becomes of one refresh, and does it where nobody else is at it.
async fn follow<I: Io>(
    app: &Rc<App<I>>,
    store: &Rc<CookieStore>,
    old: &Rc<VerifiedPerson>,
) -> Result<Rc<VerifiedPerson>, Stop> {
    let no_answer = || Stop::Hindered(Unavailable::Provider.into());
    let meeting = meeting_of(store, &old.raw);
    let began = app.io.now();
    loop {
        match meeting.look(&app.io) {
            Some(Refresh::Done(cookie)) if is_ended(store, &cookie, &app.io) => {
                return Err(Stop::Ended(Reason::SignedOut));
            }
            Some(Refresh::Done(cookie)) => {
                return store.open(cookie, app.io.now()).map_err(|_| no_answer());
            }
            Some(Refresh::Refused) => return Err(Stop::Ended(Reason::Refused)),
            Some(Refresh::TooLarge) => return Err(Stop::Ended(Reason::TooLarge)),
            Some(Refresh::Ended) => return Err(Stop::Ended(Reason::SignedOut)),
            Some(Refresh::Failed(reason)) => return Err(Stop::Hindered(reason)),
            Some(Refresh::Running) => {}
            None => {
                if meeting.claim(&app.io, LEASE) {
                    app.io.spawn(run(Rc::clone(app), Rc::clone(store), Rc::clone(old), meeting.clone()));
                }
            }
        }
        let now = app.io.now();
        if !began.was_within(patience(app, &old.person.session, now), now) {
            return Err(no_answer());
        }
        app.io.sleep(LOOK).await;
    }
}

/// The refresh itself, under a lease that is renewed.
async fn run<I: Io>(app: Rc<App<I>>, store: Rc<CookieStore>, old: Rc<VerifiedPerson>, meeting: Meeting) {
    let mut grant = pin!(grant(&app, &store, &old));
    let refresh = loop {
        let renewal = pin!(app.io.sleep(LEASE / 3));
        match select(grant, renewal).await {
            Either::Left((refresh, _)) => break refresh,
            Either::Right(((), unfinished)) => grant = unfinished,
        }
        meeting.tell(&app.io, &Refresh::Running, LEASE);
    };
    let period = match refresh {
        Refresh::Failed(_) => BACKOFF,
        _ => HAND_OVER,
    };
    meeting.tell(&app.io, &refresh, period);
}

async fn grant<I: Io>(app: &App<I>, store: &CookieStore, old: &VerifiedPerson) -> Refresh {
    let session = match renew(app, &old.person.session).await {
        Ok(session) => session,
        Err(NotRenewed::Ended(error)) => {
            tell_ended(app, error);
            return Refresh::Refused;
        }
        Err(NotRenewed::Hindered(reason)) => return Refresh::Failed(reason),
    };
    match store.seal(&session, Some(old), &app.io) {
        Ok(cookie) => Refresh::Done(cookie),
        Err(Unavailable::TooLarge(size)) => {
            if !old_one_stays(app, &old.person.session, size) {
                return Refresh::TooLarge;
            }
            unchanged(app, store, old, session.refresh_token)
        }
        Err(error) => {
            warn!("refresh: {error}");
            Refresh::Failed(error.into())
        }
    }
}

/// The renewed session is too large. The old one stays until it ends, with the new refresh token, because its own is
/// used up; and as old as the new one, so that the provider is not asked again at once. One that has expired, or never
/// will, is over: its person is led to the sign-in, which says what is too large.
fn unchanged<I: Io>(
    app: &App<I>,
    store: &CookieStore,
    old: &VerifiedPerson,
    refresh_token: Vec<u8>,
) -> Refresh {
    let created_at = Some(app.io.now());
    let session = Session { refresh_token, created_at, ..old.person.session.clone() };
    match store.seal_with_new_token(&session, old, &app.io) {
        Ok(cookie) => Refresh::Done(cookie),
        Err(error) => Refresh::Failed(error.into()),
    }
}
