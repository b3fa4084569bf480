//! What a Sentinel says: replies and messages to endpoints.

use crate::redis::config::{Endpoint, Tls};
use crate::redis::failure::Failure;
use crate::redis::reply::Reply;

/// Where Sentinels tell that another server is the master.
pub(super) const CHANNEL: &[u8] = b"+switch-master";

/// The master by a reply to `SENTINEL get-master-addr-by-name`. An address, or a name where the Sentinel
/// has `announce-hostnames`.
///
/// # Errors
/// The failure where no master is named.
pub(super) fn master(reply: &Reply, tls: Tls) -> Result<Endpoint, Failure> {
    let items = match reply {
        Reply::Array(items) => items.as_slice(),
        Reply::Error(error) => return Err(Failure::NotReady(error.clone())),
        _ => return Err(Failure::UnknownMaster),
    };
    match items {
        [Reply::Bulk(host), Reply::Bulk(port)] => Endpoint::named(host, port, tls),
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
    kind == b"subscribe" && channel == CHANNEL
}

/// The new master by a message, where the message is about the master of this name.
///
/// ```text
/// message, +switch-master, <name> <old host> <old port> <new host> <new port>
/// ```
pub(super) fn switch(reply: &Reply, name: &[u8], tls: Tls) -> Option<Endpoint> {
    let Reply::Array(items) = reply else {
        return None;
    };
    let [Reply::Bulk(kind), Reply::Bulk(channel), Reply::Bulk(text)] = items.as_slice() else {
        return None;
    };
    if kind != b"message" || channel != CHANNEL {
        return None;
    }
    let mut words = text.split(|byte| *byte == b' ');
    let words = [words.next()?, words.next()?, words.next()?, words.next()?, words.next()?];
    let [about, _, _, host, port] = words;
    Endpoint::named(host, port, tls).filter(|_| about == name)
}
