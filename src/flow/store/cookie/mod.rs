//! The cookie store: the browser's cookies hold the whole session.

mod last_use;
mod refresh;
mod sessions;
mod slots;

use std::rc::Rc;

use self::last_use::LastUses;
use self::refresh::CookieRefresher;
use self::sessions::CookieSessions;
use super::refresh::RefreshPolicy;
use super::session_cookie::{SessionCookie, in_one_scope};
use crate::config::Config;
use crate::flow::RequestHead;
use crate::flow::io::{Count, Io};
use crate::flow::load::Usage;
use crate::flow::outcome::{AnonymousReason, Loaded, Outcome, Unavailable};
use crate::flow::principal::WholeSession;
use crate::flow::util::lru::Budget;
use crate::flow::util::ready::Ready;
use crate::session::Session;

/// The store for `session_store_type = "cookie"`.
pub(in crate::flow) struct CookieStore<I> {
    io: I,
    policy: Rc<RefreshPolicy<I>>,
    sessions: Rc<CookieSessions>,
    refresher: Rc<CookieRefresher<I>>,
    last_uses: Rc<LastUses>,
    config: Rc<Config>,
}

impl<I: Io> CookieStore<I> {
    pub(super) fn new(
        config: &Rc<Config>,
        cookie: &Rc<SessionCookie>,
        policy: Rc<RefreshPolicy<I>>,
        remembered: &Budget,
        io: &I,
    ) -> Self {
        let sessions = Rc::new(CookieSessions::new(config, cookie, remembered));
        Self {
            refresher: Rc::new(CookieRefresher::new(config, &sessions, &policy, io)),
            last_uses: Rc::new(LastUses::new(config, cookie)),
            config: Rc::clone(config),
            sessions,
            policy,
            io: io.clone(),
        }
    }

    pub(super) fn load(&self, head: &RequestHead, usage: Usage) -> Ready<Loaded> {
        let now = self.io.now();
        let found = match self.sessions.find(head, now) {
            Ok(found) => found,
            Err(reason) => return Ready::Now(Outcome::Anonymous(reason).into()),
        };
        if self.sessions.is_of_older_secret(found.value.secret) {
            self.io.count(Count::OlderSecret);
        }
        let Ok(last_use) = self.last_uses.find(head, &found, usage, now) else {
            return Ready::Now(Outcome::Anonymous(AnonymousReason::Idle).into());
        };
        let principal = &found.value.principal;
        if !self.policy.is_due(principal, now, usage.renews) {
            let outcome =
                self.policy.outcome_without_refresh(Rc::clone(principal), now, Unavailable::Provider);
            let secret = found.value.secret;
            let renewed =
                self.refresher.reissue(&found.cookie, secret, || (usage.may_set_cookie)(&self.config, head));
            let loaded = in_one_scope(Loaded { renewed, ..outcome.into() }, found.for_one_scope());
            return Ready::Now(self.last_uses.note(loaded, &found.cookie, last_use, now));
        }
        if !(usage.may_set_cookie)(&self.config, head) {
            return Ready::Now(self.policy.outcome_as_is(Rc::clone(principal), now).into());
        }
        let (refresher, last_uses, io) =
            (Rc::clone(&self.refresher), Rc::clone(&self.last_uses), self.io.clone());
        let cookie = found.cookie.into_owned();
        Ready::later(async move {
            let loaded = refresher.refresh(cookie.clone(), usage.renews).await;
            last_uses.note(loaded, &cookie, last_use, io.now())
        })
    }

    pub(super) fn create(&self, session: &WholeSession, head: &RequestHead) -> Result<Vec<u8>, Unavailable> {
        let cookie = self.sessions.seal(&session.session, None, &self.io)?;
        self.end(head);
        Ok(cookie)
    }

    pub(super) fn end(&self, head: &RequestHead) -> Option<Session> {
        let mut ended = None;
        for opened in self.sessions.open_all(head, self.io.now()) {
            // Otherwise a refresh that is under way would give the browser a new cookie after this one was cleared.
            self.refresher.end(&opened.cookie);
            ended = ended.or_else(|| Some(opened.whole.session.clone()));
        }
        ended
    }

    pub(super) fn is_outdated(&self, cookie: &[u8]) -> bool {
        self.refresher.is_outdated(cookie)
    }
}
