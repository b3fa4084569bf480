//! Commands that wait, the oldest first.
//!
//! The number of a command is greater than all before, and all commands have the same time. So the order of the
//! numbers is the order of the deadlines, also for a command that comes back from a server.

use std::collections::VecDeque;
use std::time::Duration;

use super::failure::Failure;
use super::output::{CommandId, Outputs};
use super::pending::PendingCommand;
use crate::time::Timestamp;

pub(super) struct Waiting {
    commands: VecDeque<PendingCommand>,
    bytes: usize,
    timeout: Duration,
}

impl Waiting {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self { commands: VecDeque::new(), bytes: 0, timeout }
    }

    /// Adds a command, in its place.
    pub(super) fn push(&mut self, pending: PendingCommand) {
        self.bytes = self.bytes.saturating_add(pending.size());
        // Most of the time, it is the youngest.
        match self.commands.back() {
            Some(youngest) if youngest.id > pending.id => {
                let place = self.commands.partition_point(|other| other.id < pending.id);
                self.commands.insert(place, pending);
            }
            _ => self.commands.push_back(pending),
        }
    }

    /// Takes the oldest command.
    pub(super) fn pop(&mut self) -> Option<PendingCommand> {
        let pending = self.commands.pop_front()?;
        self.bytes = self.bytes.saturating_sub(pending.size());
        Some(pending)
    }

    /// Takes all commands.
    pub(super) fn take(&mut self) -> VecDeque<PendingCommand> {
        self.bytes = 0;
        std::mem::take(&mut self.commands)
    }

    /// The caller no longer waits for a command. Returns whether the command was here.
    pub(super) fn cancel(&mut self, id: CommandId) -> bool {
        let pending = self.commands.binary_search_by_key(&id, |pending| pending.id).ok();
        let pending = pending.and_then(|index| self.commands.remove(index));
        if let Some(pending) = &pending {
            self.bytes = self.bytes.saturating_sub(pending.size());
        }
        pending.is_some()
    }

    /// Fails the commands whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp, out: &mut Outputs) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now)
            && let Some(mut pending) = self.pop()
        {
            pending.expired(out);
        }
    }

    /// Fails the commands for whose send time `verdict` has a failure.
    pub(super) fn give_up<'a>(
        &mut self,
        verdict: impl Fn(Timestamp) -> Option<&'a Failure>,
        out: &mut Outputs,
    ) {
        for pending in self.take() {
            match verdict(pending.sent_at) {
                Some(failure) => pending.done(Err(failure.clone()), out),
                None => self.push(pending),
            }
        }
    }

    /// When the time of the next command is over.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.commands.front().map(|pending| pending.deadline(self.timeout))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// How many bytes the commands have together.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
