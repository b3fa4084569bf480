//! One stream to one Sentinel: it asks for the master, and then subscribes to changes.
//!
//! ```text
//! Stream ── ready: write both questions ──► Asking ── an address ──► Subscribing ── yes ──► Watching ◄─┐
//!                                                                                             │        │ PONG
//!                                                              ping, if a command was sent  ──┴────────┘
//! ```
//!
//! - The question and the subscription are one write, and a Sentinel runs the commands of one read together. So no
//!   switch is missed between the address and the subscription. (The other order is not possible: after `SUBSCRIBE`,
//!   a RESP2 stream accepts no other commands.)
//! - The two channels are subscribed to one by one: an ACL of the Sentinel may allow only the first, which is enough.
//! - Any failure ends the stream. Then the next Sentinel is asked, again for the address first.
//! - A Sentinel that is cut off is as silent as one without news. So it is pinged, but only if commands are sent: a
//!   proxy without traffic has no timers.

use std::rc::Rc;
use std::time::Duration;

use super::answer;
use crate::redis::announce_policy::AnnouncePolicy;
use crate::redis::command::Command;
use crate::redis::endpoint::Endpoint;
use crate::redis::failure::{Failure, ProtocolError};
use crate::redis::handshake::Handshake;
use crate::redis::output::{Outputs, StreamId};
use crate::redis::reply::Reply;
use crate::redis::stream::{Stream, StreamEvent};
use crate::time::Timestamp;

/// A Sentinel that was silent for this long is pinged.
const SILENCE: Duration = Duration::from_secs(10);

pub(super) struct Watch {
    endpoint: Endpoint,
    stream: Stream,
    phase: Phase,
    /// The end of the phase, if it has one.
    deadline: Option<Timestamp>,
    /// How long the Sentinel may take to answer.
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
        out: &mut Outputs,
    ) -> Self {
        Self {
            endpoint: endpoint.clone(),
            stream: Stream::open(endpoint, handshake, now, out),
            phase: Phase::Asking,
            deadline: Some(now.after(timeout)),
            timeout,
        }
    }

    pub(super) fn opened(&mut self, id: StreamId, out: &mut Outputs) {
        self.stream.opened(id, out);
    }

    /// The next master that is announced, cut off from the front of `bytes`; `None` if nothing complete is left.
    ///
    /// # Errors
    /// The failure, if the stream has to end.
    pub(super) fn next(
        &mut self,
        name: &[u8],
        policy: &AnnouncePolicy,
        bytes: &mut &[u8],
        now: Timestamp,
        out: &mut Outputs,
    ) -> Result<Option<Endpoint>, Failure> {
        while let Some(event) = self.stream.next(bytes)? {
            let named = match event {
                StreamEvent::Ready => {
                    out.write(self.stream.id(), questions(name));
                    None
                }
                StreamEvent::Reply(reply) => self.answered(&reply, name, policy, now)?,
                StreamEvent::Push(_) => None,
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

    /// Checks that the Sentinel is still there, if it was silent for long.
    pub(super) fn ping(&mut self, now: Timestamp, out: &mut Outputs) {
        if let Phase::Watching { event, .. } = self.phase
            && self.deadline.is_none()
            && now >= event.after(SILENCE)
        {
            self.deadline = Some(now.after(self.timeout));
            out.write(self.stream.id(), Command::ping().bytes().to_vec());
        }
    }

    /// Whether the Sentinel has not named the master yet.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking)
    }

    /// Whether the subscription has lasted for `long`.
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
