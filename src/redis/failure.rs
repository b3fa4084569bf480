//! Why a command has no reply, in sentences for an operator's log. They contain no key, value or password.

use std::fmt;

use super::endpoint::Endpoint;
use super::reply::ServerError;

/// Why a command has no reply. The text is for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, unknown host, TLS failure, or no reply to the handshake in time.
    Unreachable,
    /// No connection, and the reason that the host gives.
    NotConnected(String),
    /// The server is there, but not ready: it loads its data, or has too many clients.
    NotReady(ServerError),
    /// The server rejects the credentials or the database, or the user may not run a command of the handshake.
    HandshakeRefused {
        /// The command of the handshake.
        command: &'static str,
        /// The reply of the server.
        error: ServerError,
    },
    /// The server is there, but it is not a master, or no longer.
    NotMaster,
    /// The Sentinel knows no master of this name.
    UnknownMaster,
    /// The map of the slots that a node gave is invalid.
    BadMap,
    /// A Sentinel or a node announces a host that it may not announce.
    NotAllowed {
        /// The Sentinel or node.
        by: Endpoint,
        /// The server that it announces.
        named: Endpoint,
    },
    /// The server does not have the key, but it has just come back or taken over. So it may lack the value, which
    /// another proxy may write again.
    PossiblyStale,
    /// No reply before the command's deadline.
    Timeout,
    /// The connection broke after the command was written. It may or may not have run.
    Lost,
    /// The server sent something that is not Redis' protocol.
    Protocol(ProtocolError),
    /// Too many commands wait already.
    Overloaded,
}

/// What a server sent that is not RESP2. The rest of the stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A value of no known type.
    Type,
    /// A length or an integer that is invalid.
    Number,
    /// A line or a value without its line end.
    LineEnd,
    /// A line that is longer than Redis allows.
    LineTooLong,
    /// Arrays that are nested too deep.
    TooDeep,
    /// An array that is too large for a reply to our commands.
    TooLarge,
    /// A reply without a command in flight.
    Unasked,
    /// A reply that cannot belong to the first command in flight.
    Misplaced,
}

impl Failure {
    /// The failure of a stream that was not ready: no command was lost with it.
    pub(super) fn before_ready(self) -> Self {
        match self {
            Self::Lost | Self::Timeout => Self::Unreachable,
            failure => failure,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("Redis does not answer"),
            Self::NotConnected(reason) => write!(f, "Redis does not answer ({reason})"),
            Self::NotReady(error) => write!(f, "Redis is not ready ({error})"),
            Self::HandshakeRefused { command, error } => {
                let command = command.to_ascii_uppercase();
                write!(f, "Redis refused the credentials or the database ({command}: {error})")
            }
            Self::NotMaster => f.write_str("the server is not the master"),
            Self::UnknownMaster => f.write_str("the Sentinel knows no master of this name"),
            Self::BadMap => f.write_str("the node gave an invalid map of the cluster's slots"),
            Self::NotAllowed { by, named } => {
                write!(f, "{by} announces the server {named}, which redis_allowed_hosts does not allow")
            }
            Self::PossiblyStale => {
                f.write_str("the server has just come back or taken over, and may lack data")
            }
            Self::Timeout => f.write_str("Redis did not answer in time"),
            Self::Lost => f.write_str("the connection to Redis broke"),
            Self::Protocol(error) => write!(f, "the server does not speak Redis' protocol ({error})"),
            Self::Overloaded => f.write_str("too many commands wait for Redis"),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "a value of an unknown type",
            Self::Number => "an invalid number",
            Self::LineEnd => "a line end is missing",
            Self::LineTooLong => "a line is too long",
            Self::TooDeep => "arrays are nested too deep",
            Self::TooLarge => "an array is too large",
            Self::Unasked => "a reply without a command",
            Self::Misplaced => "a reply that belongs to another command; bytes were lost on the way",
        })
    }
}

impl std::error::Error for Failure {}

impl std::error::Error for ProtocolError {}
