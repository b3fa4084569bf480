//! What the client wants the host to do, and what it reports.

use std::collections::VecDeque;
use std::fmt;

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::reply::{Reply, ServerError};
use super::tracking::{Changed, Untracked};

/// The number of a stream, from [`Output::Open`] on. No number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(super) u64);

#[cfg(test)]
impl StreamId {
    /// A stream of a test.
    pub(crate) const fn of_test(number: u64) -> Self {
        Self(number)
    }
}

/// The number of a command that was sent. No number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub(super) u64);

/// What the host has to do, in this order.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a stream of bytes to a server.
    Open {
        /// Its number from now on.
        stream: StreamId,
        /// The server.
        endpoint: Endpoint,
    },
    /// Write to a stream that is open.
    Write {
        /// The stream.
        stream: StreamId,
        /// The bytes, all of them and in order. The password may be among them.
        bytes: Vec<u8>,
    },
    /// Close a stream, open or not. The client ignores what the host says about it later.
    Close {
        /// The stream.
        stream: StreamId,
    },
    /// A command is done. Each command has this once, unless it was cancelled.
    Done {
        /// The command.
        command: CommandId,
        /// The reply of Redis, which may be an error, or why there is none.
        outcome: Result<Reply, Failure>,
    },
    /// A server told that keys which the client has read have changed. What was read from it before is not valid any more.
    Changed(Changed),
    /// Something for logs and metrics.
    Event(Event),
}

/// Something for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done.
    Connected {
        /// The server.
        endpoint: Endpoint,
    },
    /// A connection could not be made: the stream or the handshake failed.
    ConnectFailed {
        /// The server.
        endpoint: Endpoint,
        /// Why.
        failure: Failure,
    },
    /// A server refused new credentials on a connection, which goes on with the rights that it has.
    AuthRefused {
        /// The server.
        endpoint: Endpoint,
        /// Its reply.
        error: ServerError,
    },
    /// A connection ended.
    Disconnected {
        /// The server.
        endpoint: Endpoint,
        /// Why. [`Failure::Lost`] means that the other side closed it, which is normal if nothing was in flight;
        /// [`Failure::Timeout`] means that it is presumed hung.
        failure: Failure,
        /// How many commands were in flight.
        in_flight: usize,
    },
    /// Whether a server tells a connection of changed keys.
    Tracking {
        /// The server.
        endpoint: Endpoint,
        /// Why it does not.
        result: Result<(), Untracked>,
    },
    /// The client closed a connection that was idle.
    IdleClosed {
        /// The server.
        endpoint: Endpoint,
    },
    /// A Sentinel did not name the master, its subscription ended, or a node did not give the map of the slots.
    LookupFailed {
        /// The Sentinel or node that was asked.
        endpoint: Endpoint,
        /// Why.
        failure: Failure,
    },
    /// Another server is the master now, as it says itself, or a Cluster has a new master. It may lack the last
    /// writes to the one before it.
    MasterChanged {
        /// The new one.
        endpoint: Endpoint,
    },
    /// The slots of the Cluster have moved to other masters.
    SlotsChanged {
        /// How many masters there are.
        masters: usize,
    },
}

/// Outputs that the host has not taken yet.
#[derive(Default)]
pub(super) struct Outputs {
    outputs: VecDeque<Output>,
    streams: u64,
}

impl Outputs {
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

    pub(super) fn changed(&mut self, changed: Changed) {
        self.outputs.push_back(Output::Changed(changed));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// The oldest output.
    pub(super) fn take(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

/// The bytes of a write may be a password or a session, so only their number is printed. So is that of keys.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { stream, endpoint } => write!(f, "Open({stream:?}, {endpoint:?})"),
            Self::Write { stream, bytes } => write!(f, "Write({stream:?}, {} bytes)", bytes.len()),
            Self::Close { stream } => write!(f, "Close({stream:?})"),
            Self::Done { command, outcome } => write!(f, "Done({command:?}, {outcome:?})"),
            Self::Changed(Changed::All) => f.write_str("Changed(all)"),
            Self::Changed(Changed::Keys(keys)) => write!(f, "Changed({} keys)", keys.len()),
            Self::Event(event) => write!(f, "Event({event:?})"),
        }
    }
}
