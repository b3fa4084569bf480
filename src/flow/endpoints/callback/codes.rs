//! Codes that are being redeemed, each in a task of its own: a browser that goes away, or asks again, must not use up
//! its code for nothing.
//!
//! ```text
//! callback ─┬─ too many codes for this sign-in ──────────────────────────────► Failure::TooMany
//!           ├─ this code is being redeemed ─────────────────────────────┐
//!           └─ in line ─┬─ it is being redeemed by now ─────────────────┤
//!            (the gate) └─ task: Redis? ── provider ── save the session ┴────► the same result for all
//! ```

use std::cell::RefCell;
use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::Shared;
use log::info;

use super::attempts::Attempts;
use super::failure::Failure;
use crate::config;
use crate::flow::App;
use crate::flow::endpoints::start;
use crate::flow::http::request::RequestHead;
use crate::flow::io::{Count, Io};
use crate::flow::outcome::Unavailable;
use crate::flow::principal::{Principal, WholeSession};
use crate::flow::provider::sign_in_error::SignInError;
use crate::flow::util::gate::{Gate, Permit};
use crate::session::csrf::Csrf;

/// The session cookie's value, and whom the new session is of.
pub(super) type SignedIn = (Vec<u8>, Rc<Principal>);

type Redeemed = Result<Rc<SignedIn>, Failure>;

type Running = Shared<oneshot::Receiver<Redeemed>>;

/// The hash of a state that fits the browser's CSRF cookie, and a code.
type Key = (String, String);

/// The codes that a worker is redeeming.
pub(in crate::flow) struct Codes<I> {
    gate: Gate<I>,
    attempts: Rc<Attempts>,
    /// At most as many as the gate lets in.
    under_way: RefCell<Vec<(Key, Running)>>,
}

impl<I: Io> Codes<I> {
    pub(in crate::flow) fn new(provider: &config::ProviderConfig, io: &I) -> Self {
        Self {
            gate: Gate::new(io, provider.request_timeout, Count::CodesBusy),
            attempts: Rc::default(),
            under_way: RefCell::default(),
        }
    }

    /// The result that a code will have, if it is being redeemed.
    fn running(&self, key: &Key) -> Option<Running> {
        let under_way = self.under_way.borrow();
        under_way.iter().find(|(other, _)| other == key).map(|(_, running)| running.clone())
    }

    /// Whether a browser waits for this code. Two receivers are not browsers': the one in the list, and the one here.
    fn is_awaited(&self, key: &Key) -> bool {
        self.running(key).and_then(|running| running.strong_count()).is_some_and(|count| count > 2)
    }
}

/// Redeems a code for a session, for the sign-in that this browser has begun.
pub(super) async fn redeem<I: Io>(
    app: &Rc<App<I>>,
    head: &Rc<RequestHead>,
    login: Csrf,
    code: String,
) -> Redeemed {
    let codes = app.codes.clone().ok_or(Failure::Malformed)?;
    let key = (login.state_hash(), code);
    let Some(attempt) = codes.attempts.begin(&key.0) else {
        app.io.count(Count::CallbackRefused);
        return Err(Failure::TooManyCodes);
    };
    if let Some(running) = codes.running(&key) {
        return finish(running).await;
    }
    let permit = codes.gate.enter().await.map_err(|busy| Failure::SignIn(busy.into()))?;
    if let Some(running) = codes.running(&key) {
        drop(permit);
        return finish(running).await;
    }
    let (sender, receiver) = oneshot::channel();
    let running = receiver.shared();
    codes.under_way.borrow_mut().push((key.clone(), running.clone()));
    let (task_app, head) = (Rc::clone(app), Rc::clone(head));
    app.io.spawn(async move {
        let outcome = run(&task_app, &codes, &head, login, &key, permit).await;
        if !outcome.as_ref().is_err_and(|failure| failure.passing().is_some()) {
            attempt.was_answered();
        }
        codes.under_way.borrow_mut().retain(|(other, _)| *other != key);
        let _ = sender.send(outcome.map(Rc::new));
    });
    finish(running).await
}

async fn finish(running: Running) -> Redeemed {
    // If the task is gone, there is no result.
    running.await.unwrap_or(Err(Failure::SignIn(SignInError::Unavailable(Unavailable::Provider))))
}

async fn run<I: Io>(
    app: &App<I>,
    codes: &Codes<I>,
    head: &RequestHead,
    login: Csrf,
    key: &Key,
    permit: Permit,
) -> Result<SignedIn, Failure> {
    // A code works only once. So the store is checked first.
    app.store.check().await.map_err(|reason| Failure::SignIn(reason.into()))?;
    let code_verifier = Some(login.code_verifier.as_str()).filter(|verifier| !verifier.is_empty());
    let redirect_uri = start::redirect_uri(&app.config, head);
    let provider = app.provider.as_ref().ok_or(Failure::Malformed)?;
    let mut session = provider
        .redeem(&key.1, &redirect_uri, code_verifier, &login.nonce_hash())
        .await
        .map_err(Failure::SignIn)?;
    // No more requests go to the provider.
    drop(permit);
    session.nonce = login.nonce;
    let whole = WholeSession::signed_in(&app.config, session);
    if !whole.principal.allowed {
        return Err(Failure::Forbidden);
    }
    if !codes.is_awaited(key) {
        // All browsers are gone. Their session, if they have one, stays as it is.
        return Err(Failure::NoLogin);
    }
    let cookie = app.store.create(&whole, head).await.map_err(Failure::NotSaved)?;
    info!("sign-in: done");
    Ok((cookie, Rc::clone(&whole.principal)))
}
