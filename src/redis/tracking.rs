//! Whether a server tells a connection of every change of the keys that the connection has read. If so, what was read
//! is valid until the server tells of a change: the server does not have to be asked again.
//!
//! ```text
//! off ──── the server refuses HELLO 3 or CLIENT TRACKING ON, or the proxy in between does not know them
//!
//! asked ── the handshake is done ──► probing ── the push came ──► proven ── a minute later ──► probing, and still proven
//!                                       ▲  │                                                     │
//!                                       │  └── no push, or an error ──► not proven ◄─────────────┘
//!                                       └── a command, a minute later ──┘
//!
//! a probe:   HELLO │ SETEX key 10 1 │ GET key │ PTTL key │ DEL key │ GET key        the push belongs before the last reply:
//!            %7 …  │ +OK            │ $1 1    │ :10000   │ :1      │ >2 invalidate key   $-1
//! ```
//!
//! - A proxy may accept all of it and never push, so `OK` proves nothing. The key of a probe is used once.
//! - A connection that loses its proof may have missed pushes. So all keys count as changed, and a later proof is only about
//!   what is read from then on.
//! - A server that is full or not ready refuses the probe, but still tells of changes. So such an error proves nothing.
//! - Pushes and replies arrive in one order. So the reply to a command proves that every push has arrived that the server
//!   made before it ran the command. The bytes of an older reply prove nothing: a proxy may delay all bytes. Therefore the
//!   connection is *fresh* only for the time `silence` after the last answered command was **written**.
//! - Only commands with a key count, and no errors. A node of a Cluster that lost the others answers `PING` for ever, but it
//!   refuses keys.
//! - A proxy may connect to the server anew and keep our connection. The server then tells nothing more, and no reply shows
//!   that. So `HELLO` is asked before each proof that the connection is fresh: its reply has the number of the connection at
//!   the server, and its protocol, which is 2 at first. If these change, the connection is not trusted any more. A server
//!   that does not answer `HELLO` without a version (Redis before 6.2) is trusted by any reply.
//! - Whoever uses a connection that is not fresh has to ask the server first. To keep it fresh, the key of the last probe is
//!   read at half of that time. This happens only if the connection was used since the last such question, so a connection
//!   without requests has no timers.
//! - A node of a Cluster can move slots at once, and remove their keys later (Redis 8.4). Until then it tells of no change
//!   of them. So a question is about a key that was served: `MOVED` means that the map of slots is old.

use std::time::Duration;

use super::command::{Command, HELLO};
use super::output::StreamId;
use super::reply::{Reply, ServerError};
use crate::time::Timestamp;

/// How often a connection is probed again, if it is used. A younger one does not end because its server has changed.
pub(super) const PERIOD: Duration = Duration::from_secs(60);

/// How long the key of a probe lives if its `DEL` is lost.
const LIFE: Duration = Duration::from_secs(10);

/// What all connections of a client need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackingConfig {
    /// The keys of probes begin with this, because an ACL may allow only such keys. It has no braces.
    pub key_prefix: String,
    /// How long after the last answered command was written the connection is trusted.
    pub silence: Duration,
    /// Whether an operator has to know of a server that does not track keys.
    pub is_wanted: bool,
}

/// Why a server does not track keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untracked {
    /// It does not execute a command that is needed.
    Refused(ServerError),
    /// It does not tell of a change.
    NoPush,
    /// It goes back to RESP2 with `HELLO` alone, as Dragonfly does, and cannot tell of changes then.
    Resp2,
    /// A proxy connected to it anew, or it is a replica now.
    Replaced,
    /// It closes a connection on which it is asked for that, as twemproxy does.
    HangsUp,
}

/// The keys that have changed.
#[derive(Clone, PartialEq, Eq)]
pub enum Changed {
    /// All keys may have changed.
    All,
    /// These.
    Keys(Vec<Vec<u8>>),
}

/// Whether what was read before is valid without a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The server has to be asked.
    No,
    /// It is valid.
    Yes,
    /// It is valid, and the client has to be woken earlier than before.
    First,
}

