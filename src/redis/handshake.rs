//! What is written before the first command: the credentials, the database, the name of the connection.
//!
//! ```text
//! AUTH [username] password      if there are credentials
//! SELECT database               if it is not 0
//! CLIENT SETNAME name           always: its reply, even an error, proves that the server answers
//! HELLO 3, HELLO,
//! CLIENT TRACKING ON            if changed keys are wanted: see `tracking`. An error means that there are none
//! PING                          instead of each of these, if the server hangs up on one, as twemproxy does
//! ROLE                          if a Sentinel named the master: that may be out of date
//! ```
//!
//! They are one write. Ordinary commands wait for all of their replies: after a failed `SELECT` they would run in
//! another database.
//!
//! `HELLO` alone asks which connection this is, and `tracking` does so again and again. Dragonfly goes back to RESP2 then, and
//! would tell of changes in the form of a reply. So it is not asked to tell of them. Redis before 6.2 answers with an error.

use std::cell::RefCell;

use super::command::{Command, HELLO};
use super::config::Credentials;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::reply::Reply;
use super::tracking::Untracked;

/// The handshake of all connections of a topology.
pub(super) struct Handshake {
    commands: Vec<Command>,
    /// Whether keys are tracked, if the server can do that.
    is_tracking: bool,
    /// The servers that hang up on `CLIENT SETNAME`, and how often in a row they did so.
    nameless: RefCell<Vec<(Endpoint, u8)>>,
    /// Whether the password has been set while the client runs. Then it may change again.
    may_change_password: bool,
}

/// What a reply means for the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// This many replies have arrived, and more have to.
    Answered(usize),
    /// All replies have arrived.
    Complete,
}

const SET_NAME: &str = "client setname";

const TRACKING: &str = "client tracking";

/// `HELLO` without a version.
const HELLO_ALONE: &str = "hello alone";

const ROLE: &str = "role";

/// This many servers that hang up on `CLIENT SETNAME` are remembered.
const MAX_NAMELESS: usize = 256;

/// A server that restarts hangs up once. This many times in a row, it is the handshake that the server does not like.
const HANG_UPS: u8 = 2;

impl Handshake {
    /// A handshake with the credentials and the name of the connection.
    pub(super) fn new(credentials: Option<&Credentials>, client_name: &str) -> Self {
        let mut commands: Vec<_> = credentials.map(Command::auth).into_iter().collect();
        commands.push(Command::new(SET_NAME, &[b"CLIENT", b"SETNAME", client_name.as_bytes()]));
        Self { commands, is_tracking: false, nameless: RefCell::default(), may_change_password: false }
    }

    /// The same handshake with other credentials.
    pub(super) fn with_credentials(&self, credentials: &Credentials) -> Self {
        let others = self.commands.iter().filter(|command| !command.is_auth());
        Self {
            commands: std::iter::once(Command::auth(credentials)).chain(others.cloned()).collect(),
            is_tracking: self.is_tracking,
            nameless: self.nameless.clone(),
            may_change_password: true,
        }
    }

    /// The failure for the commands that wait. If the password may change, a server that refuses it is not ready yet:
    /// the new one may be on its way, so commands wait for it as in any outage.
    pub(super) fn for_waiting(&self, failure: Failure) -> Failure {
        match failure {
            Failure::HandshakeRefused { error, .. }
                if self.may_change_password && error.is_about_password() =>
            {
                Failure::NotReady(error)
            }
            failure => failure,
        }
    }

    /// Whether the name is sent to this server.
    pub(super) fn sends_name_to(&self, endpoint: &Endpoint) -> bool {
        // Without keys that are tracked only the name is at stake.
        let enough = if self.is_tracking { HANG_UPS } else { 1 };
        !self.nameless.borrow().iter().any(|(other, times)| other == endpoint && *times >= enough)
    }

