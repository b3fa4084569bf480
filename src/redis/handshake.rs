//! What is said before the first command: who we are, which database, what we are called.
//!
//! ```text
//! AUTH [username] password      where there are credentials
//! SELECT database               where it is not 0
//! CLIENT SETNAME name           always: its reply, even an error, proves that the server answers
//! PING                          in its place, where the server hangs up on it, as twemproxy does
//! ROLE                          where a Sentinel says that it is the master, which may be out of date
//! ```
//!
//! They are written at once. Ordinary commands wait for all replies, because after a `SELECT` that
//! failed they would go to another database.

use std::cell::RefCell;

use super::command::Command;
use super::config::{Credentials, Endpoint};
use super::failure::Failure;
use super::reply::Reply;

/// The handshake of every connection to a server.
pub(super) struct Handshake {
    commands: Vec<Command>,
    /// Servers that hang up on a name.
    nameless: RefCell<Vec<Endpoint>>,
}

/// What a reply means for the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many replies have come, and more have to.
    Answered(usize),
    /// All have come.
    Complete,
}

const SET_NAME: &str = "client setname";

const ROLE: &str = "role";

/// So many servers that hang up on a name are remembered.
const MAX_NAMELESS: usize = 256;

impl Handshake {
    /// Says who we are, and what we are called.
    pub(super) fn new(credentials: Option<&Credentials>, client_name: &str) -> Self {
        let mut commands = Vec::new();
        if let Some(credentials) = credentials {
            let password = credentials.password.as_bytes();
            commands.push(match &credentials.username {
                Some(username) => Command::new("auth", &[b"AUTH", username.as_bytes(), password]),
                None => Command::new("auth", &[b"AUTH", password]),
            });
        }
        commands.push(Command::new(SET_NAME, &[b"CLIENT", b"SETNAME", client_name.as_bytes()]));
        Self { commands, nameless: RefCell::default() }
    }

    /// Whether this server may be told our name.
    pub(super) fn sends_name_to(&self, endpoint: &Endpoint) -> bool {
        !self.nameless.borrow().contains(endpoint)
    }

    /// This server hangs up on a name.
    pub(super) fn omit_name_for(&self, endpoint: &Endpoint) {
        let mut nameless = self.nameless.borrow_mut();
        if nameless.len() < MAX_NAMELESS && !nameless.contains(endpoint) {
            nameless.push(endpoint.clone());
        }
    }

    /// Also chooses the database.
    pub(super) fn with_database(mut self, database: u32) -> Self {
        if database != 0 {
            let number = database.to_string();
            // Before the name, which may fail.
            let position = self.commands.len().saturating_sub(1);
            self.commands.insert(position, Command::new("select", &[b"SELECT", number.as_bytes()]));
        }
        self
    }

    /// Also makes sure that it is a master.
    pub(super) fn with_role(mut self) -> Self {
        self.commands.push(Command::new(ROLE, &[b"ROLE"]));
        self
    }

    /// All commands, as they go over the wire, with our name or without it.
    pub(super) fn bytes(&self, is_named: bool) -> Vec<u8> {
        let ping = Command::ping();
        let is_replaced = |command: &Command| command.name() == SET_NAME && !is_named;
        let commands = self.commands.iter().map(|command| if is_replaced(command) { &ping } else { command });
        commands.flat_map(Command::bytes).copied().collect()
    }

    /// What the reply means that comes after `answered` others.
    ///
    /// # Errors
    /// The failure where this connection is of no use.
    pub(super) fn reply(&self, answered: usize, reply: &Reply) -> Result<Progress, Failure> {
        let name = self.commands.get(answered).map(Command::name);
        if let Reply::Error(error) = reply {
            // A server that is full says so to whatever comes first.
            if error.is_temporary() {
                return Err(Failure::NotReady(error.clone()));
            }
            let is_optional = name == Some(SET_NAME);
            // Without credentials, this is where a server asks for them, or refuses our address.
            if !is_optional || matches!(error.code(), "NOAUTH" | "DENIED") {
                return Err(Failure::HandshakeRefused {
                    command: name.unwrap_or_default(),
                    error: error.clone(),
                });
            }
        }
        if name == Some(ROLE) && !is_master(reply) {
            return Err(Failure::NotMaster);
        }
        let answered = answered.saturating_add(1);
        let is_complete = answered >= self.commands.len();
        Ok(if is_complete { Progress::Complete } else { Progress::Answered(answered) })
    }
}

/// Whether this is how a master answers `ROLE`.
fn is_master(reply: &Reply) -> bool {
    let Reply::Array(items) = reply else {
        return false;
    };
    matches!(items.first(), Some(Reply::Bulk(role)) if role == b"master")
}
