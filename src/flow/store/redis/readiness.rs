//! Whether Redis executes the commands that sessions need (`/ready`).
//!
//! `PING` is not enough: if `SETEX` is renamed or not allowed, no user can sign in. So each command is tried on a key
//! that lives for a few seconds.
//!
//! ```text
//! <cookie name>-ready-<number>     SET NX PX, EVAL (GET, PEXPIRE), SETEX or PSETEX, GET, DEL
//! <cookie name>-ready-<others>     DEL, because one node of a Cluster refuses some keys
//! ```
//!
//! A state that passes by itself and still allows sessions to be read does not make a proxy unready: Redis is full,
//! cannot write to its disk, or is a replica for a moment.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};

use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::store::session_cookie::SessionCookie;
use crate::flow::util::single_flight::SingleFlight;
use crate::redis::{Command, Failure, Reply};
use crate::time::Timestamp;

/// How long a positive answer is reused.
const GOOD: Duration = Duration::from_secs(1);

/// How long the filter is not ready after a server redirected a key: it is one node of a Cluster, which does not have
/// every session.
const MOVED: Duration = Duration::from_secs(60);

/// How long the key lives if its `DEL` is lost.
const LIFE: Duration = Duration::from_secs(10);

/// How long the commands may take. Redis has just answered `PING`, so a part of a Cluster may be away if they take
/// longer, and this proxy stays ready.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many other keys are tried.
const OTHERS: usize = 3;

/// Tries the commands, once for all requests that ask at the same time.
pub(super) struct Readiness<I> {
    io: I,
    cookie: Rc<SessionCookie>,
    good_at: Cell<Option<Timestamp>>,
    moved_at: Cell<Option<Timestamp>>,
    probes: SingleFlight<Result<(), Unavailable>>,
}

impl<I: Io> Readiness<I> {
    pub(super) fn new(cookie: &Rc<SessionCookie>, io: &I) -> Self {
        Self {
            io: io.clone(),
            cookie: Rc::clone(cookie),
            good_at: Cell::default(),
            moved_at: Cell::default(),
            probes: SingleFlight::default(),
        }
    }

    /// Whether Redis executes all commands. The answer may be a second old.
    pub(super) async fn check(self: &Rc<Self>) -> Result<(), Unavailable> {
        let now = self.io.now();
        if self.good_at.get().is_some_and(|at| at.was_within(GOOD, now)) {
            return Ok(());
        }
        let readiness = Rc::clone(self);
        let probe = self.probes.get(b"", || Box::pin(async move { readiness.probe().await }));
        probe.await
    }

    async fn probe(&self) -> Result<(), Unavailable> {
        let keys = (0..=OTHERS).map(|_| self.probe_key()).collect::<Result<Vec<_>, _>>()?;
        let Some((key, others)) = keys.split_first() else { return Ok(()) };
        let value = b"ready";
        // `PSETEX` if `cookie_expire` has a fraction of a second, as for sessions.
        let life = LIFE.saturating_add(Duration::from_nanos(self.cookie.expire().subsec_nanos().into()));
        let mut commands = vec![
            Command::lock(key, value, LIFE),
            Command::renew_lock(key, value, LIFE),
            Command::setex(key, life, value),
            Command::get(key),
            // The script that releases a lock uses it.
            Command::del(key),
        ];
        commands.extend(others.iter().map(|key| Command::del(key)));
        // The commands are sent at once, and Redis executes them in this order.
        let replies = join_all(commands.into_iter().map(|command| self.io.redis(command)));
        let Either::Left((replies, _)) = select(pin!(replies), pin!(self.io.sleep(PATIENCE))).await else {
            return Ok(());
        };
        let now = self.io.now();
        if replies.iter().any(is_moved) {
            self.moved_at.set(Some(now));
        }
        let is_elsewhere = self.moved_at.get().is_some_and(|at| at.was_within(MOVED, now));
        if is_elsewhere || !replies.iter().all(is_good) {
            return Err(Unavailable::Redis);
        }
        self.good_at.set(Some(now));
        Ok(())
    }

    /// The key begins with the name of the cookie, because an ACL may allow only such keys.
    fn probe_key(&self) -> Result<Vec<u8>, Unavailable> {
        let number = u64::from_le_bytes(self.io.random()?);
        Ok([self.cookie.name(), format!("-ready-{number:016x}").as_bytes()].concat())
    }
}

fn is_moved(reply: &Result<Reply, Failure>) -> bool {
    matches!(reply, Ok(Reply::Error(error)) if matches!(error.code(), "MOVED" | "ASK"))
}

fn is_good(reply: &Result<Reply, Failure>) -> bool {
    match reply {
        Ok(Reply::Error(error)) => matches!(error.code(), "OOM" | "MISCONF" | "READONLY" | "NOREPLICAS"),
        // Redis answered `PING` a moment ago; without a reply here, only a part of a Cluster may be away.
        Ok(_) | Err(_) => true,
    }
}
