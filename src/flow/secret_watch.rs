//! The secrets that come over the bridge (`secrets_from`): read before the first request is answered, and again every
//! `secrets_refresh`, because an operator changes them while the filter runs.
//!
//! ```text
//! first request of a worker ──┐
//! every secrets_refresh ──────┤
//! invalid_client, WRONGPASS ──┴─► GET /oauth2_session.Secret/<option> ── bridge
//!
//!   200, and well formed ──► Secrets, or the connections to Redis
//!   404: no route          ──► the filter works without this secret, if it can
//!   all else               ──► the last good one stays; without one, requests are answered 503
//! ```
//!
//! The main thread's VM never gets a request, and reaches no internal listener. So a worker asks from its first request
//! on, not when it is configured.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response};
use log::{info, warn};

use super::io::{Count, Io};
use super::secrets::Secrets;
use super::util::single_flight::SingleFlight;
use crate::bridge::SECRET_PATH;
use crate::config::{self, BridgeSecrets, Config, Secret, SecretName, WantedSecret};
use crate::cookie::CookieSecret;
use crate::redis::{Credentials, Servers};

/// How long one question may take. The bridge is in the same process.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Only the bridge reads it. No request leaves Envoy.
const AUTHORITY: &str = "http://oauth2-session.internal";

/// Keeps the secrets of one worker up to date. Without secrets from the bridge it does nothing.
pub(super) struct SecretWatch<I> {
    io: I,
    secrets: Rc<Secrets>,
    refresh: Duration,
    redis_username: String,
    sentinel_username: String,
    watched: Vec<Watched>,
    rounds: SingleFlight<()>,
    /// Whether the first round is over.
    is_begun: Cell<bool>,
    /// Whether no secret is missing.
    is_complete: Cell<bool>,
}

/// A secret, and what is known of it.
struct Watched {
    wanted: WantedSecret,
    state: RefCell<State>,
    /// Why it could not be read last time. So a problem is logged once, not every few seconds.
    problem: Cell<Option<Problem>>,
}

#[derive(PartialEq, Eq)]
enum State {
    /// There is no good one yet.
    Missing,
    /// The filter works without it.
    Unused,
    /// The last good one.
    Known(Secret),
}

/// Why a secret could not be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Problem {
    NoAnswer,
    NoRoute,
    NoFile,
    Malformed,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "the bridge does not answer; see bridge_cluster",
            Self::NoRoute => "the bridge has no route for it",
            Self::NoFile => "its file is missing or empty",
            Self::Malformed => "its file is malformed",
        })
    }
}

impl<I: Io> SecretWatch<I> {
    pub(super) fn new(config: &Config, secrets: &Rc<Secrets>, io: &I) -> Rc<Self> {
        let (refresh, wanted) = match &config.bridge_secrets {
            Some(BridgeSecrets { refresh, wanted }) => (*refresh, wanted.as_slice()),
            None => (Duration::ZERO, [].as_slice()),
        };
        if !wanted.is_empty()
            && let Ok(Ok(unused)) = io.random::<32>().map(|bytes| CookieSecret::new(&bytes))
        {
            // No request is answered with it. If one were, no proxy would know the secret.
            secrets.set_cookie(unused.into());
        }
        let watched = wanted.iter().map(|wanted| Watched {
            wanted: *wanted,
            state: RefCell::new(State::Missing),
            problem: Cell::default(),
        });
        let usernames = config.redis.as_ref().map(|redis| (&redis.username, &redis.sentinel_username));
        let (redis_username, sentinel_username) = usernames.unzip();
        Rc::new(Self {
            redis_username: redis_username.cloned().unwrap_or_default(),
            sentinel_username: sentinel_username.cloned().unwrap_or_default(),
            io: io.clone(),
            secrets: Rc::clone(secrets),
            refresh,
            is_begun: Cell::new(wanted.is_empty()),
            is_complete: Cell::new(wanted.is_empty()),
            watched: watched.collect(),
            rounds: SingleFlight::default(),
        })
    }

