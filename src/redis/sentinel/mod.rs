//! The master that Sentinels name, and its successor after a failover.
//!
//! ```text
//!                   a command waits              an address
//!   Asleep ──────────────────────────► Asking ───────────────► Trying ── ROLE: master ──► Serving
//!     ▲                                │ ▲  ▲                    │ ▲                        │ │ ▲
//!     │                       no answer, │  │ backoff is over    │ │ +switch-master,        │ │ │
//!     │                  unknown: the    │  │                    │ │ another address ◄──────│─┘ │
//!     │                  next Sentinel   │  │                    │ └────────────────┐       │   │
//!     │                                └─┘  │    no connection,  ▼                  │       │   │
//!     │                   all of them ───► Pausing ◄──────────────┴── lost, hung, ──┼───────┘   │
//!     │                                     │   ROLE: slave           READONLY      │           │
//!     │                                     └── +switch-master ─────────────────────┘           │
//!     └── no commands for idle_timeout, or none that waits ◄────────────────────────────────────┘
//! ```
//!
//! There are at most two streams: `node` to the master, as with a single server, and `watch` to a Sentinel. The
//! client also subscribes to the Sentinel that it asks, until that stream ends or another Sentinel is asked.
//!
//! - An address is valid for one stream. If the stream ends, the next Sentinel is asked: a Sentinel that is cut off
//!   from the others goes on naming the master that it knows. `ROLE` finds that out.
//! - A server that answers `READONLY` did not run the command. So the command waits for the next master, even if it
//!   must not run twice. The stream ends after the replies to the commands behind it.
//! - A switch that a Sentinel announces is followed within 50 ms: at once, all workers would connect in the same moment.
//!   Commands in flight on the old stream run again, if they may run twice.
//! - A subscription that ends is made again at the next Sentinel, without a pause if it had lasted. It begins with
//!   the question for the master, because a switch may have been missed. It is also made again with a new password of
//!   the Sentinels.
//! - The client does not connect to a master that may not be announced. It asks the next Sentinel.
//! - Without commands there are no attempts and no timers.

mod answer;
mod watch;

use std::rc::Rc;
use std::time::Duration;

use self::watch::Watch;
use super::announce_policy::AnnouncePolicy;
use super::config::{ClientConfig, Credentials, Servers};
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::handshake::Handshake;
use super::load::Load;
use super::output::{CommandId, Event, Outputs, StreamId};
use super::pending::PendingCommand;
use super::reconnect::Reconnect;
use super::reply::ServerError;
use super::router::Router;
use super::settings::Settings;
use super::tracking::Served;
use crate::time::Timestamp;

/// A Sentinel has this part of a command's time to answer, so that several Sentinels can be asked in that time.
const PART: u32 = 4;

/// A subscription that lasted this long is made again without a pause.
const LASTED: Duration = Duration::from_secs(10);

pub(super) struct Sentinel {
    master_name: String,
    sentinels: Vec<Endpoint>,
    policy: AnnouncePolicy,
    handshake: Rc<Handshake>,
    settings: Rc<Settings>,
    timeout: Duration,
    node: Connection,
    watch: Option<Watch>,
    /// The number of the Sentinel that is asked now or next. It only grows.
    turn: usize,
    /// How many Sentinels in a row named no master, and since when.
    unanswered: usize,
    unanswered_since: Option<Timestamp>,
    /// The pauses between subscriptions, if the master is known.
    resubscribe: Reconnect,
}

impl Sentinel {
    pub(super) fn new(
        master_name: &str,
        sentinels: &[Endpoint],
        credentials: Option<&Credentials>,
        config: &ClientConfig,
        seed: u64,
    ) -> Self {
        let handshake = Handshake::new(config.credentials.as_ref(), &config.client_name);
        let handshake =
            handshake.with_database(config.database).with_tracking(config.tracking.is_some()).with_role();
        let settings =
            Settings::new(config, handshake, ServerError::is_unready).resolved_per_stream().replicated();
        let settings = Rc::new(settings);
        Self {
            master_name: master_name.to_owned(),
            sentinels: sentinels.to_vec(),
            policy: AnnouncePolicy::new(config),
            handshake: Rc::new(Handshake::new(credentials, &config.client_name)),
            timeout: config.connect_timeout.min(config.command_timeout / PART),
            node: Connection::new(None, &settings, seed),
            settings,
            watch: None,
            turn: 0,
            unanswered: 0,
            unanswered_since: None,
            resubscribe: Reconnect::new(seed.wrapping_add(1), config.command_timeout),
        }
    }

    /// Handles what happened to the connection, and asks a Sentinel if it is time.
    fn process(&mut self, now: Timestamp, out: &mut Outputs) {
        let report = self.node.take_report();
        self.node.requeue(report.refused, now, out);
        if report.has_failed || self.node.take_report().has_failed {
            self.turn = self.turn.wrapping_add(1);
        }
        if !self.node.is_busy() && !self.node.has_stream() {
            self.sleep(out);
        } else if self.is_query_due(now) {
            self.query(now, out);
        }
    }

    /// No command needs the master.
    fn sleep(&mut self, out: &mut Outputs) {
        if let Some(watch) = self.watch.take() {
            out.close(watch.id());
        }
        self.node.forget_endpoint();
        self.unanswered = 0;
        self.unanswered_since = None;
    }

    /// Whether to ask a Sentinel now.
    fn is_query_due(&self, now: Timestamp) -> bool {
        match (&self.watch, self.node.endpoint()) {
            (Some(watch), None) => !watch.is_asking() && self.node.is_due(now),
            (None, None) => self.node.is_due(now),
            (None, Some(_)) => self.resubscribe.is_due(now),
            (Some(_), Some(_)) => false,
        }
    }

