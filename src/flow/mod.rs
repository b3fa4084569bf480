//! What happens with a request: here cookies, sessions, stores and the provider meet.
//!
//! ```text
//! request head ── App::handle ──┬─ Ready::Now(decision)     nothing to wait for: the hot path
//!                               └─ Ready::Later(future)     a login, a refresh, a fetch
//! decision: Forward (edited headers) to the upstream, or Reply in its place
//! ```
//!
//! Flows are straight-line `async` functions over [`Io`]. The host runs them, and tests run them with a clock of their own.
//! Loading a session has one of three outcomes ([`outcome::Outcome`]). Only one of them is a signed-in user.

mod access_log;
mod authorize;
mod bearer;
mod decision;
mod endpoints;
mod http;
pub mod io;
mod load;
mod outcome;
pub mod pages;
mod principal;
mod provider;
mod secret_watch;
mod secrets;
mod skip_auth;
mod store;
#[cfg(test)]
mod tests;
mod user;
mod util;
mod verified;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use log::warn;

use self::access_log::AccessLogEntry;
use self::bearer::Bearer;
use self::endpoints::backchannel_logout::{self, BackchannelLogout};
use self::endpoints::callback::Codes;
use self::endpoints::log_limits::LogLimits;
use self::endpoints::login_app::Keeping;
use self::endpoints::{Purpose, login_app};
use self::http::forged::ProtectedNames;
use self::http::reply;
use self::http::stripped::EndedRequests;
use self::io::Count;
use self::outcome::{AnonymousReason, Loaded, Outcome};
use self::principal::Principal;
use self::provider::Provider;
use self::secret_watch::SecretWatch;
use self::secrets::Secrets;
use self::store::Store;
use self::store::session_cookie::{SET_COOKIE, SessionCookie};
use self::util::gate::Gate;
use self::util::log_once::LogOnce;
use crate::config::Config;

pub use self::decision::{Action, Decision, Forward, HandedOver};
pub use self::http::Header;
pub use self::http::forged::{GUARD_HEADER, is_session_header};
pub use self::http::reply::Reply;
pub use self::http::request::RequestHead;
pub use self::http::stripped::Stripped;
pub use self::io::Io;
pub use self::outcome::Unavailable;
pub use self::util::ready::Ready;
pub use session_codec::header_block::HeaderBlock;

/// The longest body of a request that is read.
pub const MAX_REQUEST_BODY: usize = 64 << 10;

/// One filter configuration at work, in one worker.
pub struct App<I> {
    config: Rc<Config>,
    secrets: Rc<Secrets>,
    secret_watch: Rc<SecretWatch<I>>,
    io: I,
    /// None if another server signs users in and the filter refreshes nothing.
    provider: Option<Rc<Provider<I>>>,
    /// None if there is no provider.
    codes: Option<Rc<Codes<I>>>,
    /// Limits the calls of `backend_logout_url`.
    logouts: Gate<I>,
    bearer: Option<Rc<Bearer<I>>>,
    /// None without `backchannel_logout`.
    backchannel_logout: Option<Rc<BackchannelLogout<I>>>,
    cookie: Rc<SessionCookie>,
    store: Store<I>,
    log_once: LogOnce,
    log_limits: LogLimits,
    /// None without `strip_session_cookie`.
    stripped_state: Option<String>,
    ended: EndedRequests,
}

