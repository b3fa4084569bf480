//! The index of sessions by user, beside the sessions in Redis (`redis_session_index`).
//!
//! ```text
//! <cookie name>-user.<32 hex digits>     a hash: <ticket id> ── "<when it began> <when it ends>", in Unix seconds
//! <cookie name>-sid.<32 hex digits>      the same, for the sessions that one session at the provider has given
//!
//! digits = the first 16 bytes of HMAC-SHA-256(cookie secret, …, "index", "user", issuer, subject)
//!                                                        or …, "index", "sid", issuer, sid
//! ```
//!
//! Redis alone tells neither who a user is nor what is in a session: the names are keyed hashes, and a ticket's id leads to
//! the session, but only the browser has the secret that decrypts it. No ticket has such a name, because a ticket's ends in
//! 32 hex digits after a hyphen.
//!
//! An entry is written with the sign-in, and when a worker first uses a session or finds it renewed. So sessions of
//! oauth2-proxy, and those from before the option was set, get theirs with their next request. Without the index, sessions
//! go on as before: only what asks for a user's sessions fails.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use log::{info, warn};

use crate::cookie::SecretId;
use crate::flow::io::{Count, Io};
use crate::flow::outcome::Unavailable;
use crate::flow::principal::{Owner, Principal};
use crate::flow::store::session_cookie::SessionCookie;
use crate::flow::user::User;
use crate::flow::util::lru::BoundedLru;
use crate::redis::{Command, FailoverEvent, Failure, Reply};
use crate::session::SessionInfo;
use crate::session::ticket::TicketId;
use crate::time::Timestamp;

use super::recent_writes::PERIOD;

/// How long a worker writes no entries after Redis refused one.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// How many seconds an entry stays that tries whether Redis takes one.
const TRY_LIFE: i64 = 10;

/// How long an entry stays if sessions never end (`cookie_expire` is 0).
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A session of a user, as the index knows it.
pub(in crate::flow) struct IndexEntry {
    pub(in crate::flow) id: TicketId,
    /// When the user signed in, in Unix seconds. For a session that the index did not know from its beginning, it is the
    /// time of the last refresh before it was added.
    pub(in crate::flow) began: i64,
}

/// An entry that this worker has written.
struct Noted {
    at: Timestamp,
    /// `created_at` of the session, which a refresh changes.
    created_at: Option<Timestamp>,
    /// The cookie secret that was current. With another one, the entry has another key.
    secret: SecretId,
}

/// What of a session its entries need.
struct Indexed {
    keys: Vec<Vec<u8>>,
    /// When its user signed in, as far as the session says so.
    began: Option<Timestamp>,
    created_at: Option<Timestamp>,
}

/// Whose sessions are asked for.
#[derive(Clone, Copy)]
pub(in crate::flow) enum Whose<'a> {
    /// All of a user.
    User(&'a User),
    /// Those that one session at the provider has given.
    Sid { issuer: &'a str, sid: &'a str },
}

/// Writes and reads the index.
pub(super) struct SessionIndex<I> {
    io: I,
    cookie: Rc<SessionCookie>,
    noted: BoundedLru<Noted>,
    /// When Redis refused an entry.
    refused_at: Cell<Option<Timestamp>>,
    /// When a failover may have lost the last entries.
    failed_over_at: Cell<Option<Timestamp>>,
}

impl<I: Io> SessionIndex<I> {
    /// Remembers this many entries as written. An entry that it forgot is written again.
    pub(super) fn new(cookie: &Rc<SessionCookie>, entries: usize, io: &I) -> Rc<Self> {
        let index = Rc::new(Self {
            io: io.clone(),
            cookie: Rc::clone(cookie),
            noted: BoundedLru::new(entries),
            refused_at: Cell::default(),
            failed_over_at: Cell::default(),
        });
        let weak = Rc::downgrade(&index);
        io.watch_redis(move |event| {
            if let (Some(index), FailoverEvent::NewMaster) = (weak.upgrade(), event) {
                index.failed_over_at.set(Some(index.io.now()));
            }
        });
        index
    }

    /// Adds a session that a request has loaded, unless this worker has added it as it is now. The request does not wait
    /// for it.
    pub(super) fn note(self: &Rc<Self>, id: &TicketId, principal: &Principal) {
        if self.is_noted(id, &principal.session) || self.is_refused() {
            return;
        }
        let (index, id, session) = (Rc::clone(self), id.clone(), Indexed::of(&self.cookie, principal));
        // Requests that come meanwhile need not add it too.
        index.remember(&id, &session);
        self.io.spawn(async move { index.write(&id, &session).await });
    }

    /// Adds a session of which the browser has no cookie yet. If this fails, the session's first request adds it.
    pub(super) async fn add(&self, id: &TicketId, principal: &Principal) {
        if !self.is_refused() {
            self.write(id, &Indexed::of(&self.cookie, principal)).await;
        }
    }

    async fn write(&self, id: &TicketId, session: &Indexed) {
        let now = self.io.now();
        let began = session.began.unwrap_or(now);
        let expire = Some(self.cookie.expire()).filter(|expire| !expire.is_zero()).unwrap_or(LONGEST);
        let replies = join_all(session.keys.iter().map(|key| {
            // The session may have been saved just now, long after it was created. It does not last longer than this.
            let ends = now.after(expire).secs();
            self.io.redis(Command::add_to_index(key, id.redis_key(), now.secs(), began.secs(), ends))
        }));
        let written: Result<Vec<Reply>, Unavailable> =
            replies.await.into_iter().map(|reply| self.accepted(reply)).collect();
        if written.is_err() {
            self.noted.remove(id.redis_key());
            self.io.count(Count::IndexFailed);
            return;
        }
        self.remember(id, session);
        self.is_accepted();
    }

