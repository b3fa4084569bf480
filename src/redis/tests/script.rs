//! A client, a clock that the test moves, and outputs as text.

use std::time::Duration;

use crate::redis::resp::Decoder;
use crate::redis::{
    Changed, Client, ClientConfig, Command, CommandId, Credentials, Endpoint, Event, Failure, Output, Reply,
    ServerName, StreamId, Tls, Topology, TrackingConfig,
};
use crate::time::Timestamp;

/// One client and what a test does to it. Streams and commands are numbered from 1.
pub(super) struct Script {
    pub(super) client: Client,
    pub(super) now: Timestamp,
}

/// One second to connect, two for a command, and idle connections stay.
pub(super) fn config() -> ClientConfig {
    ClientConfig {
        topology: Topology::Single(Endpoint { host: "redis".to_owned(), port: 6379, tls: Tls::Off }),
        credentials: None,
        database: 0,
        client_name: "test".to_owned(),
        connect_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(2),
        idle_timeout: Duration::ZERO,
        allowed_hosts: Vec::new(),
        tracking: None,
        server_name: ServerName::default(),
    }
}

/// A connection is trusted for a second.
pub(super) fn tracking() -> TrackingConfig {
    let key_prefix = "cookie".to_owned();
    TrackingConfig { key_prefix, silence: Duration::from_secs(1), is_wanted: false }
}

pub(super) fn credentials(username: Option<&str>) -> Option<Credentials> {
    Some(Credentials { username: username.map(str::to_owned), password: "hunter2".to_owned() })
}

impl Script {
    pub(super) fn new() -> Self {
        Self::with(&config())
    }

    pub(super) fn with(config: &ClientConfig) -> Self {
        Self { client: Client::new(config, 1), now: Timestamp::from_secs(1_700_000_000) }
    }

    /// A client with a connection on stream 1, and command 1 is done.
    pub(super) fn connected() -> Self {
        Self::connected_with(&config())
    }

    pub(super) fn connected_with(config: &ClientConfig) -> Self {
        let mut script = Self::with(config);
        script.send(Command::ping());
        script.connects(1);
        assert_eq!(script.outputs().last().unwrap(), "1 write PING");
        script.receives(1, "+PONG\r\n");
        assert_eq!(script.outputs(), ["#1 +PONG"]);
        script
    }

    /// The stream opens, and the server answers the handshake, which is `CLIENT SETNAME` alone.
    pub(super) fn connects(&mut self, stream: u64) {
        self.client.opened(StreamId(stream));
        self.receives(stream, "+OK\r\n");
    }

    pub(super) fn send(&mut self, command: Command) -> CommandId {
        self.client.send(command, self.now)
    }

    /// Sends a `GET`.
    pub(super) fn get(&mut self, key: &str) -> CommandId {
        self.send(Command::get(key.as_bytes()))
    }

    pub(super) fn lock(&mut self) -> CommandId {
        self.send(Command::lock(b"l", b"me", Duration::from_secs(5)))
    }

    pub(super) fn opened(&mut self, stream: u64) {
        self.client.opened(StreamId(stream));
    }

    pub(super) fn receives(&mut self, stream: u64, bytes: &str) {
        self.client.received(StreamId(stream), bytes.as_bytes(), self.now);
    }

    pub(super) fn closed(&mut self, stream: u64) {
        self.client.closed(StreamId(stream), self.now);
    }

    pub(super) fn not_connected(&mut self, stream: u64, reason: &str) {
        self.client.not_connected(StreamId(stream), reason.to_owned(), self.now);
    }

    /// Time passes, and the host wakes the client at each time that it asks for.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        while let Some(wake) = self.client.next_wake().filter(|wake| *wake <= end) {
            assert!(wake >= self.now, "the client asks to be woken in the past");
            self.now = wake;
            self.client.wake(wake);
            assert_ne!(self.client.next_wake(), Some(wake), "the client asks to be woken again and again");
        }
        self.now = end;
    }

    /// Time passes in which each stream that is asked for has the same `fate`. Returns the outputs with their times.
    pub(super) fn endure(&mut self, millis: u64, fate: impl Fn(&mut Self, u64)) -> Vec<(u64, String)> {
        let mut outputs = Vec::new();
        for moment in (0..millis).step_by(10) {
            for output in self.outputs() {
                if let Some(stream) = output.strip_suffix(" open redis:6379") {
                    fate(self, stream.parse().unwrap());
                }
                outputs.push((moment, output));
            }
            self.pass(10);
        }
        outputs
    }

    /// In how many milliseconds the client asks to be woken.
    pub(super) fn next_wake(&self) -> Option<u128> {
        self.client.next_wake().map(|wake| wake.since(self.now).as_millis())
    }

    pub(super) fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.client.next_output()).map(text).collect()
    }
}