impl<I: Io> App<I> {
    /// A worker that has fetched nothing yet.
    pub fn new(config: Config, io: I) -> Rc<Self> {
        let config = Rc::new(config);
        let secrets = Rc::new(Secrets::new(&config));
        let cookie = Rc::new(SessionCookie::new(&config, &secrets));
        let secret_watch = SecretWatch::new(&config, &secrets, &io);
        let provider = config
            .provider
            .clone()
            .map(|provider| Rc::new(Provider::new(provider, &secrets, &secret_watch, io.clone())));
        let remembered = verified::budget(&config);
        Rc::new(Self {
            codes: config.provider.as_ref().map(|provider| Rc::new(Codes::new(provider, &io))),
            logouts: Gate::new(&io, config.login.backend_logout_timeout, Count::LogoutsBusy),
            bearer: Bearer::new(&config, provider.as_ref(), &remembered, &io),
            backchannel_logout: BackchannelLogout::new(&config, provider.as_ref(), &io),
            store: Store::new(&config, &cookie, provider.clone(), &remembered, &io),
            log_limits: LogLimits::default(),
            stripped_state: cookie.stripped_state(),
            ended: EndedRequests::default(),
            cookie,
            secrets,
            secret_watch,
            provider,
            config,
            io,
            log_once: LogOnce::default(),
        })
    }

    /// The secrets, for a test that changes them.
    #[cfg(test)]
    pub(in crate::flow) fn secrets(&self) -> &Rc<Secrets> {
        &self.secrets
    }

    /// Decides about a request by its head.
    pub fn handle(self: &Rc<Self>, head: RequestHead) -> Ready<Decision> {
        let head = if self.config.routes.reverse_proxy { head.forwarded() } else { head };
        if !self.secret_watch.is_complete() && !endpoints::is_ping(&self.config.routes, &head) {
            let app = Rc::clone(self);
            return Ready::later(async move { app.after_secrets(head).await });
        }
        access_log::of_endpoint(&self.config, endpoints::handle(self, head))
    }

    /// The answer to a request whose body is needed ([`Action::ReadBody`]), if it must not go on to this cluster of Envoy.
    ///
    /// While a filter holds the head of a request, Envoy calls it with no body. So the head goes on, to a route that waits
    /// for the end of the request and then does nothing. Without that route it would get to an upstream.
    pub fn body_refused(&self, cluster: &[u8]) -> Option<Reply> {
        let is_the_bridge = cluster == self.config.bridge_cluster.as_bytes();
        (!is_the_bridge).then(|| backchannel_logout::no_route(self))
    }

    /// The answer to a request by its body.
    pub fn handle_body(self: &Rc<Self>, body: Vec<u8>) -> Pin<Box<dyn Future<Output = Decision>>> {
        Box::pin(backchannel_logout::handle(Rc::clone(self), body))
    }

    /// The answer to a request whose body is longer than [`MAX_REQUEST_BODY`].
    pub fn body_too_large(&self) -> Reply {
        backchannel_logout::too_large()
    }

    /// Waits for the secrets, then decides. Without them no session can be checked, and no request goes through.
    async fn after_secrets(self: Rc<Self>, head: RequestHead) -> Decision {
        if self.secret_watch.begun().await {
            return access_log::of_endpoint(&self.config, endpoints::handle(&self, head)).get().await;
        }
        let reason = Unavailable::Secret;
        self.io.count(Count::Unavailable(reason));
        let answer = endpoints::upstream::unavailable(&self.config, &head, reason);
        Action::Reply(reply::because(answer, access_log::unavailable(reason))).into()
    }

    /// The headers that are added to a response, of those that its request was decided to add. The upstream may have
    /// taken its time, and the user may have signed out meanwhile, or the session may have been refreshed. Then the
    /// response must not bring the earlier session cookie back.
    pub fn response_headers(&self, mut headers: Vec<Header>, renewed: Option<&[u8]>) -> Vec<Header> {
        if renewed.is_some_and(|cookie| self.store.is_outdated(cookie)) {
            headers.retain(|(name, _)| *name != SET_COOKIE);
        }
        headers
    }

    /// The value of [`GUARD_HEADER`] on every request that is let through; none without `pass_guard_header`.
    pub fn guard(&self) -> Option<&[u8]> {
        self.config.headers.guard.as_deref()
    }

    /// The names of a request's trailers that must not reach the upstream.
    pub fn forged_trailers(&self, trailers: &HeaderBlock) -> Vec<Vec<u8>> {
        ProtectedNames::of(&self.config.headers).found(trailers)
    }

