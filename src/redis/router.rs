//! What a [`Client`](super::Client) needs of the servers that there are: who gets a command, and whose
//! a stream is.

use super::failure::Failure;
use super::load::Load;
use super::output::{CommandId, Outbox, StreamId};
use super::pending::PendingCommand;
use crate::time::Timestamp;

pub(super) trait Router {
    /// Takes a command. Its outcome comes out, now or later. Its number is greater than all before.
    fn send(&mut self, pending: PendingCommand, now: Timestamp, out: &mut Outbox);

    /// Nobody waits for a command any more: its outcome does not come out.
    fn cancel(&mut self, command: CommandId);

    /// The host opened a stream.
    fn opened(&mut self, stream: StreamId, out: &mut Outbox);

    /// Bytes came.
    fn received(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp, out: &mut Outbox);

    /// The host closed a stream, or could not open it.
    fn closed(&mut self, stream: StreamId, why: Failure, now: Timestamp, out: &mut Outbox);

    /// Time passed.
    fn wake(&mut self, now: Timestamp, out: &mut Outbox);

    /// When to [`wake`](Self::wake) next.
    fn next_wake(&self) -> Option<Timestamp>;

    /// Writes what waits, if this is the time for it.
    fn flush(&mut self, out: &mut Outbox);

    /// The commands that are not done.
    fn load(&self) -> Load;
}