pub(super) fn text(output: Output) -> String {
    match output {
        Output::Open { stream, endpoint } => format!("{} open {}:{}", stream.0, endpoint.host, endpoint.port),
        Output::Write { stream, bytes } => format!("{} write {}", stream.0, commands(&bytes)),
        Output::Close { stream } => format!("{} close", stream.0),
        Output::Done { command, outcome: Ok(reply) } => format!("#{} {}", command.0, reply_text(&reply)),
        Output::Done { command, outcome: Err(failure) } => failed(command.0, &failure),
        Output::Event(Event::Connected { .. }) => "connected".to_owned(),
        Output::Event(Event::ConnectFailed { failure, .. }) => format!("not connected: {}", code(&failure)),
        Output::Event(Event::AuthRefused { error, .. }) => format!("password refused: {error}"),
        Output::Event(Event::Disconnected { failure, in_flight, .. }) => {
            format!("disconnected with {in_flight} in flight: {}", code(&failure))
        }
        Output::Event(Event::IdleClosed { .. }) => "idle".to_owned(),
        Output::Event(Event::Tracking { result: Ok(()), .. }) => "tracks".to_owned(),
        Output::Event(Event::Tracking { result: Err(why), .. }) => format!("does not track: {why:?}"),
        Output::Changed(Changed::All) => "changed: all".to_owned(),
        Output::Changed(Changed::Keys(keys)) => {
            let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
            format!("changed: {}", keys.join(" "))
        }
        Output::Event(Event::LookupFailed { endpoint, failure }) => {
            format!("{endpoint} lookup failed: {}", code(&failure))
        }
        Output::Event(Event::MasterChanged { endpoint }) => format!("the master is {endpoint}"),
        Output::Event(Event::SlotsChanged { masters }) => format!("{masters} masters"),
    }
}

/// The commands that a server would read, joined by `; `.
fn commands(mut bytes: &[u8]) -> String {
    let mut decoder = Decoder::default();
    let mut commands = Vec::new();
    while let Some(command) = decoder.decode(&mut bytes).unwrap() {
        commands.push(reply_text(&command));
    }
    commands.join("; ")
}

pub(super) fn reply_text(reply: &Reply) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match reply {
        Reply::Nil => "nil".to_owned(),
        Reply::Status(text) => format!("+{}", lossy(text)),
        Reply::Bulk(bytes) => lossy(bytes),
        Reply::Integer(number) => number.to_string(),
        Reply::Array(items) => items.iter().map(reply_text).collect::<Vec<_>>().join(" "),
        Reply::Error(error) => format!("-{}", lossy(error.text())),
        Reply::TooLarge => "too large".to_owned(),
        Reply::Foreign => "foreign".to_owned(),
        Reply::Push(items) => format!("> {}", items.iter().map(reply_text).collect::<Vec<_>>().join(" ")),
    }
}

/// A command that failed, as in the outputs.
pub(super) fn failed(command: u64, failure: &Failure) -> String {
    format!("#{command} failed: {}", code(failure))
}

/// A failure as a short code. The sentences for operators may change without the tests.
fn code(failure: &Failure) -> String {
    match failure {
        Failure::Unreachable => "unreachable".to_owned(),
        Failure::NotConnected(reason) => format!("unreachable ({reason})"),
        Failure::NotReady(error) => format!("not ready ({})", error.code()),
        Failure::HandshakeRefused { command, error } => {
            format!("refused ({}: {})", command.to_ascii_uppercase(), error.code())
        }
        Failure::NotMaster => "not master".to_owned(),
        Failure::UnknownMaster => "unknown master".to_owned(),
        Failure::BadMap => "bad map".to_owned(),
        Failure::NotAllowed { named, .. } => format!("not allowed ({named})"),
        Failure::PossiblyStale => "possibly stale".to_owned(),
        Failure::Timeout => "timeout".to_owned(),
        Failure::Lost => "lost".to_owned(),
        Failure::Protocol(error) => format!("protocol ({error:?})"),
        Failure::Overloaded => "overloaded".to_owned(),
    }
}
