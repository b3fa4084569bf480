//! The commands of one connection that have no outcome yet.
//!
//! ```text
//!           ┌───────── waiting ─────────┐   next_write    ┌──────── in flight ────────┐   answered
//! push ───► │ youngest     ...   oldest │ ──────────────► │ youngest     ...   oldest │ ───────────► Done
//!           └───────────────────────────┘                 └───────────────────────────┘
//!                                       ▲      broken       │
//!                                       └───────────────────┘ commands that may be written again
//! ```
//!
//! Replies arrive in the order of the commands, so a reply belongs to the first command in flight. A command that was
//! cancelled stays there, so that its reply is recognised and dropped.

use std::time::Duration;

use super::command::Command;
use super::failure::{Failure, ProtocolError};
use super::in_flight::InFlight;
use super::load::Load;
use super::output::{CommandId, Outputs, StreamId};
use super::pending::PendingCommand;
use super::reply::{Reply, ServerError};
use super::waiting::Waiting;
use crate::time::Timestamp;

/// Commands are joined to one write until it has this many bytes.
const MAX_WRITE: usize = 256 << 10;

/// Precedes a command after an `ASK` redirect. Without it, the node would redirect the command back.
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

    /// The commands that wait, as one write; not all of them if they are too many. From now on they are in flight.
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

    /// Puts a command in flight that no caller waits for, and gives its bytes.
    pub(super) fn write_for_ourselves(&mut self, command: Command, now: Timestamp) -> Vec<u8> {
        let bytes = command.bytes().to_vec();
        let mut pending = PendingCommand::new(CommandId(0), command, now);
        pending.is_cancelled = true;
        self.in_flight.push(pending, now);
        bytes
    }

    /// Whether the next reply is to a command that no caller sent.
    pub(super) fn answers_ourselves(&self) -> bool {
        self.in_flight.answers_ourselves()
    }

    /// The next reply comes by this stream, if the server tells that of changes.
    pub(super) fn comes_by(&self, stream: Option<StreamId>) {
        self.in_flight.comes_by(stream);
    }

    /// Whether the next reply is to `AUTH`.
    pub(super) fn answers_auth(&self) -> bool {
        self.in_flight.answers_auth()
    }

    /// A reply arrived. Returns the command if the reply is an error that is handed back: the server did not run it.
    /// If the server `is_possibly_stale`, a missing key is not believed.
    ///
    /// # Errors
    /// [`ProtocolError::Unasked`] if no command is in flight. [`ProtocolError::Misplaced`] if the reply belongs to
    /// another command; then the command stays in flight.
    pub(super) fn on_reply(
        &mut self,
        reply: Reply,
        is_possibly_stale: bool,
        hands_back: impl Fn(&ServerError) -> bool,
        out: &mut Outputs,
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

    /// The caller no longer waits for a command.
    pub(super) fn cancel(&mut self, id: CommandId) {
        if !self.waiting.cancel(id) {
            self.in_flight.cancel(id);
        }
    }

    /// Fails the commands whose time is over, except the one whose reply is `arriving`.
    pub(super) fn expire(&mut self, arriving: bool, now: Timestamp, out: &mut Outputs) {
        self.in_flight.expire(self.timeout, arriving, now, out);
        self.waiting.expire(now, out);
    }

    /// The stream ended: the commands in flight wait again, before the others, or fail.
    pub(super) fn on_broken(&mut self, now: Timestamp, out: &mut Outputs) {
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
        // Most of the time, each of them becomes the first.
        for pending in again.into_iter().rev() {
            self.waiting.push(pending);
        }
    }

    /// Fails the waiting commands for whose send time `verdict` has a failure.
    pub(super) fn give_up<'a>(
        &mut self,
        verdict: impl Fn(Timestamp) -> Option<&'a Failure>,
        out: &mut Outputs,
    ) {
        self.waiting.give_up(verdict, out);
    }

    /// Takes the waiting commands that may wait elsewhere.
    pub(super) fn take_waiting(&mut self) -> Vec<PendingCommand> {
        let (asking, others): (Vec<_>, _) = self.waiting.take().into_iter().partition(|r| r.is_asking);
        for pending in asking {
            self.waiting.push(pending);
        }
        others
    }

    /// When the time of the next command is over.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let in_flight = self.in_flight.oldest().map(|time| time.after(self.timeout));
        [in_flight, self.waiting.next_deadline()].into_iter().flatten().min()
    }

    /// Whether every command has its outcome.
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
