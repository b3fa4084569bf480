//! The map by `CLUSTER SLOTS`, which all versions of Redis from 3.0 to 8 have.
//!
//! ```text
//! [[first slot, last slot, [host, port, id, ...] of the master, [...] of a replica, ...], ...]
//! ```
//!
//! A reply with any invalid part is not used at all: another node may give a valid one.

use super::map::{self, Map};
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::endpoint::Endpoint;
use crate::redis::failure::Failure;
use crate::redis::reply::Reply;

/// The map in the reply of the node that was asked.
///
/// # Errors
/// The failure, if the reply contains no valid map.
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
