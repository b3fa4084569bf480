//! Where cookies, sessions and the provider meet: what a request is answered with.
//!
//! ```text
//! request head ── App::handle ──┬─ Step::Done(decision)     nothing to wait for: the hot path
//!                               └─ Step::Wait(future)       a login, a refresh, a fetch
//! decision: Forward (edited headers) to the upstream, or Reply in its place
//! ```
//!
//! Flows are straight-line `async` functions over [`Io`]; the host runs them, tests run them with
//! a clock of their own. Loading a session ends in one of three outcomes ([`outcome::Outcome`]), and
//! only one of them lets a request through.

pub mod access_log;
mod authorize;
mod bearer;
mod endpoints;
mod http;
pub mod io;
mod load;
mod logs;
mod outcome;
pub mod pages;
mod person;
mod provider;
mod store;
#[cfg(test)]
mod tests;
mod told;
mod upstream;
mod util;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use log::warn;

use self::access_log::Note;
use self::bearer::Bearer;
use self::endpoints::Purpose;
use self::endpoints::callback::Codes;
pub use self::endpoints::login_app::{HandedOver, Keeping, is_session_header};
use self::http::forged::Names;
pub use self::http::reply::Reply;
pub use self::http::request::RequestHead;
use self::http::stripped::Ended;
pub use self::http::stripped::Stripped;
use self::io::Count;
pub use self::io::Io;
use self::load::Loading;
use self::logs::Logs;
pub use self::outcome::Unavailable;
use self::outcome::{Loaded, Outcome, Reason};
use self::person::Person;
use self::provider::Provider;
use self::store::Store;
use self::store::session_cookie::SessionCookie;
use self::told::Told;
use self::util::gate::Gate;
use crate::config::Config;

/// A header to set or add.
pub type Header = (&'static str, Vec<u8>);

/// What happens with a request.
#[derive(Debug)]
pub enum Decision {
    /// It goes on to the upstream.
    Forward(Forward),
    /// It is answered here.
    Reply(Reply),
    /// One of these, and what the access log says about it.
    Noted(Vec<access_log::Field>, Box<Decision>),
}

/// How a request is changed on its way to the upstream, and its response on the way back.
#[derive(Debug, Default)]
pub struct Forward {
    /// Headers of the client that must not arrive.
    pub remove: Vec<Vec<u8>>,
    /// Headers that the upstream gets, in the place of the client's.
    pub set: Rc<[Header]>,
    /// The `connection` header that the upstream gets, where it is not the client's.
    pub connection: Option<Vec<u8>>,
    /// The `cookie` header that the upstream gets, where it is not the client's.
    pub cookie: Option<Vec<u8>>,
    /// The cookies that are missing in it, for the request if it comes again.
    pub stripped: Option<Stripped>,
    /// Headers that are added to the response.
    pub response: Vec<Header>,
    /// The session cookie among them, where the session was renewed: see [`App::response_headers`].
    pub renewed: Option<Vec<u8>>,
    /// What becomes of a session that the upstream hands over.
    pub handed_over: HandedOver,
}

/// A decision, or the way to it.
pub enum Step {
    /// Decided at once.
    Done(Decision),
    /// Something has to be waited for.
    Wait(Pin<Box<dyn Future<Output = Decision>>>),
}

/// One filter configuration at work, in one worker.
pub struct App<I> {
    config: Rc<Config>,
    io: I,
    /// None where others sign people in, and nothing is renewed.
    provider: Option<Provider<I>>,
    /// None where there is no provider.
    codes: Option<Rc<Codes<I>>>,
    /// In front of `backend_logout_url`.
    logouts: Gate<I>,
    bearer: Option<Bearer<I>>,
    cookie: Rc<SessionCookie>,
    store: Store<I>,
    told: Told,
    logs: Logs,
    /// None without `strip_session_cookie`.
    stripped_state: Option<String>,
    ended: Ended,
}

impl<I: Io> App<I> {
    /// A worker with nothing fetched and nothing remembered.
    pub fn new(config: Config, io: I) -> Rc<Self> {
        let config = Rc::new(config);
        let cookie = Rc::new(SessionCookie::new(&config));
        Rc::new(Self {
            provider: config.provider.clone().map(|provider| Provider::new(provider, io.clone())),
            codes: config.provider.as_ref().map(|provider| Rc::new(Codes::new(provider, &io))),
            logouts: Gate::new(&io, config.login.backend_logout_timeout, Count::LogoutsBusy),
            bearer: config.bearer.as_ref().map(|options| Bearer::new(&config, options, &io)),
            store: Store::new(&config, &cookie, &io),
            logs: Logs::default(),
            stripped_state: cookie.stripped_state(),
            ended: Ended::default(),
            cookie,
            config,
            io,
            told: Told::default(),
        })
    }

    /// Decides about a request by its head.
    pub fn handle(self: &Rc<Self>, head: RequestHead) -> Step {
        let head = if self.config.routes.reverse_proxy { head.forwarded() } else { head };
        access_log::of_endpoint(&self.config, endpoints::handle(self, head))
    }

    /// The trailers of a request that must not arrive, by their names.
    pub fn forged_trailers(&self, trailers: &RequestHead) -> Vec<Vec<u8>> {
        Names::of(&self.config.headers).found(trailers)
    }

    /// Loads the session of a request and decides with it: at once where nothing has to be waited for.
    fn with_session(self: &Rc<Self>, head: RequestHead, purpose: Purpose) -> Step {
        match load::load(self, &head, purpose.may_set_cookie()) {
            Loading::Done(loaded) => Step::Done(self.decide(&head, loaded, purpose)),
            Loading::Wait(pending) => {
                let app = Rc::clone(self);
                Step::Wait(Box::pin(async move {
                    let loaded = pending.finish(&app, &head, purpose.may_set_cookie()).await;
                    app.decide(&head, loaded, purpose)
                }))
            }
        }
    }

    /// Decides by the session that was loaded; counts and notes what that is for the operator.
    fn decide(&self, head: &RequestHead, loaded: Loaded, purpose: Purpose) -> Decision {
        if let Outcome::Unavailable(reason) = loaded.outcome {
            self.io.count(Count::Unavailable(reason));
        }
        if let Outcome::Authenticated(person) = &loaded.outcome {
            self.tell_what_is_unsaid(person);
        }
        let note = Note::of_session(&self.config, &loaded.outcome);
        let reason = access_log::reason(&loaded.outcome);
        let decision = match loaded.outcome {
            // A token without fallback that was none: no route and no endpoint lets that pass.
            Outcome::Anonymous(Reason::BadToken) => purpose.refuse_token(self, head).into(),
            _ => purpose.decide(self, head, loaded),
        };
        let decision = match decision {
            Decision::Reply(answer) => purpose.explain(answer, reason).into(),
            decision => decision,
        };
        match note {
            Some(note) => note.beside(&self.config, decision),
            None => decision,
        }
    }

    /// Logs which headers a person does not get; at most once an hour for each person.
    fn tell_what_is_unsaid(&self, person: &Person) {
        let (unsaid, session) = (&person.said.unsaid, &person.session);
        if person.allowed
            && !unsaid.is_empty()
            && self.told.is_news((&session.user, &session.email, unsaid), self.io.now())
        {
            warn!(
                "headers: not set for a session, because a header cannot carry the exact value: {unsaid}. The value has \
                 a control character, a blank at an end, a colon (the name in `Basic`), or groups_header_separator (a \
                 group)"
            );
        }
    }
}

impl From<Reply> for Decision {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}
