//! How much one client may hold at a time: the commands of all its connections that have no outcome yet.

/// The most commands that wait or are in flight, over all connections.
pub(super) const MAX_COMMANDS: usize = 16_384;

/// The most bytes that they may have.
pub(super) const MAX_BYTES: usize = 32 << 20;

/// How many commands there are, and how many bytes they have together.
#[derive(Clone, Copy, Default)]
pub(super) struct Load {
    pub(super) commands: usize,
    pub(super) bytes: usize,
}

impl Load {
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            commands: self.commands.saturating_add(other.commands),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    pub(super) const fn is_too_much(self) -> bool {
        self.commands > MAX_COMMANDS || self.bytes > MAX_BYTES
    }
}