/// The tracking of one stream.
pub(super) struct Tracking {
    silence: Duration,
    is_proven: bool,
    /// What the server said first to `HELLO`: an error if it cannot say which connection this is.
    server: Option<Reply>,
    /// The result that was returned last.
    told: Option<bool>,
    probe: Option<Probe>,
    /// The key of the last probe.
    key: Vec<u8>,
    /// The key that the next question is about, if it is another one.
    asks_for: Option<Vec<u8>>,
    /// How many replies to commands of this module are due.
    due: usize,
    /// When the last command was written that was answered.
    answered: Option<Timestamp>,
    probed_at: Timestamp,
    /// When the stream was used first since the last question.
    used_at: Option<Timestamp>,
    probes: u64,
}

/// A probe that is under way.
#[derive(Default)]
struct Probe {
    is_pushed: bool,
    error: Option<ServerError>,
}

impl Tracking {
    /// A stream whose server accepted the handshake.
    pub(super) const fn new(config: &TrackingConfig, now: Timestamp) -> Self {
        Self {
            silence: config.silence,
            is_proven: false,
            server: None,
            told: None,
            probe: None,
            key: Vec::new(),
            asks_for: None,
            due: 0,
            answered: None,
            probed_at: now,
            used_at: None,
            probes: 0,
        }
    }

    /// Begins a probe, with keys that start with `prefix`. Returns its commands.
    pub(super) fn probe(&mut self, prefix: &str, now: Timestamp) -> Vec<Command> {
        self.probes = self.probes.wrapping_add(1);
        self.key = format!("{prefix}{}", self.probes).into_bytes();
        self.probed_at = now;
        self.probe = Some(Probe::default());
        let key = &self.key;
        self.sent(vec![
            Command::setex(key, LIFE, b"1"),
            Command::get(key),
            Command::time_to_live(key),
            Command::del(key),
            Command::get(key),
        ])
    }

    /// When the server has to be asked so that the stream stays fresh.
    pub(super) fn question_at(&self) -> Option<Timestamp> {
        let (used_at, answered) = (self.used_at?, self.answered?);
        let is_idle = self.is_proven && self.due == 0;
        let half = self.silence / 2;
        is_idle.then(|| answered.after(half).min(self.probed_at.after(PERIOD)).max(used_at))
    }

    /// The commands that keep the stream fresh. The keys of a probe start with `prefix`.
    pub(super) fn question(&mut self, prefix: &str, now: Timestamp) -> Vec<Command> {
        if self.probed_at.was_within(PERIOD, now) {
            let question = match self.asks_for.take() {
                Some(key) => Command::time_to_live(&key),
                None => Command::get(&self.key),
            };
            self.sent(vec![question])
        } else {
            self.probe(prefix, now)
        }
    }

    /// Another server has the key of the last probe. So the next question is a probe.
    pub(super) const fn give_up_key(&mut self) {
        self.probed_at = Timestamp::from_secs(0);
    }

    /// The next question is about this key.
    pub(super) fn ask_for(&mut self, key: &[u8]) {
        self.asks_for = Some(key.to_vec());
    }

    fn sent(&mut self, mut commands: Vec<Command>) -> Vec<Command> {
        if !matches!(self.server, Some(Reply::Error(_))) {
            commands.insert(0, Command::new(HELLO, &[b"HELLO"]));
        }
        self.due = commands.len();
        self.used_at = None;
        commands
    }

    /// The server answered `HELLO`. Whether it is another server or connection than before.
    pub(super) fn said_hello(&mut self, reply: &Reply) -> bool {
        self.due = self.due.saturating_sub(1);
        let is_another = self.server.get_or_insert_with(|| reply.clone()) != reply;
        if is_another {
            (self.is_proven, self.told) = (false, Some(false));
        }
        is_another
    }

