//! The map by `CLUSTER SHARDS`, which Redis has since 7.0. Its maps are arrays in RESP2.
//!
//! ```text
//! [[slots, [first, last, first, last, ...],
//!   nodes, [[id, ..., port, 6379, tls-port, 6380, endpoint, host, role, master, health, online, ...], ...]], ...]
//! ```
//!
//! Only an unambiguous reply is used: all slots, each with one master. After a failover, Redis 7.2 lists the old
//! master beside the new one, and before 7.2.6 sometimes without their slots. Redis 7.2.0 gives slots as strings. In
//! all of these cases `CLUSTER SLOTS` is asked instead, which is right.

use super::map::{self, Map};
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::endpoint::{Endpoint, Tls};
use crate::redis::reply::Reply;

/// The map in the reply of the node that was asked; `None` if it is ambiguous.
pub(super) fn read(reply: &Reply, asked: &Endpoint, policy: &AnnouncePolicy) -> Option<Map> {
    let mut map = Map::empty();
    for shard in array(reply)? {
        let shard = array(shard)?;
        let (slots, nodes) = (array(field(shard, b"slots")?)?, array(field(shard, b"nodes")?)?);
        if slots.is_empty() {
            continue;
        }
        let master = endpoint(master(nodes)?, asked, policy)?;
        let ranges = slots.chunks_exact(2);
        if !ranges.remainder().is_empty() {
            return None;
        }
        for range in ranges {
            let [first, last] = range else {
                return None;
            };
            map.assign(first, last, &master)?;
        }
    }
    map.is_whole().then_some(map)
}

/// The master of a shard: the only one, or the only one that has not failed.
fn master(nodes: &[Reply]) -> Option<&[Reply]> {
    let masters = || nodes.iter().filter_map(array).filter(|node| is(node, b"role", b"master"));
    let has_failed = |node: &&[Reply]| is(node, b"health", b"fail") || is(node, b"health", b"failed");
    let only = |nodes: &mut dyn Iterator<Item = _>| nodes.next().filter(|_| nodes.next().is_none());
    only(&mut masters().filter(|node| !has_failed(node))).or_else(|| only(&mut masters()))
}

/// The address of a node, for a connection with the same TLS as to the node that was asked.
fn endpoint(node: &[Reply], asked: &Endpoint, policy: &AnnouncePolicy) -> Option<Endpoint> {
    let host = field(node, b"endpoint").or_else(|| field(node, b"ip"))?;
    let tls_port = field(node, b"tls-port").filter(|_| asked.tls != Tls::Off);
    // A Redis with TLS for clients only gives one port, as in `CLUSTER SLOTS`.
    map::node(host, tls_port.or_else(|| field(node, b"port"))?, asked, policy).ok()
}

fn array(reply: &Reply) -> Option<&[Reply]> {
    match reply {
        Reply::Array(items) => Some(items),
        _ => None,
    }
}

/// The value of a field, in a list of alternating names and values.
fn field<'a>(fields: &'a [Reply], name: &[u8]) -> Option<&'a Reply> {
    fields.chunks_exact(2).find_map(|field| match field {
        [Reply::Bulk(other), value] if other == name => Some(value),
        _ => None,
    })
}

fn is(fields: &[Reply], name: &[u8], value: &[u8]) -> bool {
    matches!(field(fields, name), Some(Reply::Bulk(other)) if other == value)
}
