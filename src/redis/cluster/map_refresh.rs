//! Asks nodes for the map of the slots, one after the other, until one gives it.
//!
//! ```text
//! Stream ── ready: CLUSTER SHARDS ──┬─ an unambiguous map ─────────────────────────────────► on_map
//!                                   └─ an error, ambiguous ── CLUSTER SLOTS ──┬─ a map ────► on_map
//!                                                                             └─ no map ───► on_map_failed
//! ```
//!
//! - Each node is asked over a new stream, because the stream for commands may hang.
//! - A node that does not know `SHARDS` (Redis before 7.0), or denies it by an ACL, is remembered. From then on it is
//!   asked for `SLOTS` at once.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::map::{MAX_MASTERS, Map};
use super::{shards, slots};
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::command::Command;
use crate::redis::endpoint::Endpoint;
use crate::redis::failure::{Failure, ProtocolError};
use crate::redis::handshake::Handshake;
use crate::redis::output::{Outputs, StreamId};
use crate::redis::reply::Reply;
use crate::redis::stream::{Stream, StreamEvent};
use crate::time::Timestamp;

pub(super) struct MapRefresh {
    /// When the first node was asked.
    pub(super) since: Timestamp,
    /// The node that is asked.
    pub(super) endpoint: Endpoint,
    /// The nodes that are asked next.
    others: VecDeque<Endpoint>,
    stream: Stream,
    question: Question,
    /// Whether this node cannot answer `SHARDS`.
    lacks_shards: bool,
    source: MapSource,
}

/// How nodes are asked for the map.
#[derive(Clone)]
pub(super) struct MapSource {
    pub(super) handshake: Rc<Handshake>,
    policy: Rc<AnnouncePolicy>,
    /// How long a node may take to answer.
    pub(super) timeout: Duration,
    /// The nodes that cannot answer `SHARDS`.
    without_shards: Vec<Endpoint>,
}

#[derive(Clone, Copy)]
enum Question {
    Shards,
    Slots,
}

impl MapSource {
    pub(super) const fn new(handshake: Rc<Handshake>, policy: Rc<AnnouncePolicy>, timeout: Duration) -> Self {
        Self { handshake, policy, timeout, without_shards: Vec::new() }
    }

    /// Remembers what a refresh found out about its node.
    pub(super) fn learn(&mut self, refresh: &MapRefresh) {
        if refresh.lacks_shards && !self.without_shards.contains(&refresh.endpoint) {
            if self.without_shards.len() >= MAX_MASTERS {
                self.without_shards.clear();
            }
            self.without_shards.push(refresh.endpoint.clone());
        }
    }
}

impl MapRefresh {
    /// Asks the first of these nodes; `None` if there is none.
    pub(super) fn open(
        source: &MapSource,
        mut nodes: VecDeque<Endpoint>,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Option<Self> {
        let endpoint = nodes.pop_front()?;
        let lacks_shards = source.without_shards.contains(&endpoint);
        Some(Self {
            since: now,
            stream: Stream::open(&endpoint, &source.handshake, now, out),
            endpoint,
            others: nodes,
            question: if lacks_shards { Question::Slots } else { Question::Shards },
            lacks_shards,
            source: source.clone(),
        })
    }

    /// Asks the next node; `None` if there is none.
    pub(super) fn next(self, now: Timestamp, out: &mut Outputs) -> Option<Self> {
        let next = Self::open(&self.source, self.others, now, out)?;
        Some(Self { since: self.since, ..next })
    }

    pub(super) fn opened(&mut self, id: StreamId, out: &mut Outputs) {
        self.stream.opened(id, out);
    }

    /// Bytes arrived. Returns the map if it is complete.
    ///
    /// # Errors
    /// The failure, if this node does not give the map.
    pub(super) fn received(&mut self, mut bytes: &[u8], out: &mut Outputs) -> Result<Option<Map>, Failure> {
        let Some(event) = self.stream.next(&mut bytes)? else {
            return Ok(None);
        };
        let map = match (event, self.question) {
            (StreamEvent::Ready, _) => None,
            (StreamEvent::Push(_), _) => return Err(Failure::Protocol(ProtocolError::Type)),
            (StreamEvent::Reply(reply), Question::Slots) => {
                Some(slots::read(&reply, &self.endpoint, &self.source.policy)?)
            }
            (StreamEvent::Reply(reply), Question::Shards) => {
                self.question = Question::Slots;
                self.lacks_shards = matches!(&reply, Reply::Error(error) if !error.is_temporary());
                shards::read(&reply, &self.endpoint, &self.source.policy)
            }
        };
        if map.is_none() {
            if !bytes.is_empty() {
                return Err(Failure::Protocol(ProtocolError::Unasked));
            }
            self.ask(out);
        }
        Ok(map)
    }

    fn ask(&self, out: &mut Outputs) {
        let question: &[u8] = match self.question {
            Question::Shards => b"SHARDS",
            Question::Slots => b"SLOTS",
        };
        out.write(self.stream.id(), Command::new("cluster", &[b"CLUSTER", question]).bytes().to_vec());
    }

    pub(super) const fn id(&self) -> StreamId {
        self.stream.id()
    }

    /// When the node has to have answered.
    pub(super) fn deadline(&self) -> Timestamp {
        self.stream.since().after(self.source.timeout)
    }
}
