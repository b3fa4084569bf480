//! How well Redis is, as one worker knows it from the events of its client. What follows from a disturbance, and for
//! how long, is decided here and nowhere else.
//!
//! ```text
//! Disconnected, ConnectFailed ──────────────────────────► broken ──┐
//!                                                                  ├─► disturbed now
//! Connected: if broken, or within FAILOVER of a disturbance ───────┘
//! MasterChanged ────────────────────────────────────────────────────► one more failover
//! IdleClosed, a first connection ───────────────────────────────────► nothing
//! ```
//!
//! Each period answers one question:
//!
//! - [`SETTLE`], 3 s: may a refresh begin? A worker that was in the middle of one may still have to save its result.
//!   It is asked of all of Redis, and counts from the last disturbance or failover.
//! - [`CATCH_UP`], 5 s: is it believed that a key does not exist? A server that came back or took over may lack it.
//!   It is asked of one server, by its `Connection`; and of all of Redis, if another worker knows of a failover that
//!   this one has not noticed.
//! - [`FAILOVER`], 60 s: does a new connection belong to the disturbance before it? In a failover there are several
//!   connections, one after the other.
//!
//! A disturbance and a failover are two facts and not two values of one: after a failover a connection may break
//! again, and then a refresh waits for the one while a missing key is doubted because of the other.

use std::time::Duration;

use super::output::Event;
use crate::time::Timestamp;

/// How long after a disturbance no refresh begins. Another worker may reconnect later than this one, by at most a
/// second, and then save the session that it got just before. The lock does not help: it could not be renewed.
const SETTLE: Duration = Duration::from_secs(3);

/// How long a server that came back or took over may lack data. Sentinels that began a failover end it in less.
pub(crate) const CATCH_UP: Duration = Duration::from_secs(5);

/// How long a failover may take, until the last of its connections is made.
const FAILOVER: Duration = Duration::from_secs(60);

/// What may lose a write that Redis confirmed, if there are replicas; the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailoverEvent {
    /// A connection ended. Whether another server takes over is found out with the next command.
    Disconnected,
    /// Another server is a master now.
    NewMaster,
}

impl FailoverEvent {
    /// What an event says about writes, if anything.
    pub const fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Disconnected { .. } => Some(Self::Disconnected),
            Event::MasterChanged { .. } => Some(Self::NewMaster),
            _ => None,
        }
    }
}

/// Turns the events of one client into its [`Health`].
#[derive(Debug, Default)]
pub(crate) struct HealthMonitor {
    /// Whether a connection broke or failed, and none was made since.
    is_broken: bool,
    disturbed_at: Option<Timestamp>,
    failovers: u64,
}

impl HealthMonitor {
    /// Something happened. A connection that we closed ourselves, because it was idle, disturbs nothing.
    pub(crate) fn note(&mut self, event: &Event, now: Timestamp) {
        let is_failing_over = self.disturbed_at.is_some_and(|at| now.since(at) < FAILOVER);
        match event {
            Event::Disconnected { .. } | Event::ConnectFailed { .. } => self.is_broken = true,
            Event::Connected { .. } if self.is_broken || is_failing_over => self.is_broken = false,
            Event::MasterChanged { .. } => {
                self.failovers = self.failovers.wrapping_add(1);
                return;
            }
            _ => return,
        }
        self.disturbed_at = Some(now);
    }

    /// The health at this time, by the clock of [`note`](Self::note).
    pub(crate) fn health(&self, now: Timestamp) -> Health {
        Health {
            disturbed: self.disturbed_at.map(|at| now.since(at)),
            failed_over: None,
            failovers: self.failovers,
        }
    }
}

/// How well Redis is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How long ago a connection broke, was not made, or was made again after that.
    disturbed: Option<Duration>,
    /// How long ago a worker of this proxy last heard of another master.
    failed_over: Option<Duration>,
    failovers: u64,
}

impl Health {
    /// The same, if a worker of this proxy last heard of another master so long `ago`. This worker may not know of
    /// it.
    #[must_use]
    pub const fn with_failover(self, ago: Option<Duration>) -> Self {
        Self { failed_over: ago, ..self }
    }

    /// How many times this worker heard of another master. If the number grew while a command was in flight, its
    /// reply may come from the old master.
    pub const fn failovers(self) -> u64 {
        self.failovers
    }

    /// How long it takes until a refresh may begin; zero if one may begin now.
    pub fn settles_in(self) -> Duration {
        let since = [self.disturbed, self.failed_over].into_iter().flatten().min();
        since.map_or(Duration::ZERO, |since| SETTLE.saturating_sub(since))
    }

    /// Whether a key that is not there may be on a master that this worker does not know yet.
    pub fn may_lack_data(self) -> bool {
        self.failed_over.is_some_and(|ago| ago < CATCH_UP)
    }
}
