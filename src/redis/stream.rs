//! One stream of bytes to one server, and the handshake on it.
//!
//! ```text
//! open ──► Opening ── opened: write the handshake ──► Greeting ── all its replies came ──► Ready ──► replies
//! ```
//!
//! An open stream does not prove that the server is there: the host opens it before TCP is connected. A reply does.

use std::rc::Rc;

use super::endpoint::Endpoint;
use super::failure::{Failure, ProtocolError};
use super::handshake::{Handshake, Progress};
use super::output::{Outputs, StreamId};
use super::reply::Reply;
use super::resp::Decoder;
use super::tracking::Untracked;
use crate::time::Timestamp;

pub(super) struct Stream {
    id: StreamId,
    since: Timestamp,
    handshake: Rc<Handshake>,
    /// Whether the server is told our name.
    is_named: bool,
    phase: Phase,
    decoder: Decoder,
    /// Why the server does not track keys.
    untracked: Option<Untracked>,
}

enum Phase {
    /// The stream was asked for.
    Opening,
    /// The handshake was written, and `answered` of its replies arrived.
    Greeting { answered: usize },
    /// Commands may be written.
    Ready,
}

/// What arrived from the server.
pub(super) enum StreamEvent {
    /// The handshake is done.
    Ready,
    /// A reply to what was written after it.
    Reply(Reply),
    /// What the server tells by itself.
    Push(Vec<Reply>),
}

impl Stream {
    /// Asks for a stream.
    pub(super) fn open(
        endpoint: &Endpoint,
        handshake: &Rc<Handshake>,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Self {
        Self {
            id: out.open(endpoint),
            since: now,
            handshake: Rc::clone(handshake),
            is_named: handshake.sends_name_to(endpoint),
            phase: Phase::Opening,
            decoder: Decoder::default(),
            untracked: None,
        }
    }

    /// The same, and the server is not told our name.
    pub(super) fn without_name(self) -> Self {
        Self { is_named: false, ..self }
    }

    /// Whether the server is told our name.
    pub(super) const fn is_named(&self) -> bool {
        self.is_named
    }

    /// Whether the server was asked to tell of changed keys.
    pub(super) fn asks_for_tracking(&self) -> bool {
        self.handshake.is_tracking() && self.is_named
    }

    /// Why it refused that.
    pub(super) const fn untracked(&self) -> Option<&Untracked> {
        self.untracked.as_ref()
    }

    /// Whether the handshake was written and is not done yet.
    pub(super) const fn is_greeting(&self) -> bool {
        matches!(self.phase, Phase::Greeting { .. })
    }

    pub(super) const fn id(&self) -> StreamId {
        self.id
    }

    /// It replaces a stream that was asked for at this time.
    pub(super) const fn backdate(&mut self, since: Timestamp) {
        self.since = since;
    }

    /// When it was asked for.
    pub(super) const fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether the handshake is done.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Whether the start of a reply has arrived, but not its end.
    pub(super) const fn is_within_reply(&self) -> bool {
        self.decoder.is_within_reply()
    }

    /// The host opened a stream. It may be this one.
    pub(super) fn opened(&mut self, id: StreamId, out: &mut Outputs) {
        if id == self.id && matches!(self.phase, Phase::Opening) {
            self.phase = Phase::Greeting { answered: 0 };
            out.write(id, self.handshake.bytes(self.is_named));
        }
    }

    /// The next event, cut off from the front of `bytes`; `None` if it is not complete.
    ///
    /// # Errors
    /// The failure, if the stream has to end.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<StreamEvent>, Failure> {
        while let Some(reply) = self.decoder.decode(bytes).map_err(Failure::Protocol)? {
            let may_push = self.asks_for_tracking();
            match (&mut self.phase, reply) {
                (Phase::Opening, _) => return Err(Failure::Protocol(ProtocolError::Unasked)),
                // Only a server that was asked may speak RESP3.
                (_, Reply::Push(_)) if !may_push => {
                    return Err(Failure::Protocol(ProtocolError::Type));
                }
                (Phase::Ready, Reply::Push(items)) => return Ok(Some(StreamEvent::Push(items))),
                (Phase::Greeting { .. }, Reply::Push(_)) => {}
                (Phase::Greeting { answered }, reply) => {
                    if let Some(why) = self.handshake.refuses_tracking(*answered, &reply) {
                        self.untracked.get_or_insert(why);
                    }
                    match self.handshake.reply(*answered, &reply)? {
                        Progress::Answered(count) => *answered = count,
                        Progress::Complete => {
                            self.phase = Phase::Ready;
                            return Ok(Some(StreamEvent::Ready));
                        }
                    }
                }
                (Phase::Ready, reply) => return Ok(Some(StreamEvent::Reply(reply))),
            }
        }
        Ok(None)
    }
}
