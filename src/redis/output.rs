//! What the client wants done, and what it tells.

use std::collections::VecDeque;
use std::fmt;

use super::config::Endpoint;
use super::failure::Failure;
use super::reply::Reply;

/// Names a stream, from [`Output::Open`] on. No number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u64);

/// Names a command that was sent. No number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub(super) u64);

/// What the host has to do, in this order.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a stream of bytes to a server.
    Open {
        /// Its name from now on.
        stream: StreamId,
        /// The server.
        endpoint: Endpoint,
    },
    /// Write to a stream that was opened.
    Write {
        /// The stream.
        stream: StreamId,
        /// All of them, in order. The password may be among them.
        bytes: Vec<u8>,
    },
    /// Close a stream, opened or not. Whatever the host says about it later is no matter.
    Close {
        /// The stream.
        stream: StreamId,
    },
    /// A command is done. Every command has this once, unless it was cancelled.
    Done {
        /// The command.
        command: CommandId,
        /// What Redis answered (an error, too), or why it did not.
        outcome: Result<Reply, Failure>,
    },
    /// Something for logs and metrics.
    Event(Event),
}

/// Something for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done.
    Connected {
        /// With whom.
        endpoint: Endpoint,
    },
    /// There was no connection: the stream or the handshake failed.
    ConnectFailed {
        /// To whom.
        endpoint: Endpoint,
        /// Why.
        failure: Failure,
    },
    /// A connection ended.
    Disconnected {
        /// To whom.
        endpoint: Endpoint,
        /// Why. [`Failure::Lost`] is "closed by the other side", which is normal where nothing was in
        /// flight; [`Failure::Timeout`] is "presumed hung".
        failure: Failure,
        /// How many commands were in flight.
        in_flight: usize,
    },
    /// We closed a connection that nobody used.
    IdleClosed {
        /// To whom.
        endpoint: Endpoint,
    },
    /// A Sentinel did not name the master, or its subscription ended; or a node did not tell the slots.
    LookupFailed {
        /// Who was asked.
        endpoint: Endpoint,
        /// Why.
        failure: Failure,
    },
    /// Another server is the master than before, as it says itself, or a Cluster has one that it had not. It may
    /// lack what the one before it was told last.
    MasterChanged {
        /// The new one.
        endpoint: Endpoint,
    },
    /// The slots of the Cluster are with other masters than before.
    SlotsChanged {
        /// How many masters there are.
        masters: usize,
    },
}

/// Outputs that the host did not take yet.
#[derive(Default)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    streams: u64,
}

impl Outbox {
    /// Asks for a stream.
    pub(super) fn open(&mut self, endpoint: &Endpoint) -> StreamId {
        self.streams = self.streams.wrapping_add(1);
        let stream = StreamId(self.streams);
        self.outputs.push_back(Output::Open { stream, endpoint: endpoint.clone() });
        stream
    }

    pub(super) fn write(&mut self, stream: StreamId, bytes: Vec<u8>) {
        self.outputs.push_back(Output::Write { stream, bytes });
    }

    pub(super) fn close(&mut self, stream: StreamId) {
        self.outputs.push_back(Output::Close { stream });
    }

    pub(super) fn done(&mut self, command: CommandId, outcome: Result<Reply, Failure>) {
        self.outputs.push_back(Output::Done { command, outcome });
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// The oldest output.
    pub(super) fn take(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

/// What is written may be a password or a session, so only its length is printed.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { stream, endpoint } => write!(f, "Open({stream:?}, {endpoint:?})"),
            Self::Write { stream, bytes } => write!(f, "Write({stream:?}, {} bytes)", bytes.len()),
            Self::Close { stream } => write!(f, "Close({stream:?})"),
            Self::Done { command, outcome } => write!(f, "Done({command:?}, {outcome:?})"),
            Self::Event(event) => write!(f, "Event({event:?})"),
        }
    }
}
