//! One server, always the same.
//!
//! ```text
//! commands ──► Connection ──► endpoint ── other replies, READONLY ──► Done
//!                  ▲                          │          │
//!                  │                          │          └── the next stream may lead to another server
//!                  └── LOADING, MASTERDOWN ───┘
//! ```
//!
//! - A server that is ready for no command did not run this one. So the command waits for the next stream, even if it
//!   must not run twice, up to its deadline, as in an outage.
//! - `READONLY` is a reply like others: a command that only reads needs no other server. But if a DNS name stands for
//!   the master, as in a managed Redis, the name may have moved to another server. So a new stream is opened, at most
//!   once a second.
//! - The rest is the state machine of [`Connection`].

use std::rc::Rc;
use std::time::Duration;

use super::config::{ClientConfig, Credentials, Servers};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::handshake::Handshake;
use super::load::Load;
use super::output::{CommandId, Outputs, StreamId};
use super::pending::PendingCommand;
use super::reply::{Reply, ServerError};
use super::router::Router;
use super::settings::Settings;
use super::tracking::Served;
use crate::time::Timestamp;

/// The shortest time between two streams that are drained because the server is read-only.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Single {
    settings: Rc<Settings>,
    node: Connection,
    /// When a stream was last drained because the server is read-only.
    drained_at: Option<Timestamp>,
}

impl Single {
    pub(super) fn new(endpoint: &Endpoint, config: &ClientConfig, seed: u64) -> Self {
        let handshake = Handshake::new(config.credentials.as_ref(), &config.client_name)
            .with_database(config.database)
            .with_tracking(config.tracking.is_some());
        let settings = Settings::new(config, handshake, ServerError::is_unready);
        let settings = Rc::new(settings);
        let node = Connection::new(Some(endpoint.clone()), &settings, seed);
        Self { settings, node, drained_at: None }
    }

    /// Handles the commands that the server did not run.
    fn process(&mut self, now: Timestamp, out: &mut Outputs) {
        let refused = self.node.take_report().refused;
        let (read_only, unready): (Vec<_>, _) = refused.into_iter().partition(is_read_only);
        self.node.requeue(unready, now, out);
        if !read_only.is_empty() && self.drained_at.is_none_or(|drained_at| drained_at.after(PAUSE) <= now) {
            self.drained_at = Some(now);
            self.node.drain(Failure::NotMaster, now, out);
        }
        for mut pending in read_only {
            if let Some(error) = pending.refusal.take() {
                pending.done(Ok(Reply::Error(error)), out);
            }
        }
    }
}

fn is_read_only(pending: &PendingCommand) -> bool {
    pending.refusal.as_ref().is_some_and(ServerError::is_read_only)
}

impl Router for Single {
    fn send(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outputs) {
        self.node.send(pending, now, out);
    }

    fn cancel(&mut self, command: CommandId) {
        self.node.cancel(command);
    }

    fn set_credentials(&mut self, _: Servers, credentials: &Credentials, now: Timestamp, out: &mut Outputs) {
        self.settings.set_credentials(credentials);
        self.node.authenticate(credentials, now, out);
    }

    fn opened(&mut self, stream: StreamId, out: &mut Outputs) {
        self.node.opened(stream, out);
    }

    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp, out: &mut Outputs) {
        self.node.received(stream, bytes, now, out);
        self.process(now, out);
    }

    fn closed(&mut self, stream: StreamId, why: Failure, now: Timestamp, out: &mut Outputs) {
        self.node.closed(stream, why, now, out);
    }

    fn wake(&mut self, now: Timestamp, out: &mut Outputs) {
        self.node.wake(now, out);
    }

    fn tracks(&self, _: &[u8]) -> Option<StreamId> {
        self.node.tracks()
    }

    fn serves(&mut self, _: &[u8], stream: StreamId, now: Timestamp) -> Served {
        self.node.serves(stream, now)
    }

    fn next_wake(&self) -> Option<Timestamp> {
        self.node.next_wake()
    }

    fn flush(&mut self, out: &mut Outputs) {
        self.node.flush(out);
    }

    fn load(&self) -> Load {
        self.node.load()
    }
}
