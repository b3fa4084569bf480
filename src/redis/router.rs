//! What a [`Client`](super::Client) needs of a topology: which server gets a command, and to which a stream belongs.

use super::config::{Credentials, Servers};
use super::failure::Failure;
use super::load::Load;
use super::output::{CommandId, Outputs, StreamId};
use super::pending::PendingCommand;
use super::tracking::Served;
use crate::time::Timestamp;

pub(super) trait Router {
    /// Takes a command. Its outcome becomes an output, now or later. Its number is greater than all before.
    fn send(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outputs);

    /// The caller no longer waits for a command: its outcome does not become an output.
    fn cancel(&mut self, command: CommandId);

    /// The credentials of these servers have changed: new streams begin with them, and streams that are ready
    /// authenticate anew.
    fn set_credentials(&mut self, of: Servers, credentials: &Credentials, now: Timestamp, out: &mut Outputs);

    /// The host opened a stream.
    fn opened(&mut self, stream: StreamId, out: &mut Outputs);

    /// Bytes arrived.
    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp, out: &mut Outputs);

    /// The host closed a stream, or could not open it.
    fn closed(&mut self, stream: StreamId, why: Failure, now: Timestamp, out: &mut Outputs);

    /// Time passed.
    fn wake(&mut self, now: Timestamp, out: &mut Outputs);

    /// The stream by which the server of a key tells of its changes, if it does that.
    fn tracks(&self, key: &[u8]) -> Option<StreamId>;

    /// Whether what was read of a key over this stream is valid if no change was told, without a question.
    fn serves(&mut self, key: &[u8], stream: StreamId, now: Timestamp) -> Served;

    /// When to [`wake`](Self::wake) next.
    fn next_wake(&self) -> Option<Timestamp>;

    /// Writes the commands that wait, as far as their connections are ready.
    fn flush(&mut self, out: &mut Outputs);

    /// The commands that have no outcome yet.
    fn load(&self) -> Load;
}
