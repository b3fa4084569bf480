//! Small parts that know nothing of sessions: a bounded cache, one call for many, a limit of calls.

pub(super) mod gate;
pub(super) mod lru;
pub(super) mod ready;
pub(super) mod single_flight;