    /// Whether no secret is missing: on the hot path this is all.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.get()
    }

    /// Waits for the first round. Gives whether no secret is missing.
    pub(super) async fn begun(self: &Rc<Self>) -> bool {
        if !self.is_begun.get() {
            self.ask().await;
            if !self.is_begun.replace(true) {
                let watch = Rc::downgrade(self);
                self.io.watch_redis_auth({
                    let watch = watch.clone();
                    move || {
                        if let Some(watch) = watch.upgrade() {
                            watch.ask_soon();
                        }
                    }
                });
                self.io.every(self.refresh, move || {
                    if let Some(watch) = watch.upgrade() {
                        watch.ask_soon();
                    }
                });
            }
        }
        self.is_complete()
    }

    /// Asks for all secrets, in a task of its own.
    pub(super) fn ask_soon(self: &Rc<Self>) {
        if !self.watched.is_empty() {
            let watch = Rc::clone(self);
            self.io.spawn(async move { watch.ask().await });
        }
    }

    /// Asks for all secrets now, once for all callers.
    pub(super) async fn ask(self: &Rc<Self>) {
        if self.watched.is_empty() {
            return;
        }
        let watch = Rc::clone(self);
        self.rounds.get(b"", || Box::pin(async move { watch.round().await })).await;
    }

    async fn round(&self) {
        let questions = self.watched.iter().map(|watched| {
            let url = format!("{AUTHORITY}{SECRET_PATH}{}", watched.wanted.name.option());
            // Constant words make a valid request.
            let request = Request::get(url).body(Vec::new()).unwrap_or_default();
            self.io.call(request, TIMEOUT)
        });
        let answers = join_all(questions.collect::<Vec<_>>()).await;
        for (watched, answer) in self.watched.iter().zip(answers) {
            self.take(watched, answer.ok());
        }
        self.is_complete.set(self.watched.iter().all(|watched| *watched.state.borrow() != State::Missing));
    }

    /// Takes an answer of the bridge.
    fn take(&self, watched: &Watched, answer: Option<Response<Vec<u8>>>) {
        let read = match answer.as_ref().map(|answer| answer.status().as_u16()) {
            Some(200) => answer
                .and_then(|answer| String::from_utf8(answer.into_body()).ok())
                .map(|text| Secret::new(&text))
                .ok_or(Problem::Malformed),
            Some(401) => Err(Problem::NoFile),
            Some(404) => Err(Problem::NoRoute),
            Some(422) => Err(Problem::Malformed),
            _ => Err(Problem::NoAnswer),
        };
        let is_known = matches!(*watched.state.borrow(), State::Known(_));
        let read = match read {
            Err(Problem::NoRoute) if !watched.wanted.is_required && !is_known => {
                watched.state.replace(State::Unused);
                return;
            }
            Ok(secret) if *watched.state.borrow() == State::Known(secret.clone()) => Ok(()),
            Ok(secret) => self.replace(watched, secret),
            Err(problem) => Err(problem),
        };
        self.report(watched, read.err());
    }

    /// Uses a new secret.
    fn replace(&self, watched: &Watched, secret: Secret) -> Result<(), Problem> {
        match watched.wanted.name {
            SecretName::Cookie => {
                let secrets = config::cookie_secrets(secret.expose()).map_err(|_| Problem::Malformed)?;
                self.secrets.set_cookie(secrets);
            }
            SecretName::Client => self.secrets.set_client(secret.clone()),
            SecretName::Redis => self.tell_redis(Servers::Data, &self.redis_username, &secret),
            SecretName::Sentinel => self.tell_redis(Servers::Sentinels, &self.sentinel_username, &secret),
        }
        let name = watched.wanted.name.option();
        if let State::Known(_) = watched.state.replace(State::Known(secret)) {
            self.io.count(Count::SecretChanged);
            info!("secrets: {name} has changed, and the new one is in use");
        }
        Ok(())
    }

    fn tell_redis(&self, of: Servers, username: &str, password: &Secret) {
        let username = (!username.is_empty()).then(|| username.to_owned());
        self.io.set_redis_credentials(of, &Credentials { username, password: password.expose().to_owned() });
    }

    /// Counts a secret that could not be read, and logs it if that is new.
    fn report(&self, watched: &Watched, problem: Option<Problem>) {
        let before = watched.problem.replace(problem);
        let name = watched.wanted.name.option();
        match problem {
            Some(problem) => {
                self.io.count(Count::SecretUnusable);
                if before == Some(problem) {
                    return;
                }
                let meanwhile = match *watched.state.borrow() {
                    State::Known(_) => "the last good one stays in use",
                    _ => "requests are answered 503 until it is there",
                };
                warn!("secrets: {name} cannot be used: {problem}; {meanwhile}");
            }
            None if before.is_some() => info!("secrets: {name} can be used again"),
            None => {}
        }
    }
}