    /// Whether responses may hand sessions over.
    pub fn takes_sessions(&self) -> bool {
        self.config.mode.login_app().is_some()
    }

    /// The names of a response's trailers that hold a session. The filter takes no session from a trailer, and the
    /// browser must not get it.
    pub fn handed_over_trailers(&self, trailers: &HeaderBlock) -> Vec<Vec<u8>> {
        login_app::drop_trailers(self, trailers)
    }

    /// Takes the session from a response with these values of its header, from this cluster of Envoy. If there is none
    /// to keep, the response goes on without it.
    pub fn take_session(
        self: &Rc<Self>,
        handed_over: HandedOver,
        cluster: &[u8],
        values: &[&[u8]],
    ) -> Option<Keeping> {
        login_app::take_session(self, handed_over, cluster, values)
    }

    /// The name of the filter state with the token. Each cookie has its own, because a chain may have several filters.
    pub fn stripped_state(&self) -> Option<&str> {
        self.stripped_state.as_deref()
    }

    /// A request has ended without a response, and these cookies were taken out of it.
    pub fn ended(&self, stripped: Stripped) {
        self.ended.add(stripped, self.io.now());
    }

    /// Whether a request may come once more. Then its filter state has to be read.
    pub fn may_come_again(&self) -> bool {
        !self.ended.is_empty(self.io.now())
    }

    /// All cookies of a request, including those that were taken out of it when it came before; by the token in its
    /// filter state.
    pub fn cookies_again(&self, head: &RequestHead, token: &[u8]) -> Option<Vec<u8>> {
        self.ended.cookies_again(head, token, self.io.now())
    }

    /// Loads the session of a request and decides with it, at once if nothing has to be waited for.
    fn with_session(self: &Rc<Self>, head: RequestHead, purpose: Purpose) -> Ready<Decision> {
        let app = Rc::clone(self);
        let loaded = load::session(self, head, purpose.usage());
        loaded.map(move |(head, loaded)| app.decide(&head, loaded, purpose))
    }

    /// Decides by the session that was loaded; counts the outcome and adds it to the access log.
    fn decide(&self, head: &RequestHead, loaded: Loaded, purpose: Purpose) -> Decision {
        match loaded.outcome {
            Outcome::Unavailable(reason) => self.io.count(Count::Unavailable(reason)),
            Outcome::Anonymous(AnonymousReason::Idle) => self.io.count(Count::SessionIdle),
            Outcome::Anonymous(AnonymousReason::TooOld) => self.io.count(Count::SessionTooOld),
            _ => {}
        }
        if let Outcome::Authenticated(principal) = &loaded.outcome {
            self.log_omitted_headers(principal);
        }
        let entry = AccessLogEntry::of_session(&self.config, &loaded.outcome);
        let reason = access_log::reason(&loaded.outcome);
        let action = match loaded.outcome {
            // An invalid token without fallback: no route and no endpoint lets it through.
            Outcome::Anonymous(AnonymousReason::BadToken) => {
                Action::Reply(purpose.refuse_token(&self.config.routes, head))
            }
            _ => purpose.decide(self, head, loaded),
        };
        let action = match action {
            Action::Reply(answer) => Action::Reply(purpose.explain(answer, reason)),
            action => action,
        };
        match entry {
            Some(entry) => entry.beside(&self.config, action),
            None => action.into(),
        }
    }

    /// Logs which headers are not set for a user, at most once an hour for each user.
    fn log_omitted_headers(&self, principal: &Principal) {
        let (omitted, session) = (&principal.headers.omitted, &principal.session);
        if principal.allowed
            && !omitted.is_empty()
            && self.log_once.is_first((&session.user, &session.email, omitted), self.io.now())
        {
            warn!(
                "headers: not set for a session, because a header cannot carry the exact value: {omitted}. The value has \
                 a control character, a blank at an end, a colon (the name in `Basic`), or groups_header_separator (a \
                 group)"
            );
        }
    }
}
