//! The map of a Cluster: which master has which slot.

use super::slot::{SLOTS, slot};
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::endpoint::Endpoint;
use crate::redis::failure::Failure;
use crate::redis::reply::Reply;

/// The most masters of a Cluster. Each may have a connection.
pub(super) const MAX_MASTERS: usize = 256;

/// Enough numbers that each slot has one of them, almost certainly.
const MAX_TAG: u32 = 200_000;

#[derive(PartialEq, Eq)]
pub(super) struct Map {
    masters: Vec<Endpoint>,
    /// For each slot, the position of its master in the list.
    owners: Vec<Option<u16>>,
    /// Whether nodes said more since it was fetched. Then a map with the same slots is news for the connections.
    is_patched: bool,
}

impl Map {
    /// A map without masters.
    pub(super) fn empty() -> Self {
        Self { masters: Vec::new(), owners: vec![None; usize::from(SLOTS)], is_patched: false }
    }

    /// Gives these slots to this master; `None` if the range is invalid or overlaps another one.
    pub(super) fn assign(&mut self, first: &Reply, last: &Reply, master: &Endpoint) -> Option<()> {
        let (Reply::Integer(first), Reply::Integer(last)) = (first, last) else {
            return None;
        };
        let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
        if first > last {
            return None;
        }
        let place = self.place(master)?;
        // Each slot has one master. So ranges do not overlap, and the work is limited by the number of slots.
        for owner in self.owners.get_mut(first..=last)? {
            if owner.replace(place).is_some() {
                return None;
            }
        }
        Some(())
    }

    /// Whether all slots have a master.
    pub(super) fn is_whole(&self) -> bool {
        self.owners.iter().all(Option::is_some)
    }

    /// The master of a slot, if it has one.
    pub(super) fn owner(&self, slot: u16) -> Option<&Endpoint> {
        let place = self.owners.get(usize::from(slot)).copied().flatten()?;
        self.masters.get(usize::from(place))
    }

    /// For each master a number that is in one of its slots as the `{number}` of a key.
    pub(super) fn tags(&self) -> Vec<(Endpoint, u32)> {
        let mut tags: Vec<Option<u32>> = vec![None; self.masters.len()];
        let mut missing = tags.len();
        for number in 0..MAX_TAG {
            let owner = self.owners.get(usize::from(slot(number.to_string().as_bytes()))).copied().flatten();
            if let Some(tag @ None) = owner.and_then(|place| tags.get_mut(usize::from(place))) {
                *tag = Some(number);
                missing = missing.saturating_sub(1);
            }
            if missing == 0 {
                break;
            }
        }
        let masters = self.masters.iter().cloned();
        masters.zip(tags).filter_map(|(master, tag)| Some((master, tag?))).collect()
    }

    /// A node said that a slot has moved to this master.
    pub(super) fn moved(&mut self, slot: u16, master: &Endpoint) {
        if let Some(place) = self.place(master)
            && let Some(owner) = self.owners.get_mut(usize::from(slot))
        {
            *owner = Some(place);
            self.is_patched = true;
        }
    }

    pub(super) fn masters(&self) -> &[Endpoint] {
        &self.masters
    }

    /// The position of a master, which is added if it is new; `None` if there are too many.
    fn place(&mut self, master: &Endpoint) -> Option<u16> {
        let place = self.masters.iter().position(|other| other == master);
        let place = place.unwrap_or_else(|| {
            self.masters.push(master.clone());
            self.masters.len().saturating_sub(1)
        });
        if place >= MAX_MASTERS {
            self.masters.truncate(MAX_MASTERS);
            return None;
        }
        u16::try_from(place).ok()
    }
}

/// A node, by its host and port. A node that does not know its own host gives nil, an empty string or `?`: then it
/// has the host under which it was asked.
///
/// # Errors
/// The failure, if the host or port is invalid or not allowed.
pub(super) fn node(
    host: &Reply,
    port: &Reply,
    asked: &Endpoint,
    policy: &AnnouncePolicy,
) -> Result<Endpoint, Failure> {
    let Reply::Integer(port) = port else {
        return Err(Failure::BadMap);
    };
    let host = match host {
        Reply::Nil => b"".as_slice(),
        Reply::Bulk(host) => host,
        _ => return Err(Failure::BadMap),
    };
    let host = if matches!(host, b"" | b"?") { asked.host.as_bytes() } else { host };
    policy.server(asked, host, port.to_string().as_bytes())?.ok_or(Failure::BadMap)
}
