//! Reads the master from the replies and messages of a Sentinel.

use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::endpoint::Endpoint;
use crate::redis::failure::Failure;
use crate::redis::reply::Reply;

/// The channel on which each Sentinel announces a new master, as soon as it knows that.
pub(super) const SWITCH: &[u8] = b"+switch-master";

/// The channel on which the Sentinel that leads a failover announces the new master, before the other replicas follow
/// it. Its `+switch-master` comes only after that, up to `failover-timeout` later. Until then the old master of a
/// planned failover accepts writes that are lost.
pub(super) const PROMOTED: &[u8] = b"+promoted-slave";

/// The master in a reply to `SENTINEL get-master-addr-by-name`: an address, or a name if the Sentinel has
/// `announce-hostnames`.
///
/// # Errors
/// The failure, if the reply has no master, or one that is not allowed.
pub(super) fn master(
    reply: &Reply,
    sentinel: &Endpoint,
    policy: &AnnouncePolicy,
) -> Result<Endpoint, Failure> {
    let items = match reply {
        Reply::Array(items) => items.as_slice(),
        Reply::Error(error) => return Err(Failure::NotReady(error.clone())),
        _ => return Err(Failure::UnknownMaster),
    };
    match items {
        [Reply::Bulk(host), Reply::Bulk(port)] => policy.server(sentinel, host, port)?,
        _ => None,
    }
    .ok_or(Failure::UnknownMaster)
}

/// Whether this confirms the subscription.
///
/// ```text
/// subscribe, +switch-master, 1
/// ```
pub(super) fn is_subscribed(reply: &Reply) -> bool {
    let Reply::Array(items) = reply else {
        return false;
    };
    let [Reply::Bulk(kind), Reply::Bulk(channel), _] = items.as_slice() else {
        return false;
    };
    kind == b"subscribe" && channel == SWITCH
}

/// The new master in a message, if the message is about the master of this name.
///
/// ```text
/// message, +switch-master,  <name> <old host> <old port> <new host> <new port>
/// message, +promoted-slave, slave <its name> <new host> <new port> @ <name> <old host> <old port>
/// ```
///
/// # Errors
/// The failure, if the new master is not allowed.
pub(super) fn switch(
    reply: &Reply,
    name: &[u8],
    sentinel: &Endpoint,
    policy: &AnnouncePolicy,
) -> Result<Option<Endpoint>, Failure> {
    let Reply::Array(items) = reply else {
        return Ok(None);
    };
    let [Reply::Bulk(kind), Reply::Bulk(channel), Reply::Bulk(text)] = items.as_slice() else {
        return Ok(None);
    };
    if kind != b"message" {
        return Ok(None);
    }
    let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
    let (about, host, port) = match (channel.as_slice(), words.as_slice()) {
        (SWITCH, [about, _, _, host, port, ..]) => (about, host, port),
        (PROMOTED, [_, _, host, port, b"@", about, ..]) => (about, host, port),
        _ => return Ok(None),
    };
    if *about == name { policy.server(sentinel, host, port) } else { Ok(None) }
}
