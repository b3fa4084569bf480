//! The map by `CLUSTER SHARDS`, which Redis has since 7.0. Its maps are arrays in RESP2.
//!
//! ```text
//! [[slots, [first, last, first, last, ...],
//!   nodes, [[id, ..., port, 6379, tls-port, 6380, endpoint, host, role, master, health, online, ...], ...]], ...]
//! ```
//!
//! Nothing but an answer without a doubt is taken: all slots, each with one master. After a failover, Redis 7.2
//! shows the old master beside the new one, up to 7.2.5 sometimes without their slots; 7.2.0 shows slots
//! as strings. In each of these cases `CLUSTER SLOTS` decides, which is right in all of them.

use super::map::{self, Map};
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::config::{Endpoint, Tls};
use crate::redis::reply::Reply;

/// The map by the reply of the node that was asked; nothing where there is a doubt.
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

/// The master among the nodes of a shard: the only one, or the only one that has not failed.
fn master(nodes: &[Reply]) -> Option<&[Reply]> {
    let masters = || nodes.iter().filter_map(array).filter(|node| is(node, b"role", b"master"));
    let has_failed = |node: &&[Reply]| is(node, b"health", b"fail") || is(node, b"health", b"failed");
    let only = |nodes: &mut dyn Iterator<Item = _>| nodes.next().filter(|_| nodes.next().is_none());
    only(&mut masters().filter(|node| !has_failed(node))).or_else(|| only(&mut masters()))
}

/// Where a node is to be reached in the way in which the one was that was asked.
fn endpoint(node: &[Reply], asked: &Endpoint, policy: &AnnouncePolicy) -> Option<Endpoint> {
    let host = field(node, b"endpoint").or_else(|| field(node, b"ip"))?;
    let tls_port = field(node, b"tls-port").filter(|_| asked.tls != Tls::Off);
    // A Redis that has TLS for its clients alone names one port, as `CLUSTER SLOTS` does.
    map::node(host, tls_port.or_else(|| field(node, b"port"))?, asked, policy).ok()
}

fn array(reply: &Reply) -> Option<&[Reply]> {
    match reply {
        Reply::Array(items) => Some(items),
        _ => None,
    }
}

/// The value of a field, of names and values in turns.
fn field<'a>(fields: &'a [Reply], name: &[u8]) -> Option<&'a Reply> {
    fields.chunks_exact(2).find_map(|field| match field {
        [Reply::Bulk(other), value] if other == name => Some(value),
        _ => None,
    })
}

fn is(fields: &[Reply], name: &[u8], value: &[u8]) -> bool {
    matches!(field(fields, name), Some(Reply::Bulk(other)) if other == value)
}
