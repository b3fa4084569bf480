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
use crate::redis::command::Command;
use crate::redis::config::Endpoint;
use crate::redis::failure::{Failure, ProtocolError};
use crate::redis::handshake::Handshake;
use crate::redis::naming::Naming;
use crate::redis::output::{Outbox, StreamId};
use crate::redis::reply::Reply;
use crate::redis::stream::{Heard, Stream};
use crate::time::Timestamp;

pub(super) struct Survey {
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
    asker: Asker,
}

/// How nodes are asked.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) handshake: Rc<Handshake>,
    naming: Rc<Naming>,
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

impl Asker {
    pub(super) const fn new(handshake: Rc<Handshake>, naming: Rc<Naming>, timeout: Duration) -> Self {
        Self { handshake, naming, timeout, without_shards: Vec::new() }
    }

    /// A node was asked.
    pub(super) fn learn(&mut self, survey: &Survey) {
        if survey.lacks_shards && !self.without_shards.contains(&survey.endpoint) {
            if self.without_shards.len() >= MAX_MASTERS {
                self.without_shards.clear();
            }
            self.without_shards.push(survey.endpoint.clone());
        }
    }
}

impl Survey {
    /// Asks the first node; nothing where there is none.
    pub(super) fn open(
        asker: &Asker,
        mut nodes: VecDeque<Endpoint>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Option<Self> {
        let endpoint = nodes.pop_front()?;
        let lacks_shards = asker.without_shards.contains(&endpoint);
        Some(Self {
            since: now,
            stream: Stream::open(&endpoint, &asker.handshake, now, out),
            endpoint,
            others: nodes,
            question: if lacks_shards { Question::Slots } else { Question::Shards },
            lacks_shards,
            asker: asker.clone(),
        })
    }

    /// Asks the next node; nothing where there is none.
    pub(super) fn next(self, now: Timestamp, out: &mut Outbox) -> Option<Self> {
        let next = Self::open(&self.asker, self.others, now, out)?;
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
        let Some(heard) = self.stream.next(&mut bytes)? else {
            return Ok(None);
        };
        let map = match (heard, self.question) {
            (Heard::Ready, _) => None,
            (Heard::Reply(reply), Question::Slots) => {
                Some(slots::read(&reply, &self.endpoint, &self.asker.naming)?)
            }
            (Heard::Reply(reply), Question::Shards) => {
                self.question = Question::Slots;
                self.lacks_shards = matches!(&reply, Reply::Error(error) if !error.is_temporary());
                shards::read(&reply, &self.endpoint, &self.asker.naming)
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
        self.stream.since().after(self.asker.timeout)
    }
}
