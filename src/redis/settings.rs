//! What the connections of one topology have in common.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::config::{ClientConfig, Credentials};
use super::handshake::Handshake;
use super::reply::ServerError;
use super::tracking::TrackingConfig;

/// What the connections of one topology have in common.
pub(super) struct Settings {
    handshake: RefCell<Rc<Handshake>>,
    pub(super) connect_timeout: Duration,
    pub(super) command_timeout: Duration,
    /// `None` means that an idle stream stays.
    pub(super) idle_timeout: Option<Duration>,
    /// The errors that the topology deals with itself. They are handed back to it with their commands.
    pub(super) hands_back: fn(&ServerError) -> bool,
    /// Whether the topology has to look up the server again for each stream.
    pub(super) is_resolved_per_stream: bool,
    /// Whether a replica may have the data of a server that comes back without them.
    pub(super) has_replicas: bool,
    pub(super) tracking: Option<TrackingConfig>,
}

impl Settings {
    pub(super) fn new(
        config: &ClientConfig,
        handshake: Handshake,
        hands_back: fn(&ServerError) -> bool,
    ) -> Self {
        Self {
            handshake: RefCell::new(Rc::new(handshake)),
            connect_timeout: config.connect_timeout,
            command_timeout: config.command_timeout,
            idle_timeout: Some(config.idle_timeout).filter(|timeout| !timeout.is_zero()),
            hands_back,
            is_resolved_per_stream: false,
            has_replicas: false,
            tracking: config.tracking.clone(),
        }
    }

    /// The handshake of the next stream.
    pub(super) fn handshake(&self) -> Rc<Handshake> {
        Rc::clone(&self.handshake.borrow())
    }

    /// From now on streams begin with these credentials.
    pub(super) fn set_credentials(&self, credentials: &Credentials) {
        let handshake = self.handshake().with_credentials(credentials);
        self.handshake.replace(Rc::new(handshake));
    }

    /// A replica may have the data of a server that comes back without them.
    pub(super) const fn replicated(mut self) -> Self {
        self.has_replicas = true;
        self
    }

    /// The topology looks up the server again for each stream.
    pub(super) const fn resolved_per_stream(mut self) -> Self {
        self.is_resolved_per_stream = true;
        self
    }
}
