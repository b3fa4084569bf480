//! What topologies want to know about a connection.

use std::time::Duration;

use super::Connection;
use crate::redis::config::Endpoint;
use crate::redis::output::StreamId;
use crate::redis::requests::Load;
use crate::time::Timestamp;

impl Connection {
    pub(in crate::redis) fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// Whether the stream is this one.
    pub(in crate::redis) fn owns(&self, id: StreamId) -> bool {
        self.open.as_ref().is_some_and(|open| open.stream.id() == id)
    }

    pub(in crate::redis) const fn has_stream(&self) -> bool {
        self.open.is_some()
    }

    /// Whether there are commands that are not done.
    pub(in crate::redis) fn is_busy(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Since when nothing came, where a reply is due.
    pub(in crate::redis) fn silent_since(&self) -> Option<Timestamp> {
        let last_byte = self.open.as_ref()?.last_byte;
        self.requests.first_written().map(|at| at.max(last_byte))
    }

    /// When the next attempt to connect may begin; `None` is at once.
    pub(in crate::redis) fn retry_at(&self) -> Option<Timestamp> {
        self.reconnect.retry_at()
    }

    /// Whether there is no outage, and no reply that is due for so long.
    pub(in crate::redis) fn is_well(&self, long: Duration, now: Timestamp) -> bool {
        self.reconnect.retry_at().is_none() && self.silent_since().is_none_or(|since| since.after(long) > now)
    }

    /// Whether an attempt to connect may begin.
    pub(in crate::redis) fn is_due(&self, now: Timestamp) -> bool {
        self.reconnect.is_due(now)
    }

    pub(in crate::redis) fn load(&self) -> Load {
        self.requests.load()
    }
}
