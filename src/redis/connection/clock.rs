//! What the passing of time does to a connection.

use super::{Connection, Open};
use crate::redis::failure::Failure;
use crate::redis::output::Outbox;
use crate::time::Timestamp;

/// So many times `command_timeout` one reply may take from its first byte to its last.
const SLOWNESS: u32 = 5;

impl Connection {
    /// Time passed.
    pub(in crate::redis) fn wake(&mut self, now: Timestamp, out: &mut Outbox) {
        self.now = now;
        if let Some(Open { stream, .. }) = &self.open {
            let is_over = self.stream_deadline().is_some_and(|deadline| deadline <= now);
            if is_over && stream.is_ready() {
                self.close_idle(out);
            } else if is_over || self.hung_at().is_some_and(|hung_at| hung_at <= now) {
                out.close(stream.id());
                self.ended(Failure::Timeout, now, out);
            }
        }
        self.expire(now, out);
        self.connect(now, out);
    }

    /// When to [`wake`](Self::wake) next.
    pub(in crate::redis) fn next_wake(&self) -> Option<Timestamp> {
        let stream = match (&self.open, &self.endpoint) {
            (Some(_), _) => self.stream_deadline(),
            (None, Some(_)) if !self.requests.is_empty() => self.reconnect.retry_at(),
            (None, _) => None,
        };
        [stream, self.hung_at(), self.requests.next_deadline()].into_iter().flatten().min()
    }

    pub(super) fn expire(&mut self, now: Timestamp, out: &mut Outbox) {
        let is_arriving = self.open.as_ref().is_some_and(|open| open.stream.is_within_reply());
        self.requests.expire(is_arriving, now, out);
    }

    /// When the stream is presumed hung, if nothing comes until then.
    pub(super) fn hung_at(&self) -> Option<Timestamp> {
        let Open { last_byte, last_reply, .. } = self.open.as_ref()?;
        let (written, timeout) = (self.requests.first_written()?, self.settings.command_timeout);
        let silent = written.max(*last_byte).after(timeout);
        let endless = written.max(*last_reply).after(timeout.saturating_mul(SLOWNESS));
        Some(silent.min(endless))
    }

    /// When the stream has to be ready, or was idle for too long.
    pub(super) fn stream_deadline(&self) -> Option<Timestamp> {
        let Open { stream, last_reply, .. } = self.open.as_ref()?;
        if stream.is_ready() {
            let idle_timeout = self.settings.idle_timeout.filter(|_| self.requests.is_empty())?;
            return Some(last_reply.after(idle_timeout));
        }
        Some(stream.since().after(self.settings.connect_timeout))
    }
}
