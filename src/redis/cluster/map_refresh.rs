//! Asks nodes for the map of the slots, one after the other, each over a stream of its own, until one
//! tells it.
//!
//! ```text
//! Stream ── ready: CLUSTER SHARDS ──┬─ a map without a doubt ──────────────────────────► told
//!                                   └─ an error, a doubt ── CLUSTER SLOTS ──┬─ a map ──► told
//!                                                                           └─ none ───► untold
//! ```
//!
//! - A stream of its own, because the node with a connection may be the one that hangs.
//! - A node that does not know `SHARDS` (Redis before 7.0), or has an ACL against it, is remembered, and asked
//!   for `SLOTS` at once from then on.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::map::{MAX_MASTERS, Map};
use super::{shards, slots};
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::command::Command;
use crate::redis::config::Endpoint;
use crate::redis::failure::{Failure, ProtocolError};
use crate::redis::handshake::Handshake;
use crate::redis::output::{Outbox, StreamId};
use crate::redis::reply::Reply;
use crate::redis::stream::{Stream, StreamEvent};
use crate::time::Timestamp;

pub(super) struct MapRefresh {
    /// When the first was asked.
    pub(super) since: Timestamp,
    /// Who is asked.
    pub(super) endpoint: Endpoint,
    /// Who is asked next.
    others: VecDeque<Endpoint>,
    stream: Stream,
    question: Question,
    /// Whether it is of no use to ask this node for `SHARDS`.
    lacks_shards: bool,
    source: MapSource,
}

/// How nodes are asked.
#[derive(Clone)]
pub(super) struct MapSource {
    pub(super) handshake: Rc<Handshake>,
    policy: Rc<AnnouncePolicy>,
    /// How long a node may take for its answer.
    pub(super) timeout: Duration,
    /// The nodes that it is of no use to ask for `SHARDS`.
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

    /// A node was asked.
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
    /// Asks the first node; nothing where there is none.
    pub(super) fn open(
        source: &MapSource,
        mut nodes: VecDeque<Endpoint>,
        now: Timestamp,
        out: &mut Outbox,
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

    /// Asks the next node; nothing where there is none.
    pub(super) fn next(self, now: Timestamp, out: &mut Outbox) -> Option<Self> {
        let next = Self::open(&self.source, self.others, now, out)?;
        Some(Self { since: self.since, ..next })
    }

    pub(super) fn opened(&mut self, id: StreamId, out: &mut Outbox) {
        self.stream.opened(id, out);
    }

    /// Bytes came; the map, once it is complete.
    ///
    /// # Errors
    /// The failure where this node does not tell it.
    pub(super) fn received(&mut self, mut bytes: &[u8], out: &mut Outbox) -> Result<Option<Map>, Failure> {
        let Some(event) = self.stream.next(&mut bytes)? else {
            return Ok(None);
        };
        let map = match (event, self.question) {
            (StreamEvent::Ready, _) => None,
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

    fn ask(&self, out: &mut Outbox) {
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
