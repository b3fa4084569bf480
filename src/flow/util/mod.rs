//! Small parts that know nothing of sessions: a bounded cache, a value to wait for, one call for many, limits of calls and lines.

pub(super) mod gate;
pub(super) mod log_once;
pub(super) mod lru;
pub(super) mod ready;
pub(super) mod single_flight;
