//! The lock of a refresh in Redis, which oauth2-proxy takes too: whoever has it may use the refresh token.
//!
//! ```text
//! <ticket id>.lock = <22 characters of our own>      SET NX PX; renewed and released only while it is ours
//!                  = signed out                      SETEX; whoever had it before deletes what he saved
//! ```

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::{Either, select};

use crate::flow::Io;
use crate::flow::outcome::Unavailable;
use crate::flow::store::refresh::{LEASE, PATIENCE, POLL};
use crate::redis::{Command, Failure, Reply};
use crate::session::ticket::Ticket;

/// What stands in the lock of a session that was deleted: nobody's token.
const SIGNED_OUT: &[u8] = b"signed out";

/// How long it stands there: longer than any refresh that was under way.
const SIGNED_OUT_PERIOD: Duration = Duration::from_secs(60);

/// The lock of one ticket, ours where [`Lock::take`] said so.
pub(super) struct Lock<I> {
    io: I,
    key: Vec<u8>,
    token: String,
}

impl<I: Io> Lock<I> {
    pub(super) fn new(io: &I, ticket: &Ticket) -> Result<Self, Unavailable> {
        let token = URL_SAFE_NO_PAD.encode(io.random::<16>()?);
        Ok(Self { io: io.clone(), key: ticket.lock_key(), token })
    }

    /// Takes the lock; false where somebody else has it.
    pub(super) async fn try_acquire(&self) -> Result<bool, Unavailable> {
        let command = Command::lock(&self.key, self.token.as_bytes(), LEASE);
        match self.io.redis(command).await {
            Ok(Reply::Status(_)) => Ok(true),
            Ok(Reply::Nil) => Ok(false),
            // The command may have arrived and its reply got lost: then the token there is ours.
            Err(Failure::Lost | Failure::Timeout) => self.renew().await,
            _ => Err(Unavailable::Redis),
        }
    }

    /// Takes the lock, or waits for who has it, but not for long: then it is taken away from him.
    pub(super) async fn acquire(&self) -> Result<(), Unavailable> {
        let began = self.io.now();
        while !self.try_acquire().await? {
            if !began.was_within(PATIENCE, self.io.now()) {
                return self.seize().await;
            }
            self.io.sleep(POLL).await;
        }
        Ok(())
    }

    /// Takes the lock, whoever has it, and leaves word that the session is deleted.
    pub(super) async fn seize(&self) -> Result<(), Unavailable> {
        match self.io.redis(Command::setex(&self.key, SIGNED_OUT_PERIOD, SIGNED_OUT)).await {
            Ok(Reply::Status(_)) => Ok(()),
            _ => Err(Unavailable::Redis),
        }
    }

    /// Whether somebody who signs out took the lock away.
    pub(super) async fn is_seized(&self) -> bool {
        matches!(self.io.redis(Command::get(&self.key)).await, Ok(Reply::Bulk(value)) if value == SIGNED_OUT)
    }

    /// Whether anybody has the lock: whoever signs out, or whoever refreshes.
    pub(super) async fn is_held(&self) -> Result<bool, Unavailable> {
        match self.io.redis(Command::get(&self.key)).await {
            Ok(Reply::Bulk(_)) => Ok(true),
            Ok(Reply::Nil) => Ok(false),
            _ => Err(Unavailable::Redis),
        }
    }

    /// Does some work, and renews the lock meanwhile. Should it be lost all the same, the work goes on:
    /// a grant that the provider has seen cannot be taken back.
    pub(super) async fn hold_while<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let renewal = pin!(async {
                self.io.sleep(LEASE / 3).await;
                self.renew().await
            });
            match select(work, renewal).await {
                Either::Left((result, _)) => return result,
                Either::Right((_, unfinished)) => work = unfinished,
            }
        }
    }

    async fn renew(&self) -> Result<bool, Unavailable> {
        self.extend(LEASE).await
    }

    /// Keeps the lock for so long from now; false where it is not ours any more.
    pub(super) async fn extend(&self, period: Duration) -> Result<bool, Unavailable> {
        held(self.io.redis(Command::renew_lock(&self.key, self.token.as_bytes(), period)).await)
    }

    /// Gives the lock back; false where it was not ours any more. Where there is no answer, it ends with its lease.
    pub(super) async fn release(&self) -> Result<bool, Unavailable> {
        held(self.io.redis(Command::release_lock(&self.key, self.token.as_bytes())).await)
    }
}

fn held(reply: Result<Reply, Failure>) -> Result<bool, Unavailable> {
    match reply {
        Ok(Reply::Integer(held)) => Ok(held == 1),
        _ => Err(Unavailable::Redis),
    }
}
