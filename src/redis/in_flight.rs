//! Commands that were written and have no reply yet, in the order in which they were written.
//!
//! A command that comes back from another stream or server is written after younger ones, so the first is
//! not always the oldest. `oldest` has the times of those that no later one is older than: its first is
//! the oldest.

use std::collections::VecDeque;
use std::time::Duration;

use super::output::{Outbox, RequestId};
use super::reply::Reply;
use super::request::Request;
use crate::time::Timestamp;

#[derive(Default)]
pub(super) struct InFlight {
    requests: VecDeque<Written>,
    oldest: VecDeque<Timestamp>,
    bytes: usize,
}

struct Written {
    request: Request,
    at: Timestamp,
    /// Whether the reply to `ASKING` comes before that to the command.
    is_asked_first: bool,
}

impl InFlight {
    /// A command was written.
    pub(super) fn push(&mut self, request: Request, now: Timestamp) {
        self.bytes = self.bytes.saturating_add(request.size());
        note(&mut self.oldest, request.sent_at);
        let is_asked_first = request.is_asking;
        self.requests.push_back(Written { request, at: now, is_asked_first });
    }

    /// Fails the commands whose time is over. Their replies have to be swallowed, so they stay. The first one is
    /// spared where its reply is `arriving`: it has as long as the stream then.
    pub(super) fn expire(&mut self, timeout: Duration, arriving: bool, now: Timestamp, out: &mut Outbox) {
        if self.oldest().is_none_or(|sent_at| sent_at.after(timeout) > now) {
            return;
        }
        self.oldest.clear();
        for (index, Written { request, .. }) in self.requests.iter_mut().enumerate() {
            if request.deadline(timeout) <= now {
                if index == 0 && arriving {
                    continue;
                }
                request.expired(out);
                request.is_cancelled = true;
            } else if !request.is_cancelled {
                note(&mut self.oldest, request.sent_at);
            }
        }
    }

    /// When the first command was written.
    pub(super) fn first_written(&self) -> Option<Timestamp> {
        self.requests.front().map(|first| first.at)
    }

    /// Whether this is the reply to `ASKING`. Only an error says something, beside what follows it.
    pub(super) fn answers_asking(&mut self, reply: &Reply) -> bool {
        let Some(first) = self.requests.front_mut().filter(|first| first.is_asked_first) else {
            return false;
        };
        first.is_asked_first = false;
        if let Reply::Error(error) = reply {
            first.request.unasked = Some(error.clone());
        }
        true
    }

    /// Whether the next reply is to a command with a key.
    pub(super) fn answers_key(&self) -> bool {
        self.requests
            .front()
            .is_some_and(|first| !first.is_asked_first && first.request.command.key().is_some())
    }

    /// Whether the next reply can be this one.
    pub(super) fn fits(&self, reply: &Reply) -> bool {
        self.requests.front().is_none_or(|first| first.request.command.fits(reply))
    }

    /// The command that the next reply is for.
    pub(super) fn pop(&mut self) -> Option<Request> {
        let Written { request, .. } = self.requests.pop_front()?;
        self.bytes = self.bytes.saturating_sub(request.size());
        if self.oldest.front() == Some(&request.sent_at) {
            self.oldest.pop_front();
        }
        Some(request)
    }

    /// All commands.
    pub(super) fn take(&mut self) -> impl DoubleEndedIterator<Item = Request> {
        std::mem::take(self).requests.into_iter().map(|written| written.request)
    }

    /// Nobody waits for a command any more. Its reply has to be swallowed, so it stays.
    pub(super) fn cancel(&mut self, id: RequestId) {
        if let Some(written) = self.requests.iter_mut().find(|written| written.request.id == id) {
            written.request.is_cancelled = true;
        }
    }

    /// When the oldest command was sent, of those that somebody waits for.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.oldest.front().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// How many bytes the commands have.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

fn note(oldest: &mut VecDeque<Timestamp>, sent_at: Timestamp) {
    while oldest.back().is_some_and(|other| *other > sent_at) {
        oldest.pop_back();
    }
    oldest.push_back(sent_at);
}
