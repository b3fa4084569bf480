//! A command that has no outcome yet, and what happened to it so far.

use std::time::Duration;

use super::command::Command;
use super::failure::Failure;
use super::output::{CommandId, Outputs};
use super::reply::{Reply, ServerError};
use crate::time::Timestamp;

/// How many times one command is written. So it survives three crashes in a row, and a command that crashes a server
/// does so at most four times.
pub(super) const MAX_WRITES: u8 = 4;

pub(super) struct PendingCommand {
    pub(super) id: CommandId,
    pub(super) command: Command,
    pub(super) sent_at: Timestamp,
    /// How many times it was written and may have run.
    writes: u8,
    /// How many times a node redirected it.
    pub(super) redirects: u8,
    /// Whether it was redirected by `ASK`, so that `ASKING` has to precede it.
    pub(super) is_asking: bool,
    /// Why the node did not accept `ASKING`.
    pub(super) unasked: Option<ServerError>,
    /// Why the last server did not run it.
    pub(super) refusal: Option<ServerError>,
    pub(super) is_cancelled: bool,
}

impl PendingCommand {
    pub(super) const fn new(id: CommandId, command: Command, now: Timestamp) -> Self {
        Self {
            id,
            command,
            sent_at: now,
            writes: 0,
            redirects: 0,
            is_asking: false,
            unasked: None,
            refusal: None,
            is_cancelled: false,
        }
    }

    pub(super) fn deadline(&self, timeout: Duration) -> Timestamp {
        self.sent_at.after(timeout)
    }

    pub(super) fn size(&self) -> usize {
        self.command.bytes().len()
    }

    /// It was written.
    pub(super) fn written(&mut self) {
        self.writes = self.writes.saturating_add(1);
        self.refusal = None;
        self.unasked = None;
    }

    /// The server did not run it.
    pub(super) fn refused(&mut self, error: ServerError) {
        self.writes = self.writes.saturating_sub(1);
        self.refusal = Some(error);
    }

    /// Whether it may be written again, although it may have run.
    pub(super) fn may_be_written_again(&self) -> bool {
        self.command.is_idempotent() && self.writes < MAX_WRITES && !self.is_cancelled
    }

    /// Its time is over.
    pub(super) fn expired(&mut self, out: &mut Outputs) {
        let failure = self.refusal.take().map_or(Failure::Timeout, Failure::NotReady);
        self.done(Err(failure), out);
    }

    /// Puts out the outcome, unless the command was cancelled.
    pub(super) fn done(&self, outcome: Result<Reply, Failure>, out: &mut Outputs) {
        if !self.is_cancelled {
            out.done(self.id, outcome);
        }
    }
}
