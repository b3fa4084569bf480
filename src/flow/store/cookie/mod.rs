//! The cookie store: the browser's cookies hold the whole session.

mod refresh;
mod sessions;
mod slots;

use std::rc::Rc;

use self::refresh::CookieRefresher;
use self::sessions::CookieSessions;
use super::refresh::RefreshPolicy;
use super::session_cookie::SessionCookie;
use crate::config::Config;
use crate::flow::RequestHead;
use crate::flow::io::{Count, Io};
use crate::flow::outcome::{Loaded, Outcome, Unavailable};
use crate::flow::principal::Principal;
use crate::flow::util::ready::Ready;
use crate::session::Session;

/// The store for `session_store_type = "cookie"`.
pub(in crate::flow) struct CookieStore<I> {
    io: I,
    policy: Rc<RefreshPolicy<I>>,
    sessions: Rc<CookieSessions>,
    refresher: Rc<CookieRefresher<I>>,
}

impl<I: Io> CookieStore<I> {
    pub(super) fn new(
        config: &Rc<Config>,
        cookie: &Rc<SessionCookie>,
        policy: Rc<RefreshPolicy<I>>,
        io: &I,
    ) -> Self {
        let sessions = Rc::new(CookieSessions::new(config, cookie));
        Self {
            refresher: Rc::new(CookieRefresher::new(config, &sessions, &policy, io)),
            sessions,
            policy,
            io: io.clone(),
        }
    }

    pub(super) fn load(&self, head: &RequestHead, may_set_cookie: impl FnOnce() -> bool) -> Ready<Loaded> {
        let now = self.io.now();
        let found = match self.sessions.find(head, now) {
            Ok(found) => found,
            Err(reason) => return Ready::Now(Outcome::Anonymous(reason).into()),
        };
        if self.sessions.is_of_older_secret(&found.value) {
            self.io.count(Count::OlderSecret);
        }
        let principal = &found.value.principal;
        if !self.policy.is_due(&principal.session, now) {
            let outcome =
                self.policy.outcome_without_refresh(Rc::clone(principal), now, Unavailable::Provider);
            let renewed = self.refresher.reissue(&found.value, may_set_cookie);
            return Ready::Now(found.in_one_scope(Loaded { outcome, renewed }));
        }
        if !may_set_cookie() {
            return Ready::Now(self.policy.outcome_as_is(Rc::clone(principal), now).into());
        }
        let refresher = Rc::clone(&self.refresher);
        Ready::later(async move { refresher.refresh(found.value).await })
    }

    pub(super) fn create(
        &self,
        principal: &Rc<Principal>,
        head: &RequestHead,
    ) -> Result<Vec<u8>, Unavailable> {
        let cookie = self.sessions.seal(&principal.session, None, &self.io)?;
        self.end(head);
        Ok(cookie)
    }

    pub(super) fn end(&self, head: &RequestHead) -> Option<Session> {
        let mut ended = None;
        for signed_in in self.sessions.find_all(head, self.io.now()) {
            // Otherwise a refresh that is under way would give the browser a new cookie after this one was cleared.
            self.refresher.end(&signed_in.raw);
            ended = ended.or_else(|| Some(signed_in.principal.session.clone()));
        }
        ended
    }

    pub(super) fn is_outdated(&self, cookie: &[u8]) -> bool {
        self.refresher.is_outdated(cookie)
    }
}