    /// Writes an entry that no user has, if Redis refused the last one. The index may lack sessions as long as Redis
    /// refuses entries, so it is not read.
    async fn try_to_write(&self) -> Result<(), Unavailable> {
        let key = [self.cookie.name(), b"-user.try"].concat();
        let now = self.io.now().secs();
        let command = Command::add_to_index(&key, b"try", now, now, now.saturating_add(TRY_LIFE));
        self.accepted(self.io.redis(command).await)?;
        self.is_accepted();
        Ok(())
    }

    fn is_accepted(&self) {
        if self.refused_at.take().is_some() {
            info!("session index: Redis executes its commands again");
        }
    }

    /// A reply that is no error. If Redis refuses a command, the log says so once, until it accepts one again.
    pub(super) fn accepted(&self, reply: Result<Reply, Failure>) -> Result<Reply, Unavailable> {
        match reply {
            // It is full, loads its data, or has no replicas: this passes.
            Ok(Reply::Error(error)) if !matches!(error.code(), "ERR" | "NOPERM" | "WRONGTYPE") => {
                Err(Unavailable::Redis)
            }
            Ok(Reply::Error(error)) => {
                if self.refused_at.replace(Some(self.io.now())).is_none() {
                    warn!(
                        "session index: Redis refuses a command: {error}; sign-ins go on, but sessions cannot be listed \
                         or ended by user until the ACL allows the commands that docs/stores.md lists"
                    );
                }
                Err(Unavailable::NoIndex)
            }
            Ok(reply) => Ok(reply),
            Err(_) => Err(Unavailable::Redis),
        }
    }

    fn is_refused(&self) -> bool {
        self.refused_at.get().is_some_and(|at| at.was_within(REFUSED_PAUSE, self.io.now()))
    }

    fn remember(&self, id: &TicketId, session: &Indexed) {
        let secret = self.cookie.secrets().current().id();
        let noted = Noted { at: self.io.now(), created_at: session.created_at, secret };
        self.noted.insert(id.redis_key(), &Rc::new(noted), 0);
    }

    /// Whether this worker has written the entry of the session as it is now, and no failover may have lost it.
    fn is_noted(&self, id: &TicketId, session: &SessionInfo) -> bool {
        let Some(noted) = self.noted.get(id.redis_key()) else { return false };
        let may_be_lost = self
            .failed_over_at
            .get()
            .is_some_and(|failover| noted.at <= failover && failover.since(noted.at) < PERIOD);
        let has_its_key = noted.secret == self.cookie.secrets().current().id();
        noted.created_at >= session.created_at && has_its_key && !may_be_lost
    }

    /// The sessions of a user or of a session at the provider, in no order. Some may have ended meanwhile.
    pub(super) async fn read(&self, whose: &Whose<'_>) -> Result<Vec<IndexEntry>, Unavailable> {
        if self.refused_at.get().is_some() {
            self.try_to_write().await?;
        }
        let keys = whose.keys(&self.cookie);
        let replies = join_all(keys.iter().map(|key| self.io.redis(Command::read_index(key))));
        let mut entries: Vec<IndexEntry> = Vec::new();
        for reply in replies.await {
            let Reply::Array(items) = self.accepted(reply)? else { continue };
            for pair in items.chunks_exact(2) {
                let Some(entry) = self.entry(pair) else { continue };
                if !entries.iter().any(|known| known.id == entry.id) {
                    entries.push(entry);
                }
            }
        }
        Ok(entries)
    }

    /// A name and a value of a hash. Anything else than a ticket of this cookie is not used as a key.
    fn entry(&self, pair: &[Reply]) -> Option<IndexEntry> {
        let [Reply::Bulk(id), Reply::Bulk(times)] = pair else { return None };
        let began = times.split(|byte| *byte == b' ').next()?;
        Some(IndexEntry {
            id: TicketId::parse(self.cookie.name(), id)?,
            began: std::str::from_utf8(began).ok()?.parse().ok()?,
        })
    }

    /// Drops sessions that have ended from a user's entries. What is left over has an end.
    pub(super) async fn drop_ended(&self, whose: &Whose<'_>, ended: &[TicketId]) {
        if ended.is_empty() {
            return;
        }
        let ids: Vec<&[u8]> = ended.iter().map(TicketId::redis_key).collect();
        for key in whose.keys(&self.cookie) {
            let _ = self.io.redis(Command::drop_from_index(&key, &ids)).await;
        }
    }
}

impl Indexed {
    fn of(cookie: &SessionCookie, principal: &Principal) -> Self {
        let mut keys = Vec::new();
        if let Some(Owner { user, sid }) = principal.owner.as_deref() {
            keys.extend(Whose::User(user).keys(cookie));
            keys.extend(sid.iter().flat_map(|sid| Whose::Sid { issuer: &user.issuer, sid }.keys(cookie)));
        }
        let session = &principal.session;
        Self { keys, began: session.signed_in_at.or(session.created_at), created_at: session.created_at }
    }
}

impl Whose<'_> {
    /// The keys of the hashes that may have these sessions, one for each cookie secret.
    fn keys(&self, cookie: &SessionCookie) -> Vec<Vec<u8>> {
        let (kind, issuer, name) = match self {
            Self::User(user) => ("user", user.issuer.as_str(), user.subject.as_str()),
            Self::Sid { issuer, sid } => ("sid", *issuer, *sid),
        };
        let hashes = cookie.fingerprints(&["index", kind, issuer, name]);
        let key = |hash: [u8; 32]| {
            let digits: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            [cookie.name(), format!("-{kind}.{digits}").as_bytes()].concat()
        };
        hashes.into_iter().map(key).collect()
    }
}