    /// A command with a key that was `written` at this time got its reply `now`. It `is_ours` if it is of this module.
    /// Returns the result of a probe that ends with it.
    pub(super) fn replied(
        &mut self,
        reply: &Reply,
        is_ours: bool,
        written: Timestamp,
        now: Timestamp,
    ) -> Option<Result<(), Untracked>> {
        let proves = is_ours || !self.knows_server();
        match (reply, &mut self.probe) {
            (Reply::Error(error), Some(probe)) if is_ours => {
                probe.error.get_or_insert_with(|| error.clone());
            }
            (Reply::Error(_), _) => {}
            _ if proves => self.answered = Some(written),
            _ => {}
        }
        if !is_ours {
            return None;
        }
        // The next question is not due before now.
        self.used_at = self.used_at.map(|used_at| used_at.max(now));
        self.due = self.due.saturating_sub(1);
        if self.due > 0 {
            return None;
        }
        let probe = self.probe.take()?;
        let result = match (probe.error, probe.is_pushed) {
            // It says nothing about the pushes.
            (Some(error), _) if says_nothing(&error) => return None,
            (Some(error), _) => Err(Untracked::Refused(error)),
            (None, false) => Err(Untracked::NoPush),
            (None, true) => Ok(()),
        };
        self.is_proven = result.is_ok();
        let told = self.told.replace(self.is_proven);
        // A probe again and again says the same.
        Some(result).filter(|_| told != Some(self.is_proven))
    }

    /// The server told something. Returns the keys that have changed, if it is that.
    pub(super) fn pushed(&mut self, items: Vec<Reply>) -> Option<Changed> {
        let mut items = items.into_iter();
        if !matches!(items.next(), Some(Reply::Bulk(kind) | Reply::Status(kind)) if kind == b"invalidate") {
            return None;
        }
        let Some(Reply::Array(names)) = items.next() else { return Some(Changed::All) };
        let mut keys = Vec::with_capacity(names.len());
        for name in names {
            match name {
                Reply::Bulk(key) if key == self.key => {
                    if let Some(probe) = &mut self.probe {
                        probe.is_pushed = true;
                    }
                }
                Reply::Bulk(key) => keys.push(key),
                // It cannot be one that was read, but this costs only a question.
                _ => return Some(Changed::All),
            }
        }
        Some(Changed::Keys(keys)).filter(|changed| *changed != Changed::Keys(Vec::new()))
    }

    /// Whether a probe may begin that says something new.
    pub(super) const fn is_open(&self) -> bool {
        !self.is_proven && self.due == 0
    }

    /// Whether a command that is sent now has to be preceded by a question: by another probe, if there is no proof, or by
    /// one that makes the connection fresh again, if the command alone does not.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let is_due = if self.is_proven {
            self.knows_server() && !self.is_fresh(now)
        } else {
            !self.probed_at.was_within(PERIOD, now)
        };
        is_due && self.due == 0
    }

    /// Whether the server says which connection this is.
    const fn knows_server(&self) -> bool {
        matches!(self.server, Some(Reply::Array(_)))
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.is_proven && self.answered.is_some_and(|written| written.was_within(self.silence, now))
    }

    /// Whether the server tells of changes.
    pub(super) const fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// Whether what was read is valid without a question. If so, the stream counts as used.
    pub(super) fn serves(&mut self, now: Timestamp) -> Served {
        match self.used_at {
            _ if !self.is_fresh(now) => Served::No,
            Some(_) => Served::Yes,
            None => {
                self.used_at = Some(now);
                Served::First
            }
        }
    }
}

/// Whether an error says nothing about the pushes: the server is full, not ready, or the wrong one.
fn says_nothing(error: &ServerError) -> bool {
    error.is_unready() || matches!(error.code(), "MOVED" | "ASK" | "OOM" | "MISCONF" | "NOREPLICAS")
}

/// The start of the keys of probes, for one stream of one client. The part in braces decides on the slot of a Cluster.
pub(super) fn key_prefix(config: &TrackingConfig, tag: u32, seed: u64, stream: StreamId) -> String {
    format!("{}-track-{{{tag}}}-{seed:x}-{:x}-", config.key_prefix, stream.0)
}
