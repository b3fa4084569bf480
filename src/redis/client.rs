//! The client: numbers for commands, a limit for all of them, and the topology that sends them.

use super::cluster::Cluster;
use super::command::Command;
use super::config::{Config, Topology as Servers};
use super::failure::Failure;
use super::health::{Health, HealthMonitor};
use super::load::Load;
use super::output::{Outbox, Output, RequestId, StreamId};
use super::request::Request;
use super::sentinel::Sentinel;
use super::single::Single;
use super::topology::Topology;
use crate::time::Timestamp;

/// A client of one Redis: a server, what Sentinels watch, or a Cluster.
///
/// After each call, take [`next_output`](Self::next_output) until there is none. `now` should be of a
/// clock that is not set: deadlines move with it.
pub struct Client {
    topology: Box<dyn Topology>,
    out: Outbox,
    requests: u64,
    health: HealthMonitor,
    /// The time of the last call, which is when its events happened.
    now: Timestamp,
}

impl Client {
    /// A client without a connection: it opens one for the first command. `seed` is for the delays of
    /// reconnects and should be another one in every client.
    pub fn new(config: &Config, seed: u64) -> Self {
        let topology: Box<dyn Topology> = match &config.topology {
            Servers::Single(endpoint) => Box::new(Single::new(endpoint, config, seed)),
            Servers::Sentinel { master_name, sentinels, credentials } => {
                Box::new(Sentinel::new(master_name, sentinels, credentials.as_ref(), config, seed))
            }
            Servers::Cluster { seeds } => Box::new(Cluster::new(seeds, config, seed)),
        };
        Self {
            topology,
            out: Outbox::default(),
            requests: 0,
            health: HealthMonitor::default(),
            now: Timestamp::from_secs(0),
        }
    }

    /// Sends a command. [`Output::Done`] tells the outcome, at the latest after `command_timeout`.
    pub fn send(&mut self, command: Command, now: Timestamp) -> RequestId {
        self.now = now;
        self.requests = self.requests.wrapping_add(1);
        let request = Request::new(RequestId(self.requests), command, now);
        let id = request.id;
        let size = Load { requests: 1, bytes: request.size() };
        if self.topology.load().and(size).is_too_much() {
            // What is overdue makes room.
            self.topology.wake(now, &mut self.out);
        }
        if self.topology.load().and(size).is_too_much() {
            request.done(Err(Failure::Overloaded), &mut self.out);
        } else {
            self.topology.send(request, now, &mut self.out);
        }
        id
    }

    /// Nobody waits for a command any more. It may run all the same; its outcome is not told, unless it
    /// is an output already.
    pub fn cancel(&mut self, request: RequestId) {
        self.topology.cancel(request);
    }

    /// The host opened a stream.
    pub fn opened(&mut self, stream: StreamId) {
        self.topology.opened(stream, &mut self.out);
    }

    /// Bytes came from a stream, split anywhere.
    pub fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp) {
        self.now = now;
        self.topology.received(stream, bytes, now, &mut self.out);
    }

    /// The other side ended a stream, or it could not be opened. Not needed after [`Output::Close`], and no harm then.
    pub fn closed(&mut self, stream: StreamId, now: Timestamp) {
        self.now = now;
        self.topology.closed(stream, Failure::Lost, now, &mut self.out);
    }

    /// A stream ended that never reached the other side, for this reason: an operator reads it.
    pub fn not_connected(&mut self, stream: StreamId, reason: String, now: Timestamp) {
        self.now = now;
        self.topology.closed(stream, Failure::NotConnected(reason), now, &mut self.out);
    }

    /// Time passed.
    pub fn wake(&mut self, now: Timestamp) {
        self.now = now;
        self.topology.wake(now, &mut self.out);
    }

    /// When to call [`wake`](Self::wake) at the latest; it changes with every call.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.topology.next_wake()
    }

    /// What to do next. Commands that were sent since the last one are joined to one write.
    pub fn next_output(&mut self) -> Option<Output> {
        let output = self.out.take().or_else(|| {
            self.topology.flush(&mut self.out);
            self.out.take()
        });
        if let Some(Output::Event(event)) = &output {
            self.health.note(event, self.now);
        }
        output
    }

    /// How well Redis is, by the events that were taken.
    pub fn health(&self, now: Timestamp) -> Health {
        self.health.health(now)
    }
}
