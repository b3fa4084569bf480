//! One stream to one Sentinel: who is the master, and who becomes it later.
//!
//! ```text
//! Stream ── ready: write both questions ──► Asking ── an address ──► Subscribing ── yes ──► Watching ◄─┐
//!                                                                                             │        │ PONG
//!                                                              ping, for somebody needs it  ──┴────────┘
//! ```
//!
//! - The questions are one write, and a Sentinel does the commands of one read one after the other. So
//!   no switch comes between the address and the subscription. (The other order is not possible: after
//!   `SUBSCRIBE`, a stream of RESP2 takes no other commands.)
//! - There are two channels, subscribed to one by one: a Sentinel may have an ACL that allows only the first,
//!   which is enough.
//! - Whatever goes wrong ends the stream: the next Sentinel is asked, and the address with it.
//! - A Sentinel that is cut off says nothing, as one that has nothing to say. So it is pinged, but only
//!   when commands are sent: a proxy without traffic has no timers.

use std::rc::Rc;
use std::time::Duration;

use super::answer;
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::command::Command;
use crate::redis::config::Endpoint;
use crate::redis::failure::{Failure, ProtocolError};
use crate::redis::handshake::Handshake;
use crate::redis::output::{Outbox, StreamId};
use crate::redis::reply::Reply;
use crate::redis::stream::{Stream, StreamEvent};
use crate::time::Timestamp;

/// A Sentinel that said nothing for this long is pinged.
const SILENCE: Duration = Duration::from_secs(10);

pub(super) struct Watch {
    endpoint: Endpoint,
    stream: Stream,
    phase: Phase,
    /// The end of the phase, where it has one.
    deadline: Option<Timestamp>,
    /// How long the Sentinel may take for an answer.
    timeout: Duration,
}

enum Phase {
    Asking,
    Subscribing,
    Watching { since: Timestamp, event: Timestamp },
}

impl Watch {
    pub(super) fn open(
        endpoint: &Endpoint,
        handshake: &Rc<Handshake>,
        timeout: Duration,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Self {
        Self {
            endpoint: endpoint.clone(),
            stream: Stream::open(endpoint, handshake, now, out),
            phase: Phase::Asking,
            deadline: Some(now.after(timeout)),
            timeout,
        }
    }

    pub(super) fn opened(&mut self, id: StreamId, out: &mut Outbox) {
        self.stream.opened(id, out);
    }

    /// The next master that is named, by what was cut off from the front of `bytes`; `None` where
    /// nothing complete is left.
    ///
    /// # Errors
    /// The failure where the stream has to end.
    pub(super) fn next(
        &mut self,
        name: &[u8],
        policy: &AnnouncePolicy,
        bytes: &mut &[u8],
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<Option<Endpoint>, Failure> {
        while let Some(event) = self.stream.next(bytes)? {
            let named = match event {
                StreamEvent::Ready => {
                    out.write(self.stream.id(), questions(name));
                    None
                }
                StreamEvent::Reply(reply) => self.answered(&reply, name, policy, now)?,
            };
            if named.is_some() {
                return Ok(named);
            }
        }
        Ok(None)
    }

    fn answered(
        &mut self,
        reply: &Reply,
        name: &[u8],
        policy: &AnnouncePolicy,
        now: Timestamp,
    ) -> Result<Option<Endpoint>, Failure> {
        match &mut self.phase {
            Phase::Asking => {
                let master = answer::master(reply, &self.endpoint, policy)?;
                self.phase = Phase::Subscribing;
                Ok(Some(master))
            }
            Phase::Subscribing if answer::is_subscribed(reply) => {
                self.phase = Phase::Watching { since: now, event: now };
                self.deadline = None;
                Ok(None)
            }
            Phase::Subscribing => Err(match reply {
                Reply::Error(error) => Failure::NotReady(error.clone()),
                _ => Failure::Protocol(ProtocolError::Unasked),
            }),
            Phase::Watching { event, .. } => {
                *event = now;
                self.deadline = None;
                answer::switch(reply, name, &self.endpoint, policy)
            }
        }
    }

    /// Makes sure that the Sentinel is still there, if it said nothing for long.
    pub(super) fn ping(&mut self, now: Timestamp, out: &mut Outbox) {
        if let Phase::Watching { event, .. } = self.phase
            && self.deadline.is_none()
            && now >= event.after(SILENCE)
        {
            self.deadline = Some(now.after(self.timeout));
            out.write(self.stream.id(), Command::ping().bytes().to_vec());
        }
    }

    /// Whether the Sentinel has not named a master yet.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking)
    }

    /// Whether it was subscribed to for so long.
    pub(super) fn lasted(&self, long: Duration, now: Timestamp) -> bool {
        matches!(self.phase, Phase::Watching { since, .. } if now >= since.after(long))
    }

    pub(super) const fn id(&self) -> StreamId {
        self.stream.id()
    }

    pub(super) fn into_endpoint(self) -> Endpoint {
        self.endpoint
    }

    /// When the Sentinel has to have answered.
    pub(super) const fn deadline(&self) -> Option<Timestamp> {
        self.deadline
    }
}

fn questions(name: &[u8]) -> Vec<u8> {
    let master = Command::new("sentinel", &[b"SENTINEL", b"get-master-addr-by-name", name]);
    let [switch, promoted] =
        [answer::SWITCH, answer::PROMOTED].map(|channel| Command::new("subscribe", &[b"SUBSCRIBE", channel]));
    [master.bytes(), switch.bytes(), promoted.bytes()].concat()
}