    /// Asks the Sentinel whose turn it is.
    fn query(&mut self, now: Timestamp, out: &mut Outputs) {
        if let Some(watch) = self.watch.take() {
            out.close(watch.id());
        }
        let index = self.turn.checked_rem(self.sentinels.len());
        if let Some(endpoint) = index.and_then(|index| self.sentinels.get(index)) {
            self.watch = Some(Watch::open(endpoint, &self.handshake, self.timeout, now, out));
            self.unanswered_since.get_or_insert(now);
        }
    }

    /// A Sentinel named the master, as an answer or to all of its clients.
    fn on_master(&mut self, endpoint: Endpoint, is_announced: bool, now: Timestamp, out: &mut Outputs) {
        self.unanswered = 0;
        self.unanswered_since = None;
        self.node.switch_to(endpoint, is_announced, now, out);
    }

    /// The stream to the Sentinel has ended.
    fn on_watch_ended(&mut self, failure: Failure, now: Timestamp, out: &mut Outputs) {
        let Some(watch) = self.watch.take() else {
            return;
        };
        self.turn = self.turn.wrapping_add(1);
        if watch.lasted(LASTED, now) {
            self.resubscribe.succeeded();
        } else if self.node.endpoint().is_some() {
            self.resubscribe.failed(failure.clone(), now, now);
        } else if watch.is_asking() {
            self.unanswered = self.unanswered.saturating_add(1);
            if self.unanswered >= self.sentinels.len() {
                let since = self.unanswered_since.take().unwrap_or(now);
                self.unanswered = 0;
                let failure = self.handshake.for_waiting(failure.clone());
                self.node.on_unresolved(failure, since, now, out);
            }
        }
        out.event(Event::LookupFailed { endpoint: watch.into_endpoint(), failure });
    }

    fn on_watch_bytes(&mut self, mut bytes: &[u8], now: Timestamp, out: &mut Outputs) {
        while let Some(watch) = &mut self.watch {
            let is_announced = !watch.is_asking();
            match watch.next(self.master_name.as_bytes(), &self.policy, &mut bytes, now, out) {
                Ok(Some(endpoint)) => self.on_master(endpoint, is_announced, now, out),
                Ok(None) => return,
                Err(failure) => {
                    out.close(watch.id());
                    self.on_watch_ended(failure, now, out);
                }
            }
        }
    }

    fn watches(&self, stream: StreamId) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.id() == stream)
    }
}

impl Router for Sentinel {
    fn send(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outputs) {
        if let Some(watch) = &mut self.watch {
            watch.ping(now, out);
        }
        self.node.send(pending, now, out);
        self.process(now, out);
    }

    fn cancel(&mut self, command: CommandId) {
        self.node.cancel(command);
    }

    fn set_credentials(&mut self, of: Servers, credentials: &Credentials, now: Timestamp, out: &mut Outputs) {
        match of {
            Servers::Data => {
                self.settings.set_credentials(credentials);
                self.node.authenticate(credentials, now, out);
            }
            Servers::Sentinels => {
                self.handshake = Rc::new(self.handshake.with_credentials(credentials));
                // A client that subscribes may send no `AUTH`. So the same Sentinel is asked anew, at once.
                if let Some(watch) = self.watch.take() {
                    out.close(watch.id());
                }
                self.resubscribe.retry_now(now);
                self.node.retry_lookup_now(now);
            }
        }
        self.process(now, out);
    }

    fn opened(&mut self, stream: StreamId, out: &mut Outputs) {
        self.node.opened(stream, out);
        if let Some(watch) = &mut self.watch {
            watch.opened(stream, out);
        }
    }

    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp, out: &mut Outputs) {
        if self.watches(stream) {
            self.on_watch_bytes(bytes, now, out);
        } else {
            self.node.received(stream, bytes, now, out);
        }
        self.process(now, out);
    }

    fn closed(&mut self, stream: StreamId, why: Failure, now: Timestamp, out: &mut Outputs) {
        if self.watches(stream) {
            self.on_watch_ended(why.before_ready(), now, out);
        } else {
            self.node.closed(stream, why, now, out);
        }
        self.process(now, out);
    }

    fn wake(&mut self, now: Timestamp, out: &mut Outputs) {
        if let Some(watch) = &self.watch
            && watch.deadline().is_some_and(|deadline| deadline <= now)
        {
            out.close(watch.id());
            self.on_watch_ended(Failure::Unreachable, now, out);
        }
        self.node.wake(now, out);
        // Requests that are served from memory send no command.
        if self.node.is_busy()
            && let Some(watch) = &mut self.watch
        {
            watch.ping(now, out);
        }
        self.process(now, out);
    }

    fn tracks(&self, _: &[u8]) -> Option<StreamId> {
        self.node.tracks()
    }

    fn serves(&mut self, _: &[u8], stream: StreamId, now: Timestamp) -> Served {
        self.node.serves(stream, now)
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let watch = self.watch.as_ref();
        let query_at = match self.node.endpoint() {
            _ if !self.node.is_busy() || watch.is_some_and(Watch::is_asking) => None,
            None => self.node.retry_at(),
            Some(_) if watch.is_none() => self.resubscribe.retry_at(),
            Some(_) => None,
        };
        let deadline = watch.and_then(Watch::deadline);
        [self.node.next_wake(), deadline, query_at].into_iter().flatten().min()
    }

    fn flush(&mut self, out: &mut Outputs) {
        self.node.flush(out);
    }

    fn load(&self) -> Load {
        self.node.load()
    }
}
