//! One server, always the same.
//!
//! ```text
//! commands ──► Connection ──► endpoint
//! ```
//!
//! There is nothing to decide: the whole state machine is the one of [`Connection`].

use std::rc::Rc;

use super::config::{Config, Endpoint};
use super::connection::Connection;
use super::handshake::Handshake;
use super::output::{Outbox, RequestId, StreamId};
use super::request::Request;
use super::requests::Load;
use super::settings::Settings;
use super::topology::Topology;
use crate::time::Timestamp;

pub(super) struct Single {
    node: Connection,
}

impl Single {
    pub(super) fn new(endpoint: &Endpoint, config: &Config, seed: u64) -> Self {
        let handshake = Handshake::new(config.credentials.as_ref(), &config.client_name);
        // An error is a reply: there is no other server to send the command to.
        let settings = Settings::new(config, handshake.with_database(config.database), |_| false);
        Self { node: Connection::new(Some(endpoint.clone()), &Rc::new(settings), seed) }
    }
}

impl Topology for Single {
    fn send(&mut self, request: Request, now: Timestamp, out: &mut Outbox) {
        self.node.send(request, now, out);
    }

    fn cancel(&mut self, request: RequestId) {
        self.node.cancel(request);
    }

    fn opened(&mut self, stream: StreamId, out: &mut Outbox) {
        self.node.opened(stream, out);
    }

    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp, out: &mut Outbox) {
        self.node.received(stream, bytes, now, out);
    }

    fn closed(&mut self, stream: StreamId, now: Timestamp, out: &mut Outbox) {
        self.node.closed(stream, now, out);
    }

    fn wake(&mut self, now: Timestamp, out: &mut Outbox) {
        self.node.wake(now, out);
    }

    fn next_wake(&self) -> Option<Timestamp> {
        self.node.next_wake()
    }

    fn flush(&mut self, out: &mut Outbox) {
        self.node.flush(out);
    }

    fn load(&self) -> Load {
        self.node.load()
    }
}
