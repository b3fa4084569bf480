//! A site for the targets that are about whole flows: the filter with a provider, a Redis and a clock of a few lines.
//!
//! All of it goes by what the input says: no thread, no clock, no random number of the machine.

mod provider;
mod redis;
mod world;

pub(super) use self::provider::{ISSUER, id_token};
pub(super) use self::world::{Pending, World};
