//! The commands of one connection that are not done.
//!
//! ```text
//!           ┌───────── waiting ─────────┐   next_write    ┌──────── in flight ────────┐   answered
//! push ───► │ youngest     ...   oldest │ ──────────────► │ youngest     ...   oldest │ ───────────► Done
//!           └───────────────────────────┘                 └───────────────────────────┘
//!                                       ▲      broken       │
//!                                       └───────────────────┘ what may be written again
//! ```
//!
//! Replies come in the order of the commands, so a reply belongs to the first command in flight. One
//! that was cancelled stays there for that: its reply has to be swallowed.

use std::time::Duration;

use super::failure::{Failure, ProtocolError};
use super::in_flight::InFlight;
use super::load::Load;
use super::output::{CommandId, Outbox};
use super::pending::PendingCommand;
use super::reply::{Reply, ServerError};
use super::waiting::Waiting;
use crate::time::Timestamp;

/// Commands are joined to one write until it has so many bytes.
const MAX_WRITE: usize = 256 << 10;

/// Goes before a command that another node named us for, or this one would name the other.
const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

pub(super) struct Pipeline {
    waiting: Waiting,
    in_flight: InFlight,
    timeout: Duration,
}

impl Pipeline {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { waiting: Waiting::new(timeout), in_flight: InFlight::default(), timeout }
    }

    /// Adds a command.
    pub(super) fn push(&mut self, pending: PendingCommand) {
        self.waiting.push(pending);
    }

    /// The commands that wait, as one write, and from now on in flight; some of them where they are many.
    pub(super) fn next_write(&mut self, now: Timestamp) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < MAX_WRITE
            && let Some(mut pending) = self.waiting.pop()
        {
            if pending.is_asking {
                bytes.extend_from_slice(ASKING);
            }
            bytes.extend_from_slice(pending.command.bytes());
            pending.written();
            self.in_flight.push(pending, now);
        }
        bytes
    }

    /// A reply came. What comes back is a command that was not run, by an error that is handed back. Where
    /// the server `may_lack` data, it is not believed that there is none.
    ///
    /// # Errors
    /// [`ProtocolError::Unasked`] where no command is in flight, [`ProtocolError::Misplaced`] where it is that to
    /// another one; then the command is in flight still.
    pub(super) fn on_reply(
        &mut self,
        reply: Reply,
        is_possibly_stale: bool,
        hands_back: impl Fn(&ServerError) -> bool,
        out: &mut Outbox,
    ) -> Result<Option<PendingCommand>, ProtocolError> {
        if self.in_flight.answers_asking(&reply) {
            return Ok(None);
        }
        if !self.in_flight.fits(&reply) {
            return Err(ProtocolError::Misplaced);
        }
        let mut pending = self.in_flight.pop().ok_or(ProtocolError::Unasked)?;
        match reply {
            Reply::Error(error) if hands_back(&error) => {
                pending.refused(error);
                return Ok(Some(pending).filter(|pending| !pending.is_cancelled));
            }
            Reply::Nil if is_possibly_stale && pending.command.is_lookup() => {
                pending.done(Err(Failure::PossiblyStale), out);
            }
            reply => pending.done(Ok(reply), out),
        }
        Ok(None)
    }

    /// Whether the next reply is to a command with a key.
    pub(super) fn answers_key(&self) -> bool {
        self.in_flight.answers_key()
    }

    /// Nobody waits for a command any more.
    pub(super) fn cancel(&mut self, id: CommandId) {
        if !self.waiting.cancel(id) {
            self.in_flight.cancel(id);
        }
    }

    /// Fails the commands whose time is over, but not the one whose reply is `arriving`.
    pub(super) fn expire(&mut self, arriving: bool, now: Timestamp, out: &mut Outbox) {
        self.in_flight.expire(self.timeout, arriving, now, out);
        self.waiting.expire(now, out);
    }

    /// The stream ended: what was in flight waits again, before the others, or fails.
    pub(super) fn on_broken(&mut self, now: Timestamp, out: &mut Outbox) {
        let mut again = Vec::new();
        for mut pending in self.in_flight.take() {
            if pending.deadline(self.timeout) <= now {
                pending.expired(out);
            } else if pending.may_be_written_again() {
                again.push(pending);
            } else {
                pending.done(Err(Failure::Lost), out);
            }
        }
        // Each of them becomes the first, most of the time.
        for pending in again.into_iter().rev() {
            self.waiting.push(pending);
        }
    }

    /// Fails the commands that wait and were sent at a time for which `verdict` has a failure.
    pub(super) fn give_up<'a>(
        &mut self,
        verdict: impl Fn(Timestamp) -> Option<&'a Failure>,
        out: &mut Outbox,
    ) {
        self.waiting.give_up(verdict, out);
    }

    /// The commands that wait and may as well wait elsewhere.
    pub(super) fn take_waiting(&mut self) -> Vec<PendingCommand> {
        let (asking, others): (Vec<_>, _) = self.waiting.take().into_iter().partition(|r| r.is_asking);
        for pending in asking {
            self.waiting.push(pending);
        }
        others
    }

    /// When the next command's time is over.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let in_flight = self.in_flight.oldest().map(|time| time.after(self.timeout));
        [in_flight, self.waiting.next_deadline()].into_iter().flatten().min()
    }

    /// Whether every command is done.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty()
    }

    /// When the first command in flight was written.
    pub(super) fn first_written(&self) -> Option<Timestamp> {
        self.in_flight.first_written()
    }

    /// How many commands are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many commands there are.
    pub(super) fn load(&self) -> Load {
        Load {
            commands: self.waiting.len().saturating_add(self.in_flight.len()),
            bytes: self.waiting.bytes().saturating_add(self.in_flight.bytes()),
        }
    }
}
