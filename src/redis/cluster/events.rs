//! What the client tells the Cluster, and whom it is for: the survey, a node, or what is parked.

use super::slot;
use super::survey::Survey;
use super::{Cluster, MAX_AGE, PAUSE};
use crate::redis::connection::Connection;
use crate::redis::failure::Failure;
use crate::redis::output::{Outbox, RequestId, StreamId};
use crate::redis::request::Request;
use crate::redis::requests::Load;
use crate::redis::topology::Topology;
use crate::time::Timestamp;

impl Topology for Cluster {
    fn send(&mut self, request: Request, now: Timestamp, out: &mut Outbox) {
        if self.next_wake().is_some_and(|wake| wake <= now) {
            self.pass(now, out);
        }
        self.is_stale |= now >= self.asked_at.after(MAX_AGE);
        let slot = request.command.key().map(slot::slot);
        match self.admit(slot, now) {
            Ok(()) => self.dispatch(request, slot, now, out),
            Err(failure) => request.done(Err(failure), out),
        }
        // Also where the command failed at once, because its master is away: another one may be there by now. That a
        // node owes a reply for too long, the next wake finds out.
        let is_question = match self.map {
            None => self.question_at().is_some_and(|at| at <= now),
            Some(_) => self.is_stale && self.asked_at.after(PAUSE) <= now,
        };
        if is_question && self.survey.is_none() {
            self.ask(now, out);
        }
    }

    fn cancel(&mut self, request: RequestId) {
        if !self.parked.cancel(request) {
            self.nodes.iter_mut().for_each(|node| node.cancel(request));
        }
    }

    fn opened(&mut self, stream: StreamId, out: &mut Outbox) {
        if let Some(survey) = &mut self.survey {
            survey.opened(stream, out);
        }
        if let Some(node) = self.nodes.owner(stream) {
            node.opened(stream, out);
        }
    }

    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp, out: &mut Outbox) {
        if self.surveys(stream) {
            self.survey_received(bytes, now, out);
        } else if let Some(node) = self.nodes.owner(stream) {
            node.received(stream, bytes, now, out);
        }
        self.settle(now, out);
    }

    fn closed(&mut self, stream: StreamId, why: Failure, now: Timestamp, out: &mut Outbox) {
        if self.surveys(stream) {
            self.untold(why.before_ready(), now, out);
        } else if let Some(node) = self.nodes.owner(stream) {
            node.closed(stream, why, now, out);
        }
        self.settle(now, out);
    }

    fn wake(&mut self, now: Timestamp, out: &mut Outbox) {
        self.pass(now, out);
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let question = self.question_at().filter(|_| self.survey.is_none());
        let retry = self.retry_at.filter(|_| !self.parked.is_empty() && self.map.is_some());
        let survey = self.survey.as_ref().map(Survey::deadline);
        let times = [self.nodes.next_wake(), self.parked.next_deadline(), question, retry, survey];
        times.into_iter().flatten().min()
    }

    fn flush(&mut self, out: &mut Outbox) {
        self.nodes.iter_mut().for_each(|node| node.flush(out));
    }

    fn load(&self) -> Load {
        let parked = Load { requests: self.parked.len(), bytes: self.parked.bytes() };
        self.nodes.iter().map(Connection::load).fold(parked, Load::and)
    }
}
