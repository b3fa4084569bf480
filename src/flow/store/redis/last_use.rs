//! When sessions in Redis were last used (`session_idle_timeout`): the time to live of their keys says so.
//!
//! ```text
//! request that uses a session ─┬─ this worker has written that a moment ago ────────────► nothing
//!                              ├─ another worker of this Envoy has ─────────────────────► nothing
//!                              └─ else PEXPIRE <key> <session_idle_timeout>, in a task of its own
//! ```
//!
//! A moment is a twentieth of the timeout. So Redis gets a write of each Envoy in that time, however many requests there
//! are, and a session may end by that much before its timeout. It never ends after it.
//!
//! Redis ends the session, so it is over at all proxies at once. If `PEXPIRE` gets no answer, the request goes on, and the
//! next request tries again: the session has the time to live that it had.
//!
//! ```text
//! shared data of the workers:   oauth2-session/last-uses/NN      NN = first byte of the id: 256 keys
//! value: entry*                 oldest first, at most 128
//! entry: id[16] | time i64      id = beginning of the SHA-256 of the key in Redis; seconds, little endian
//! ```

use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::recent_writes::PERIOD;
use crate::config::Config;
use crate::flow::io::Io;
use crate::flow::util::lru::BoundedLru;
use crate::redis::{Command, Reply};
use crate::session::SessionInfo;
use crate::session::ticket::TicketId;
use crate::time::Timestamp;

/// How many of them the workers share under one key.
const SHARED: usize = 128;

/// How many bytes a shared entry has, and its id.
const ENTRY: usize = 24;
const ID: usize = 16;

/// When a use that Redis did not take is written again at the earliest.
const RETRY: Duration = Duration::from_secs(1);

/// Writes the last uses of sessions.
pub(super) struct LastUses<I> {
    io: I,
    config: Rc<Config>,
    written: BoundedLru<Written>,
}

/// A use that this worker has written, or knows to be written.
#[derive(Clone)]
struct Written {
    id: TicketId,
    at: Timestamp,
    /// How long no other use has to be written.
    period: Duration,
    /// When the session ends without another use.
    ends: Timestamp,
}

impl<I: Io> LastUses<I> {
    pub(super) fn new(config: &Rc<Config>, io: &I) -> Self {
        let written = BoundedLru::new(config.cookie.session_cache.most_sessions());
        Self { io: io.clone(), config: Rc::clone(config), written }
    }

    /// Whether idle sessions end.
    pub(super) fn is_on(&self) -> bool {
        self.config.lifetimes.idle.is_some()
    }

    /// When the session ends without another use, as far as this worker knows.
    pub(super) fn end(&self, id: &TicketId) -> Option<Timestamp> {
        self.written.get(id.redis_key()).map(|written| written.ends)
    }

    /// Whether the session is not idle, as far as this worker knows. Otherwise only Redis can tell.
    pub(super) fn is_alive(&self, id: &TicketId) -> bool {
        !self.is_on() || self.end(id).is_some_and(|end| self.io.now() < end)
    }

    /// How long a session that was saved at this time goes on without another use, as far as this worker knows. Zero if
    /// it is over.
    pub(super) fn left(&self, id: &TicketId, saved_at: Timestamp) -> Duration {
        let Some(idle) = self.config.lifetimes.idle else { return Duration::MAX };
        let unused = saved_at.after(idle);
        self.end(id).map_or(unused, |end| end.max(unused)).since(self.io.now())
    }

    /// A request uses the session. Writes that if no worker of this Envoy has done so a moment ago.
    pub(super) fn note(self: &Rc<Self>, id: &TicketId, session: &SessionInfo) {
        let now = self.io.now();
        let is_written = |written: Rc<Written>| written.at.was_within(written.period, now);
        if self.written.get(id.redis_key()).is_some_and(is_written) {
            return;
        }
        let period = self.config.lifetimes.write_period();
        let shared = SharedUse::new(id);
        let at = shared.at(&self.io).filter(|at| at.was_within(period, now));
        let lifetimes = &self.config.lifetimes;
        let ends = at.unwrap_or(now).after(lifetimes.time_to_live(session, now));
        let ends = lifetimes.end(session, false).map_or(ends, |end| end.min(ends));
        let written = Written { id: id.clone(), at: at.unwrap_or(now), period, ends };
        self.remember(&written);
        if at.is_none() {
            let last_uses = Rc::clone(self);
            self.io.spawn(async move { last_uses.write(written, &shared).await });
        }
    }

    async fn write(&self, written: Written, shared: &SharedUse) {
        match self.expire(&written).await {
            Some(true) => shared.set(&self.io, written.at),
            // It has just ended.
            Some(false) => self.written.remove(written.id.redis_key()),
            None => self.remember(&Written { period: RETRY.min(written.period), ..written }),
        }
    }

    /// Sets the time to live of a session. Whether Redis has the session; `None` if it did not answer.
    async fn expire(&self, written: &Written) -> Option<bool> {
        let left = written.ends.since(self.io.now());
        match self.io.redis(Command::expire(written.id.redis_key(), left)).await {
            Ok(Reply::Integer(number)) => Some(number == 1),
            _ => None,
        }
    }

    /// Another server is the master now, and may lack the last times to live. So the uses of the last minute are written
    /// again: a session must not end early because of that, and not go on for longer.
    pub(super) async fn repeat(&self) {
        let now = self.io.now();
        for written in self.written.all() {
            if written.at.was_within(PERIOD, now) && written.ends > self.io.now() {
                self.expire(&written).await;
            }
        }
    }

    fn remember(&self, written: &Written) {
        self.written.insert(written.id.redis_key(), &Rc::new(written.clone()), 0);
    }
}

/// What the workers of an Envoy know of the last use of one session.
struct SharedUse {
    key: String,
    id: [u8; ID],
}

impl SharedUse {
    fn new(id: &TicketId) -> Self {
        let digest: [u8; 32] = Sha256::digest(id.redis_key()).into();
        let mut id = [0; ID];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        let [first, ..] = id;
        Self { key: format!("oauth2-session/last-uses/{first:02x}"), id }
    }

    /// When a worker wrote it last.
    fn at<I: Io>(&self, io: &I) -> Option<Timestamp> {
        let shared = io.shared(&self.key);
        let entry = shared.value.chunks_exact(ENTRY).rev().find(|entry| entry.starts_with(&self.id))?;
        let secs: [u8; 8] = *entry.last_chunk()?;
        Some(Timestamp::from_secs(i64::from_le_bytes(secs)))
    }

    /// Tells the other workers. If another one writes at the same time, this is left out: then Redis gets one more command.
    fn set<I: Io>(&self, io: &I, at: Timestamp) {
        let shared = io.shared(&self.key);
        let others = shared.value.chunks_exact(ENTRY).filter(|entry| !entry.starts_with(&self.id));
        let mut entries: Vec<&[u8]> = others.collect();
        let secs = at.secs().to_le_bytes();
        let own = [self.id.as_slice(), &secs].concat();
        entries.push(&own);
        let oldest = entries.len().saturating_sub(SHARED);
        let value = entries.get(oldest..).unwrap_or_default().concat();
        let _ = io.set_shared(&self.key, &value, shared.version);
    }
}
