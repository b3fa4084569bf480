//! How well Redis is, as the workers of one Envoy know it together: not all of them hear of a failover at the same time.

use crate::flow::io::Io;
use crate::redis::Health;
use crate::time::Timestamp;

/// Where the workers of an Envoy tell each other of a failover, which not all of them hear of at the same time: the
/// time, in Unix seconds, as an i64 in little endian.
const FAILOVER: &str = "oauth2-session/failover";

/// What this worker and the others know.
pub(super) struct SharedHealth<I> {
    io: I,
    /// Whether a server may take over that has not got the last writes.
    pub(super) has_replicas: bool,
}

impl<I: Io> SharedHealth<I> {
    pub(super) fn new(has_replicas: bool, io: &I) -> Self {
        Self { io: io.clone(), has_replicas }
    }

    /// This worker heard that another server is a master.
    pub(super) fn tell_failover(&self) {
        let now = self.io.now().secs().to_le_bytes();
        // If another worker was faster, it says the same.
        let _ = self.io.set_shared(FAILOVER, &now, None);
    }

    /// How well Redis is, as the workers of this Envoy know it together.
    pub(super) fn health(&self) -> Health {
        let now = self.io.now();
        let failed_over_at = self.failed_over_at().filter(|at| *at <= now);
        self.io.redis_health().with_failover(failed_over_at.map(|at| now.since(at)))
    }

    /// When a worker of this Envoy last heard of another master.
    fn failed_over_at(&self) -> Option<Timestamp> {
        let shared = self.has_replicas.then(|| self.io.shared(FAILOVER))?;
        Some(Timestamp::from_secs(i64::from_le_bytes(shared.value.try_into().ok()?)))
    }
}
