//! How a stream ends, and what becomes of the commands on it.

use super::{Connection, Open};
use crate::redis::config::Endpoint;
use crate::redis::failure::Failure;
use crate::redis::output::{Event, Outbox};
use crate::redis::request::Request;
use crate::redis::stream::Stream;
use crate::time::Timestamp;

impl Connection {
    /// Whether the server may have hung up on our name, so that it is greeted once more at once, without it.
    pub(super) fn tries_without_name(&mut self, why: &Failure, now: Timestamp, out: &mut Outbox) -> bool {
        let (Some(open), Some(endpoint)) = (&mut self.open, &self.endpoint) else {
            return false;
        };
        let hung_up = *why == Failure::Lost && open.stream.is_greeting() && open.stream.is_named();
        if hung_up {
            let since = open.stream.since();
            open.stream = Stream::open(endpoint, &self.settings.handshake, now, out).without_name();
            // Both together have the time of one.
            open.stream.began(since);
        }
        hung_up
    }

    /// Takes commands back that the server was not ready for, as it said itself: they wait for the next stream.
    pub(in crate::redis) fn take_back(&mut self, refused: Vec<Request>, now: Timestamp, out: &mut Outbox) {
        let refusal = refused.first().and_then(|request| request.refusal.clone());
        for request in refused {
            self.push(request, now, out);
        }
        if let Some(error) = refusal {
            self.leave(Failure::NotReady(error), now, out);
        }
    }

    /// The server is the wrong one, as it says itself. Nothing more is written to it, and its stream ends
    /// with the last reply: so it is known of every command whether it ran.
    pub(in crate::redis) fn leave(&mut self, failure: Failure, now: Timestamp, out: &mut Outbox) {
        if let Some(open) = &mut self.open {
            open.leaves = Some(failure);
        }
        self.end_leave(now, out);
    }

    /// Ends the stream, if there is one.
    pub(in crate::redis) fn hang_up(&mut self, failure: Failure, now: Timestamp, out: &mut Outbox) {
        let Some((stream, endpoint)) = self.take_stream() else {
            return;
        };
        out.close(stream.id());
        if stream.is_ready() {
            out.event(Event::Disconnected { endpoint, failure, in_flight: self.requests.in_flight() });
        }
        self.requests.broken(now, out);
    }

    /// Takes the stream away, and its endpoint with it where that was good for this stream only.
    pub(super) fn take_stream(&mut self) -> Option<(Stream, Endpoint)> {
        let Open { stream, .. } = self.open.take()?;
        let endpoint = self.endpoint.clone()?;
        if self.settings.is_named {
            self.endpoint = None;
        }
        Some((stream, endpoint))
    }

    /// The stream is no more: notes the outage, and lets commands wait for the next stream, or fail.
    pub(super) fn ended(&mut self, failure: Failure, now: Timestamp, out: &mut Outbox) {
        let Some((stream, endpoint)) = self.take_stream() else {
            return;
        };
        self.news.has_failed = true;
        if stream.is_ready() {
            let in_flight = self.requests.in_flight();
            out.event(Event::Disconnected { endpoint, failure: failure.clone(), in_flight });
            let is_well = in_flight == 0 && matches!(failure, Failure::Lost | Failure::NotMaster);
            if !is_well {
                self.reconnect.failed(failure, now, now);
            }
            self.requests.broken(now, out);
            self.requests.give_up(|sent_at| self.reconnect.verdict(sent_at), out);
        } else {
            let failure = failure.before_ready();
            out.event(Event::ConnectFailed { endpoint, failure: failure.clone() });
            self.reconnect.failed(failure, stream.since(), now);
            self.requests.give_up(|sent_at| self.reconnect.verdict(sent_at), out);
        }
        self.connect(now, out);
    }

    /// Ends the stream that nobody uses.
    pub(in crate::redis) fn close_idle(&mut self, out: &mut Outbox) {
        if let Some((stream, endpoint)) = self.take_stream() {
            out.close(stream.id());
            out.event(Event::IdleClosed { endpoint });
        }
    }

    /// Ends the stream of a server that is left, once nothing is in flight.
    pub(super) fn end_leave(&mut self, now: Timestamp, out: &mut Outbox) {
        if let Some(open) = &self.open
            && let Some(failure) = open.leaves.clone()
            && self.requests.in_flight() == 0
        {
            out.close(open.stream.id());
            self.ended(failure, now, out);
        }
    }
}
