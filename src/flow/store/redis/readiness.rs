//! Whether Redis takes what sessions need: `/ready`.
//!
//! A `PING` says little: `SETEX` may be renamed or not be allowed, and then nobody can sign in. So every command that
//! the filter sends is tried on a key of its own, which lives for a moment.
//!
//! ```text
//! <cookie name>-ready-<digits>     SET NX PX, EVAL (GET, PEXPIRE), SETEX or PSETEX, GET, DEL
//!                 other digits     DEL: a node of a Cluster has no say over some of them
//! ```
//!
//! What passes by itself, and lets sessions be read meanwhile, is no reason to take requests elsewhere: a Redis that is
//! full, or cannot save, or is a replica for a moment.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};

use crate::flow::io::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::store::session_cookie::SessionCookie;
use crate::flow::util::single_flight::Together;
use crate::redis::{Command, Failure, Reply};
use crate::time::Timestamp;

/// So long a good answer is that to all who ask.
const GOOD: Duration = Duration::from_secs(1);

/// So long after a server named another one for a key, some sessions are not here.
const MOVED: Duration = Duration::from_secs(60);

/// How long the key lives, should its end be lost.
const LIFE: Duration = Duration::from_secs(10);

/// Who answers none of them in this time, has just answered a `PING`: maybe a part of a Cluster is away.
const PATIENCE: Duration = Duration::from_millis(500);

/// So many other keys are tried.
const OTHERS: usize = 3;

/// Tries the commands, once for all who ask at the same time.
pub(super) struct Readiness<I> {
    io: I,
    cookie: Rc<SessionCookie>,
    good_at: Cell<Option<Timestamp>>,
    moved_at: Cell<Option<Timestamp>>,
    probes: Together<Result<(), Unavailable>>,
}

impl<I: Io> Readiness<I> {
    pub(super) fn new(cookie: &Rc<SessionCookie>, io: &I) -> Self {
        Self {
            io: io.clone(),
            cookie: Rc::clone(cookie),
            good_at: Cell::default(),
            moved_at: Cell::default(),
            probes: Together::default(),
        }
    }

    /// Whether Redis takes all that is asked of it, as of a moment ago.
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
        // `PSETEX` if `cookie_expire` has a fraction of a second: as sessions are written.
        let life = LIFE.saturating_add(Duration::from_nanos(self.cookie.expire().subsec_nanos().into()));
        let mut commands = vec![
            Command::lock(key, value, LIFE),
            Command::renew_lock(key, value, LIFE),
            Command::setex(key, life, value),
            Command::get(key),
            // What gives a lock back is a script with this in it.
            Command::del(key),
        ];
        commands.extend(others.iter().map(|key| Command::del(key)));
        // Sent at once, and done in this order.
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

    /// Under the name of the cookie, which is what an ACL may allow.
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
        // Somebody answered a moment ago; a part of a Cluster may be away all the same.
        Ok(_) | Err(_) => true,
    }
}
