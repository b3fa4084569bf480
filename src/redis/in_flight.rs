//! Commands that were written and have no reply yet, in the order in which they were written.
//!
//! A command that comes back from another stream or server is written after younger ones, so the first is not always
//! the oldest. `oldest` is a monotonic queue of send times: its front is the minimum of all commands in flight.

use std::collections::VecDeque;
use std::time::Duration;

use super::output::{CommandId, Outputs, StreamId};
use super::pending::PendingCommand;
use super::reply::Reply;
use crate::time::Timestamp;

#[derive(Default)]
pub(super) struct InFlight {
    commands: VecDeque<Written>,
    oldest: VecDeque<Timestamp>,
    bytes: usize,
}

struct Written {
    pending: PendingCommand,
    at: Timestamp,
    /// Whether the reply to `ASKING` arrives before that to the command.
    is_asked_first: bool,
}

impl InFlight {
    /// A command was written.
    pub(super) fn push(&mut self, pending: PendingCommand, now: Timestamp) {
        self.bytes = self.bytes.saturating_add(pending.size());
        push_send_time(&mut self.oldest, pending.sent_at);
        let is_asked_first = pending.is_asking;
        self.commands.push_back(Written { pending, at: now, is_asked_first });
    }

    /// Fails the commands whose time is over. They stay, so that their replies are recognised and dropped. The first
    /// one does not fail if its reply is `arriving`: it has as much time as the stream then.
    pub(super) fn expire(&mut self, timeout: Duration, arriving: bool, now: Timestamp, out: &mut Outputs) {
        if self.oldest().is_none_or(|sent_at| sent_at.after(timeout) > now) {
            return;
        }
        self.oldest.clear();
        for (index, Written { pending, .. }) in self.commands.iter_mut().enumerate() {
            if pending.deadline(timeout) <= now {
                if index == 0 && arriving {
                    continue;
                }
                pending.expired(out);
                pending.is_cancelled = true;
            } else if !pending.is_cancelled {
                push_send_time(&mut self.oldest, pending.sent_at);
            }
        }
    }

    /// When the first command was written.
    pub(super) fn first_written(&self) -> Option<Timestamp> {
        self.commands.front().map(|first| first.at)
    }

    /// Whether this is the reply to `ASKING`. An error is kept: it explains the reply that follows.
    pub(super) fn answers_asking(&mut self, reply: &Reply) -> bool {
        let Some(first) = self.commands.front_mut().filter(|first| first.is_asked_first) else {
            return false;
        };
        first.is_asked_first = false;
        if let Reply::Error(error) = reply {
            first.pending.unasked = Some(error.clone());
        }
        true
    }

    /// Whether the next reply is to a command with a key.
    pub(super) fn answers_key(&self) -> bool {
        self.commands
            .front()
            .is_some_and(|first| !first.is_asked_first && first.pending.command.key().is_some())
    }

    /// Whether the next reply is to a command that no caller sent.
    pub(super) fn answers_ourselves(&self) -> bool {
        self.commands.front().is_some_and(|first| first.pending.id == CommandId(0))
    }

    /// The next reply comes by this stream, if the server tells that of changes.
    pub(super) fn comes_by(&self, stream: Option<StreamId>) {
        if let Some(first) = self.commands.front() {
            first.pending.command.comes_by(stream);
        }
    }

    /// Whether the next reply is to `AUTH`.
    pub(super) fn answers_auth(&self) -> bool {
        self.commands.front().is_some_and(|first| first.pending.command.is_auth())
    }

    /// Whether this can be the reply to the first command.
    pub(super) fn fits(&self, reply: &Reply) -> bool {
        self.commands.front().is_none_or(|first| first.pending.command.fits(reply))
    }

    /// Takes the command to which the next reply belongs.
    pub(super) fn pop(&mut self) -> Option<PendingCommand> {
        let Written { pending, .. } = self.commands.pop_front()?;
        self.bytes = self.bytes.saturating_sub(pending.size());
        if self.oldest.front() == Some(&pending.sent_at) {
            self.oldest.pop_front();
        }
        Some(pending)
    }

    /// Takes all commands.
    pub(super) fn take(&mut self) -> impl DoubleEndedIterator<Item = PendingCommand> {
        std::mem::take(self).commands.into_iter().map(|written| written.pending)
    }

    /// The caller no longer waits for a command. It stays, so that its reply is recognised and dropped.
    pub(super) fn cancel(&mut self, id: CommandId) {
        if let Some(written) = self.commands.iter_mut().find(|written| written.pending.id == id) {
            written.pending.is_cancelled = true;
        }
    }

    /// When the oldest command was sent that was not cancelled.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest.front().copied()
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

fn push_send_time(oldest: &mut VecDeque<Timestamp>, sent_at: Timestamp) {
    while oldest.back().is_some_and(|other| *other > sent_at) {
        oldest.pop_back();
    }
    oldest.push_back(sent_at);
}