    /// The server accepted a handshake, with our name or without it.
    pub(super) fn accepted(&self, endpoint: &Endpoint, is_named: bool) {
        let mut nameless = self.nameless.borrow_mut();
        let place = nameless.iter().position(|(other, _)| other == endpoint);
        match place {
            Some(place) if is_named => {
                nameless.swap_remove(place);
            }
            Some(place) => {
                if let Some((_, times)) = nameless.get_mut(place) {
                    *times = times.saturating_add(1);
                }
            }
            None if !is_named && nameless.len() < MAX_NAMELESS => nameless.push((endpoint.clone(), 1)),
            None => {}
        }
    }

    /// Also selects the database.
    pub(super) fn with_database(mut self, database: u32) -> Self {
        if database != 0 {
            let number = database.to_string();
            // Before the name, whose command may fail.
            let position = self.commands.len().saturating_sub(1);
            self.commands.insert(position, Command::new("select", &[b"SELECT", number.as_bytes()]));
        }
        self
    }

    /// Also asks the server to tell of changed keys, if it `is_wanted`.
    pub(super) fn with_tracking(mut self, is_wanted: bool) -> Self {
        if is_wanted {
            self.is_tracking = true;
            self.commands.push(Command::new(HELLO, &[b"HELLO", b"3"]));
            self.commands.push(Command::new(HELLO_ALONE, &[b"HELLO"]));
            self.commands.push(Command::new(TRACKING, &[b"CLIENT", b"TRACKING", b"ON"]));
        }
        self
    }

    /// Whether it asks the server to tell of changed keys.
    pub(super) const fn is_tracking(&self) -> bool {
        self.is_tracking
    }

    /// Also checks that the server is a master.
    pub(super) fn with_role(mut self) -> Self {
        self.commands.push(Command::new(ROLE, &[b"ROLE"]));
        self
    }

    /// The bytes of all commands, with our name or without it.
    pub(super) fn bytes(&self, is_named: bool) -> Vec<u8> {
        let ping = Command::ping();
        let is_replaced = |command: &Command| is_optional(command.name()) && !is_named;
        let commands = self.commands.iter().map(|command| if is_replaced(command) { &ping } else { command });
        commands.flat_map(Command::bytes).copied().collect()
    }

    /// Whether a reply that arrives after `answered` others says that the server does not track keys.
    pub(super) fn refuses_tracking(&self, answered: usize, reply: &Reply) -> Option<Untracked> {
        match (self.commands.get(answered).map(Command::name), reply) {
            (Some(HELLO | TRACKING), Reply::Error(error)) => Some(Untracked::Refused(error.clone())),
            // A proxy that says `OK` to each command did not understand it.
            (Some(HELLO), reply) if !matches!(reply, Reply::Array(_)) => Some(Untracked::NoPush),
            (Some(HELLO_ALONE), Reply::Array(items)) if speaks_resp2(items) => Some(Untracked::Resp2),
            _ => None,
        }
    }

    /// What a reply means that arrives after `answered` others.
    ///
    /// # Errors
    /// The failure, if the connection cannot be used.
    pub(super) fn reply(&self, answered: usize, reply: &Reply) -> Result<Progress, Failure> {
        let name = self.commands.get(answered).map(Command::name);
        if let Reply::Error(error) = reply {
            // A server with too many clients says so in reply to the first command.
            if error.is_temporary() {
                return Err(Failure::NotReady(error.clone()));
            }
            // If we have no credentials, a server asks for them here, or refuses our address.
            if !name.is_some_and(is_optional) || matches!(error.code(), "NOAUTH" | "DENIED") {
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

/// Whether a connection is of use if the server refuses this command.
fn is_optional(name: &str) -> bool {
    matches!(name, SET_NAME | HELLO | HELLO_ALONE | TRACKING)
}

/// Whether this is what a server answers to `HELLO` if the connection speaks RESP2.
fn speaks_resp2(items: &[Reply]) -> bool {
    let is_protocol =
        |key: &Reply| matches!(key, Reply::Bulk(name) | Reply::Status(name) if name == b"proto");
    items.windows(2).any(|pair| matches!(pair, [key, Reply::Integer(2)] if is_protocol(key)))
}

/// Whether this is how a master answers `ROLE`.
fn is_master(reply: &Reply) -> bool {
    let Reply::Array(items) = reply else {
        return false;
    };
    matches!(items.first(), Some(Reply::Bulk(role)) if role == b"master")
}
