//! The connections to the nodes, one for each node that was needed so far.

use std::rc::Rc;
use std::time::Duration;

use super::map::{MAX_MASTERS, Map};
use crate::redis::config::Credentials;
use crate::redis::connection::{Connection, ConnectionReport};
use crate::redis::endpoint::Endpoint;
use crate::redis::failure::Failure;
use crate::redis::output::{Outputs, StreamId};
use crate::redis::pending::PendingCommand;
use crate::redis::settings::Settings;
use crate::time::Timestamp;

pub(super) struct Nodes {
    settings: Rc<Settings>,
    /// Sorted by endpoint. A list, because all nodes are visited far more often than one is added.
    nodes: Vec<Node>,
    /// For each master in the map, what makes it own the key of a probe: see `tracking`.
    probe_tags: Vec<(Endpoint, u32)>,
}

struct Node {
    endpoint: Endpoint,
    connection: Connection,
    /// Whether it is a master in the map.
    is_listed: bool,
}

impl Nodes {
    pub(super) const fn new(settings: Rc<Settings>) -> Self {
        Self { settings, nodes: Vec::new(), probe_tags: Vec::new() }
    }

    pub(super) fn get(&self, endpoint: &Endpoint) -> Option<&Connection> {
        self.nodes.get(self.place(endpoint).ok()?).map(|node| &node.connection)
    }

    pub(super) fn get_mut(&mut self, endpoint: &Endpoint) -> Option<&mut Connection> {
        let place = self.place(endpoint).ok()?;
        self.nodes.get_mut(place).map(|node| &mut node.connection)
    }

    /// The position of a node in the list, or the position where it belongs.
    fn place(&self, endpoint: &Endpoint) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| node.endpoint.cmp(endpoint))
    }

    /// The connection to a node, which is added if it is new; `None` if there are too many.
    pub(super) fn get_or_add(
        &mut self,
        endpoint: &Endpoint,
        is_listed: bool,
        seed: u64,
        out: &mut Outputs,
    ) -> Option<&mut Connection> {
        if self.place(endpoint).is_err() {
            if self.nodes.len() >= MAX_MASTERS {
                self.remove_one(out)?;
            }
            let mut connection = Connection::new(Some(endpoint.clone()), &self.settings, seed);
            connection.set_probe_tag(self.probe_tag(endpoint), Timestamp::from_secs(0), out);
            let place = self.place(endpoint).unwrap_or_else(|place| place);
            self.nodes.insert(place, Node { endpoint: endpoint.clone(), connection, is_listed });
        }
        self.get_mut(endpoint)
    }

    /// New streams begin with these credentials, and streams that are ready authenticate anew.
    pub(super) fn authenticate(&mut self, credentials: &Credentials, now: Timestamp, out: &mut Outputs) {
        self.settings.set_credentials(credentials);
        for connection in self.iter_mut() {
            connection.authenticate(credentials, now, out);
        }
    }

    /// Makes room by removing a node without commands.
    fn remove_one(&mut self, out: &mut Outputs) -> Option<()> {
        let idle = self.nodes.iter().enumerate().filter(|(_, node)| !node.connection.is_busy());
        let place = idle.min_by_key(|(_, node)| node.is_listed)?.0;
        self.nodes.remove(place).connection.close_idle(out);
        Some(())
    }

    /// Notes which nodes are masters in a new map.
    pub(super) fn mark_listed(&mut self, map: &Map, now: Timestamp, out: &mut Outputs) {
        if self.settings.tracking.is_some() {
            self.probe_tags = map.tags();
        }
        let tags = std::mem::take(&mut self.probe_tags);
        for node in &mut self.nodes {
            node.is_listed = map.masters().contains(&node.endpoint);
            node.connection.set_probe_tag(tag_of(&tags, &node.endpoint), now, out);
        }
        self.probe_tags = tags;
    }

    fn probe_tag(&self, endpoint: &Endpoint) -> Option<u32> {
        tag_of(&self.probe_tags, endpoint)
    }

    /// Ends the streams to nodes that are not in the map and have owed a reply for `long`: no command waits for a
    /// dead master if there is a new one.
    pub(super) fn close_stale(&mut self, long: Duration, now: Timestamp, out: &mut Outputs) {
        for Node { connection, .. } in self.nodes.iter_mut().filter(|node| !node.is_listed) {
            if connection.silent_since().is_some_and(|silent| silent.after(long) <= now) {
                connection.hang_up(Failure::Timeout, now, out);
            }
        }
    }

    /// Removes the nodes that are not in the map and have no commands.
    pub(super) fn remove_unlisted(&mut self, out: &mut Outputs) {
        self.nodes.retain_mut(|node| {
            let stays = node.is_listed || node.connection.is_busy();
            if !stays {
                node.connection.close_idle(out);
            }
            stays
        });
    }

    /// Takes the commands that were not written to any node yet, the oldest first.
    pub(super) fn take_waiting(&mut self) -> Vec<PendingCommand> {
        let mut commands: Vec<_> = self.iter_mut().flat_map(Connection::take_waiting).collect();
        commands.sort_unstable_by_key(|pending| pending.id);
        commands
    }

    /// What happened at each node.
    pub(super) fn take_report(&mut self) -> impl Iterator<Item = (&Endpoint, ConnectionReport)> {
        self.nodes.iter_mut().map(|node| (&node.endpoint, node.connection.take_report()))
    }

    /// The connection with this stream.
    pub(super) fn owner(&mut self, stream: StreamId) -> Option<&mut Connection> {
        self.iter_mut().find(|node| node.owns(stream))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.iter().any(Connection::is_busy)
    }

    /// Since when nothing arrived from a node that owes a reply.
    pub(super) fn silent_since(&self) -> Option<Timestamp> {
        self.iter().filter_map(Connection::silent_since).min()
    }

    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.iter().filter_map(Connection::next_wake).min()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.nodes.iter().map(|node| &node.connection)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.nodes.iter_mut().map(|node| &mut node.connection)
    }
}

fn tag_of(tags: &[(Endpoint, u32)], endpoint: &Endpoint) -> Option<u32> {
    tags.iter().find(|(master, _)| master == endpoint).map(|(_, tag)| *tag)
}
