//! The client: numbers for commands, a limit for all of them, and the topology that sends them.

use super::cluster::Cluster;
use super::command::Command;
use super::config::{ClientConfig, Credentials, Servers, Topology};
use super::failure::Failure;
use super::health::{Health, HealthMonitor};
use super::load::Load;
use super::output::{CommandId, Output, Outputs, StreamId};
use super::pending::PendingCommand;
use super::router::Router;
use super::sentinel::Sentinel;
use super::single::Single;
use super::tracking::Served;
use crate::time::Timestamp;

/// A client of one Redis: a single server, a master that Sentinels watch, or a Cluster.
///
/// After each call, take [`next_output`](Self::next_output) until it is `None`. `now` should come from a monotonic
/// clock: deadlines move with it.
pub struct Client {
    router: Box<dyn Router>,
    out: Outputs,
    commands: u64,
    health: HealthMonitor,
    /// The time of the last call, which is when its events happened.
    now: Timestamp,
}

impl Client {
    /// A client without a connection: it opens one for the first command. `seed` varies the delays of reconnects and
    /// should differ between clients.
    pub fn new(config: &ClientConfig, seed: u64) -> Self {
        let router: Box<dyn Router> = match &config.topology {
            Topology::Single(endpoint) => Box::new(Single::new(endpoint, config, seed)),
            Topology::Sentinel { master_name, sentinels, credentials } => {
                Box::new(Sentinel::new(master_name, sentinels, credentials.as_ref(), config, seed))
            }
            Topology::Cluster { seeds } => Box::new(Cluster::new(seeds, config, seed)),
        };
        Self {
            router,
            out: Outputs::default(),
            commands: 0,
            health: HealthMonitor::default(),
            now: Timestamp::from_secs(0),
        }
    }

    /// Sends a command. [`Output::Done`] has its outcome, at the latest after `command_timeout`.
    pub fn send(&mut self, command: Command, now: Timestamp) -> CommandId {
        self.now = now;
        self.commands = self.commands.wrapping_add(1);
        let pending = PendingCommand::new(CommandId(self.commands), command, now);
        let id = pending.id;
        let size = Load { commands: 1, bytes: pending.size() };
        if self.router.load().and(size).is_too_much() {
            // Commands whose time is over make room.
            self.router.wake(now, &mut self.out);
        }
        if self.router.load().and(size).is_too_much() {
            pending.done(Err(Failure::Overloaded), &mut self.out);
        } else {
            self.router.send(pending, now, &mut self.out);
        }
        id
    }

    /// The caller no longer waits for a command. Redis may still run it. Its outcome is dropped, unless it is an
    /// output already.
    pub fn cancel(&mut self, command: CommandId) {
        self.router.cancel(command);
    }

    /// The stream by which the server of a key tells of its changes; `None` if it does not.
    pub fn tracks(&self, key: &[u8]) -> Option<StreamId> {
        self.router.tracks(key)
    }

    /// Whether a value that came by this stream ([`Command::tracked`]) is still valid, if no [`Output::Changed`] named its
    /// key since. If not, the server has to be asked.
    pub fn serves(&mut self, key: &[u8], stream: StreamId, now: Timestamp) -> Served {
        self.router.serves(key, stream, now)
    }

    /// The credentials of these servers have changed.
    pub fn set_credentials(&mut self, of: Servers, credentials: &Credentials, now: Timestamp) {
        self.now = now;
        self.router.set_credentials(of, credentials, now, &mut self.out);
    }

    /// The host opened a stream.
    pub fn opened(&mut self, stream: StreamId) {
        self.router.opened(stream, &mut self.out);
    }

    /// Bytes came from a stream, split anywhere.
    pub fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp) {
        self.now = now;
        self.router.received(stream, bytes, now, &mut self.out);
    }

    /// The other side closed a stream, or it could not be opened. After [`Output::Close`] this call is not needed,
    /// and has no effect.
    pub fn closed(&mut self, stream: StreamId, now: Timestamp) {
        self.now = now;
        self.router.closed(stream, Failure::Lost, now, &mut self.out);
    }

    /// A stream ended that never reached the other side. An operator reads the reason.
    pub fn not_connected(&mut self, stream: StreamId, reason: String, now: Timestamp) {
        self.now = now;
        self.router.closed(stream, Failure::NotConnected(reason), now, &mut self.out);
    }

    /// Time passed.
    pub fn wake(&mut self, now: Timestamp) {
        self.now = now;
        self.router.wake(now, &mut self.out);
    }

    /// When to call [`wake`](Self::wake) at the latest; it changes with every call.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.router.next_wake()
    }

    /// What the host has to do next. Commands that were sent meanwhile are joined to one write.
    pub fn next_output(&mut self) -> Option<Output> {
        let output = self.out.take().or_else(|| {
            self.router.flush(&mut self.out);
            self.out.take()
        });
        if let Some(Output::Event(event)) = &output {
            self.health.note(event, self.now);
        }
        output
    }

    /// How well Redis is, by the events that [`next_output`](Self::next_output) gave.
    pub fn health(&self, now: Timestamp) -> Health {
        self.health.health(now)
    }
}
