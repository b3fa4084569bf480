//! How a topology has its connections.

use std::rc::Rc;
use std::time::Duration;

use super::config::ClientConfig;
use super::handshake::Handshake;
use super::reply::ServerError;

/// How a topology has its connections.
pub(super) struct Settings {
    pub(super) handshake: Rc<Handshake>,
    pub(super) connect_timeout: Duration,
    pub(super) command_timeout: Duration,
    /// `None` is never.
    pub(super) idle_timeout: Option<Duration>,
    /// Which errors are handed back.
    pub(super) hands_back: fn(&ServerError) -> bool,
    /// Whether somebody has to name the server anew for every stream.
    pub(super) is_resolved_per_stream: bool,
    /// Whether another server may have the data of one that comes back without them.
    pub(super) has_replicas: bool,
}

impl Settings {
    pub(super) fn new(
        config: &ClientConfig,
        handshake: Handshake,
        hands_back: fn(&ServerError) -> bool,
    ) -> Self {
        Self {
            handshake: Rc::new(handshake),
            connect_timeout: config.connect_timeout,
            command_timeout: config.command_timeout,
            idle_timeout: Some(config.idle_timeout).filter(|timeout| !timeout.is_zero()),
            hands_back,
            is_resolved_per_stream: false,
            has_replicas: false,
        }
    }

    /// Another server may have the data of one that comes back without them.
    pub(super) const fn replicated(mut self) -> Self {
        self.has_replicas = true;
        self
    }

    /// Somebody has to name the server anew for every stream.
    pub(super) const fn resolved_per_stream(mut self) -> Self {
        self.is_resolved_per_stream = true;
        self
    }
}
