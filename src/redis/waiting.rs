//! Commands that wait, the oldest first.
//!
//! A number of a command is greater than all before, and all have the same time. So the order of the
//! numbers is the order of the deadlines, also for a command that comes back from a server.

use std::collections::VecDeque;
use std::time::Duration;

use super::failure::Failure;
use super::output::{Outbox, RequestId};
use super::request::Request;
use crate::time::Timestamp;

pub(super) struct Waiting {
    requests: VecDeque<Request>,
    bytes: usize,
    timeout: Duration,
}

impl Waiting {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self { requests: VecDeque::new(), bytes: 0, timeout }
    }

    /// Adds a command, in its place.
    pub(super) fn push(&mut self, request: Request) {
        self.bytes = self.bytes.saturating_add(request.size());
        // Most of them are the youngest.
        match self.requests.back() {
            Some(youngest) if youngest.id > request.id => {
                let place = self.requests.partition_point(|other| other.id < request.id);
                self.requests.insert(place, request);
            }
            _ => self.requests.push_back(request),
        }
    }

    /// The oldest command.
    pub(super) fn pop(&mut self) -> Option<Request> {
        let request = self.requests.pop_front()?;
        self.bytes = self.bytes.saturating_sub(request.size());
        Some(request)
    }

    /// All commands.
    pub(super) fn take(&mut self) -> VecDeque<Request> {
        self.bytes = 0;
        std::mem::take(&mut self.requests)
    }

    /// Nobody waits for a command any more. Whether it was here.
    pub(super) fn cancel(&mut self, id: RequestId) -> bool {
        let request = self.requests.binary_search_by_key(&id, |request| request.id).ok();
        let request = request.and_then(|index| self.requests.remove(index));
        if let Some(request) = &request {
            self.bytes = self.bytes.saturating_sub(request.size());
        }
        request.is_some()
    }

    /// Fails the commands whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp, out: &mut Outbox) {
        while self.next_deadline().is_some_and(|deadline| deadline <= now)
            && let Some(mut request) = self.pop()
        {
            request.expired(out);
        }
    }

    /// Fails the commands that were sent at a time for which `verdict` has a failure.
    pub(super) fn give_up<'a>(
        &mut self,
        verdict: impl Fn(Timestamp) -> Option<&'a Failure>,
        out: &mut Outbox,
    ) {
        for request in self.take() {
            match verdict(request.sent_at) {
                Some(failure) => request.done(Err(failure.clone()), out),
                None => self.push(request),
            }
        }
    }

    /// When the next command's time is over.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.requests.front().map(|request| request.deadline(self.timeout))
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
