//! Why a command has no reply, in sentences for an operator's log. No key, value or password is in them.

use std::fmt;

use super::config::Endpoint;
use super::reply::ServerError;

/// Why a command has no reply. The text is for logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: refused, unknown host, TLS failure, or no answer to the handshake in time.
    Unreachable,
    /// No connection, and the host says why.
    NotConnected(String),
    /// The server is there, but not ready: it loads its data, or has too many clients.
    NotReady(ServerError),
    /// The server wants other credentials, or has no such database, or the user may not run a command of the handshake.
    HandshakeRefused {
        /// What the command is called.
        command: &'static str,
        /// The server's answer.
        error: ServerError,
    },
    /// The server is there, and no master (any more).
    NotMaster,
    /// The Sentinel knows no master of this name.
    UnknownMaster,
    /// What the node says of the Cluster's slots makes no sense.
    BadMap,
    /// A Sentinel or a node names a host that it may not name.
    NotAllowed {
        /// Who says it.
        by: Endpoint,
        /// The server that it names.
        named: Endpoint,
    },
    /// The server has just come back or taken over, and does not have the value: it may have been lost on the way,
    /// and be written again.
    PossiblyStale,
    /// No reply before the command's deadline.
    Timeout,
    /// The connection broke after the command was written. It may or may not have run.
    Lost,
    /// The server sent what is not its protocol.
    Protocol(ProtocolError),
    /// Too many commands wait already.
    Overloaded,
}

/// What a server sent that is not RESP2. After it, nothing on the stream can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A value of no known type.
    Type,
    /// A length or an integer that is none.
    Number,
    /// A line or a value that does not end where it has to.
    LineEnd,
    /// A line that is longer than any of Redis.
    LineTooLong,
    /// Arrays that lie too deep in each other.
    TooDeep,
    /// An array that is larger than any reply to our commands.
    TooLarge,
    /// A reply, and no command that it could be for.
    Unasked,
    /// A reply that is not that to the command whose turn it is.
    Misplaced,
}

impl Failure {
    /// The same for a connection that was not ready: nothing was lost with it.
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
            Self::BadMap => f.write_str("what the node says of the cluster's slots makes no sense"),
            Self::NotAllowed { by, named } => {
                write!(f, "{by} names the server {named}, which redis_allowed_hosts does not allow")
            }
            Self::PossiblyStale => {
                f.write_str("the server has just come back or taken over, and may lack data")
            }
            Self::Timeout => f.write_str("Redis did not answer in time"),
            Self::Lost => f.write_str("the connection to Redis broke"),
            Self::Protocol(error) => write!(f, "what answers does not speak Redis' protocol ({error})"),
            Self::Overloaded => f.write_str("too many commands wait for Redis"),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "a value of no known type",
            Self::Number => "a number that is none",
            Self::LineEnd => "no line end where one has to be",
            Self::LineTooLong => "a line without an end",
            Self::TooDeep => "arrays too deep in each other",
            Self::TooLarge => "an array that is too large",
            Self::Unasked => "a reply that nobody asked for",
            Self::Misplaced => "a reply that belongs to another command; something on the way loses bytes",
        })
    }
}

impl std::error::Error for Failure {}

impl std::error::Error for ProtocolError {}
