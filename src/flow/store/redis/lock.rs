//! The lock in Redis that allows one proxy to use a refresh token. oauth2-proxy uses the same key.
//!
//! ```text
//! <ticket id>.lock = <22 random characters>     SET NX PX; renewed and released only by the worker that wrote them
//!                  = signed out                 SETEX; tells the worker that held it to delete what it saved
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
use crate::session::ticket::TicketId;

/// The value of a lock that a sign-out took. It is no worker's token.
const SIGNED_OUT: &[u8] = b"signed out";

/// How long a sign-out holds the lock: longer than any refresh that was under way.
const SIGNED_OUT_PERIOD: Duration = Duration::from_secs(60);

/// The lock of one ticket. This worker holds it after [`Lock::try_acquire`] returned true, or [`Lock::acquire`]
/// succeeded.
pub(super) struct Lock<I> {
    io: I,
    key: Vec<u8>,
    token: String,
}

impl<I: Io> Lock<I> {
    pub(super) fn new(io: &I, ticket: &TicketId) -> Result<Self, Unavailable> {
        let token = URL_SAFE_NO_PAD.encode(io.random::<16>()?);
        Ok(Self { io: io.clone(), key: ticket.lock_key(), token })
    }

    /// Acquires the lock if it is free. False if another worker holds it.
    pub(super) async fn try_acquire(&self) -> Result<bool, Unavailable> {
        let command = Command::lock(&self.key, self.token.as_bytes(), LEASE);
        match self.io.redis(command).await {
            Ok(Reply::Status(_)) => Ok(true),
            Ok(Reply::Nil) => Ok(false),
            // Redis may have executed the command although its reply got lost. Then the token in the lock is ours.
            Err(Failure::Lost | Failure::Timeout) => self.renew().await,
            _ => Err(Unavailable::Redis),
        }
    }

    /// Acquires the lock. If its holder keeps it for longer than `PATIENCE`, takes it by force.
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

    /// Takes the lock by force, and tells each other holder by the value that the session has ended.
    pub(super) async fn seize(&self) -> Result<(), Unavailable> {
        match self.io.redis(Command::setex(&self.key, SIGNED_OUT_PERIOD, SIGNED_OUT)).await {
            Ok(Reply::Status(_)) => Ok(()),
            _ => Err(Unavailable::Redis),
        }
    }

    /// Whether a sign-out has the lock.
    pub(super) async fn is_seized(&self) -> bool {
        matches!(self.io.redis(Command::get(&self.key)).await, Ok(Reply::Bulk(value)) if value == SIGNED_OUT)
    }

    /// Whether a refresh or a sign-out holds the lock.
    pub(super) async fn is_held(&self) -> Result<bool, Unavailable> {
        match self.io.redis(Command::get(&self.key)).await {
            Ok(Reply::Bulk(_)) => Ok(true),
            Ok(Reply::Nil) => Ok(false),
            _ => Err(Unavailable::Redis),
        }
    }

    /// Renews the lock until `work` is done. If the lock is lost all the same, the work goes on: the provider has
    /// received the grant, and it cannot be taken back.
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

    /// Holds the lock for a lease from now. False if this worker no longer holds it.
    async fn renew(&self) -> Result<bool, Unavailable> {
        held(self.io.redis(Command::renew_lock(&self.key, self.token.as_bytes(), LEASE)).await)
    }

    /// Releases the lock. False if this worker no longer holds it. Without an answer from Redis, the lock ends with its
    /// lease.
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
