//! How well Redis is, as the workers of one Envoy know it together: they do not all hear of a failover at the same time.

use crate::flow::io::Io;
use crate::redis::Health;
use crate::time::Timestamp;

/// The shared key under which a worker tells the others of a failover: its time, in Unix seconds, as a little-endian i64.
const FAILOVER: &str = "oauth2-session/failover";

/// What this worker and the others know of Redis.
pub(super) struct SharedHealth<I> {
    io: I,
    /// Whether a replica that lacks the last writes may become the master.
    pub(super) has_replicas: bool,
}

impl<I: Io> SharedHealth<I> {
    pub(super) fn new(has_replicas: bool, io: &I) -> Self {
        Self { io: io.clone(), has_replicas }
    }

    /// How well Redis is now.
    pub(super) fn get(&self) -> Health {
        let now = self.io.now();
        let failed_over_at = self.failed_over_at().filter(|at| *at <= now);
        self.io.redis_health().with_failover(failed_over_at.map(|at| now.since(at)))
    }

    /// Tells the other workers that another server is the master now.
    pub(super) fn tell_failover(&self) {
        let now = self.io.now().secs().to_le_bytes();
        // If another worker wrote first, it wrote the same.
        let _ = self.io.set_shared(FAILOVER, &now, None);
    }

    /// When a worker last heard of another master.
    fn failed_over_at(&self) -> Option<Timestamp> {
        let shared = self.has_replicas.then(|| self.io.shared(FAILOVER))?;
        Some(Timestamp::from_secs(i64::from_le_bytes(shared.value.try_into().ok()?)))
    }
}
