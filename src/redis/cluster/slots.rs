//! The map by `CLUSTER SLOTS`, which every Redis from 3.0 to 8 has.
//!
//! ```text
//! [[first slot, last slot, [host, port, id, ...] of the master, [...] of a replica, ...], ...]
//! ```
//!
//! An answer with anything that makes no sense is not taken at all: another node may know better.

use super::map::{self, Map};
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::config::Endpoint;
use crate::redis::failure::Failure;
use crate::redis::reply::Reply;

/// The map by the reply of the node that was asked.
///
/// # Errors
/// The failure where the reply is of no use.
pub(super) fn read(reply: &Reply, asked: &Endpoint, policy: &AnnouncePolicy) -> Result<Map, Failure> {
    match reply {
        Reply::Array(ranges) => from_ranges(ranges, asked, policy),
        Reply::Error(error) => Err(Failure::NotReady(error.clone())),
        _ => Err(Failure::BadMap),
    }
}

fn from_ranges(ranges: &[Reply], asked: &Endpoint, policy: &AnnouncePolicy) -> Result<Map, Failure> {
    let mut map = Map::empty();
    for range in ranges {
        let Reply::Array(range) = range else {
            return Err(Failure::BadMap);
        };
        let [first, last, Reply::Array(master), ..] = range.as_slice() else {
            return Err(Failure::BadMap);
        };
        let [host, port, ..] = master.as_slice() else {
            return Err(Failure::BadMap);
        };
        map.assign(first, last, &map::node(host, port, asked, policy)?).ok_or(Failure::BadMap)?;
    }
    // A node that belongs to no cluster has a map without slots.
    if map.masters().is_empty() { Err(Failure::BadMap) } else { Ok(map) }
}
