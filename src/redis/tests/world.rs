//! Fake servers for a client, without latency. What they receive and what the client reports is text.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::script::{reply_text, text};
use crate::redis::resp::Decoder;
use crate::redis::{
    Client, ClientConfig, Command, CommandId, Credentials, Endpoint, Output, Reply, Servers, StreamId, Tls,
};
use crate::time::Timestamp;

pub(super) struct World {
    pub(super) client: Client,
    pub(super) now: Timestamp,
    servers: BTreeMap<String, Server>,
    streams: BTreeMap<StreamId, (String, Decoder)>,
    log: Vec<String>,
}

/// One server. Other servers are not reachable.
pub(super) struct Server {
    pub(super) is_down: bool,
    /// Accepts streams, and never answers.
    pub(super) is_hung: bool,
    pub(super) role: &'static str,
    /// The only password that it takes, if it takes not all.
    pub(super) password: Option<&'static str>,
    /// The reply to the question for the master, or for the slots.
    pub(super) tells: String,
    /// The reply to `CLUSTER SHARDS`.
    pub(super) shards: String,
    /// The reply to `ASKING`.
    pub(super) asking: String,
    /// The replies to the next commands with a key.
    pub(super) answers: VecDeque<String>,
    /// The reply to all later commands with a key.
    pub(super) answer: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            is_down: false,
            is_hung: false,
            role: "master",
            password: None,
            tells: "*-1\r\n".to_owned(),
            // A Redis before 7.0.
            shards:
                "-ERR Unknown subcommand or wrong number of arguments for 'SHARDS'. Try CLUSTER HELP.\r\n"
                    .to_owned(),
            asking: "+OK\r\n".to_owned(),
            answers: VecDeque::new(),
            answer: "$-1\r\n".to_owned(),
        }
    }
}

impl Server {
    fn answer(&mut self, command: &str) -> String {
        match command.split(' ').next().unwrap() {
            verb if command.contains("-track-") => probed(verb, command),
            "HELLO" => "%1\r\n+proto\r\n:3\r\n".to_owned(),
            "ASKING" => self.asking.clone(),
            "AUTH" if self.password.is_some_and(|password| !command.ends_with(password)) => {
                "-WRONGPASS invalid username-password pair or user is disabled.\r\n".to_owned()
            }
            "AUTH" | "SELECT" | "CLIENT" => "+OK\r\n".to_owned(),
            "PING" => "+PONG\r\n".to_owned(),
            "ROLE" => format!("*3\r\n{}:0\r\n*0\r\n", bulk(self.role)),
            "CLUSTER" if command == "CLUSTER SHARDS" => self.shards.clone(),
            "SENTINEL" | "CLUSTER" => self.tells.clone(),
            "SUBSCRIBE" => format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("+switch-master")),
            _ => self.answers.pop_front().unwrap_or_else(|| self.answer.clone()),
        }
    }
}

/// The reply to a command of a probe: the server tells of the change.
fn probed(verb: &str, command: &str) -> String {
    let key = command.split(' ').nth(1).unwrap();
    match verb {
        "SETEX" => "+OK\r\n".to_owned(),
        "PTTL" => ":1\r\n".to_owned(),
        "GET" => "$-1\r\n".to_owned(),
        _ => format!(":1\r\n>2\r\n+invalidate\r\n*1\r\n{}", bulk(key)),
    }
}

/// A string as a server sends it.
pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A server as another one announces it.
pub(super) fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint { host: host.to_owned(), port, tls: Tls::Off }
}

impl World {
    pub(super) fn with(config: &ClientConfig) -> Self {
        Self {
            client: Client::new(config, 1),
            now: Timestamp::from_secs(1_700_000_000),
            servers: BTreeMap::new(),
            streams: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    /// The server of this name, `host:port`. From now on it is reachable.
    pub(super) fn server(&mut self, name: &str) -> &mut Server {
        self.servers.entry(name.to_owned()).or_default()
    }

    pub(super) fn send(&mut self, command: Command) -> CommandId {
        let id = self.client.send(command, self.now);
        self.run();
        id
    }

    pub(super) fn get(&mut self, key: &str) -> CommandId {
        self.send(Command::get(key.as_bytes()))
    }

    pub(super) fn lock(&mut self, key: &str) -> CommandId {
        self.send(Command::lock(key.as_bytes(), b"me", Duration::from_secs(5)))
    }

    pub(super) fn set_credentials(&mut self, of: Servers, credentials: &Credentials) {
        self.client.set_credentials(of, credentials, self.now);
        self.run();
    }

    /// Every stream to this server ends.
    pub(super) fn hang_up(&mut self, name: &str) {
        for stream in self.streams_to(name) {
            self.streams.remove(&stream);
            self.client.closed(stream, self.now);
        }
        self.run();
    }

    /// The server dies.
    pub(super) fn kill(&mut self, name: &str) {
        self.server(name).is_down = true;
        self.hang_up(name);
    }

    /// The server sends these bytes on all its streams.
    pub(super) fn say(&mut self, name: &str, bytes: &str) {
        for stream in self.streams_to(name) {
            self.client.received(stream, bytes.as_bytes(), self.now);
        }
        self.run();
    }

    pub(super) fn streams_to(&self, name: &str) -> Vec<StreamId> {
        self.streams.iter().filter(|(_, (to, _))| to == name).map(|(stream, _)| *stream).collect()
    }

    /// The servers with streams, once for each stream.
    pub(super) fn connected(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.streams.values().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Time passes, and the host wakes the client at each time that it asks for.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        for count in 0.. {
            let Some(wake) = self.client.next_wake().filter(|wake| *wake <= end) else {
                break;
            };
            assert!(wake >= self.now, "the client asks to be woken in the past");
            assert!(count < 10_000, "the client asks to be woken again and again");
            self.now = wake;
            self.client.wake(wake);
            self.run();
        }
        self.now = end;
    }

    /// What happened since the last call: `server command`, `#command outcome`, events.
    pub(super) fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// The outcomes since the last call.
    pub(super) fn outcomes(&mut self) -> Vec<String> {
        self.log().into_iter().filter(|line| line.starts_with('#')).collect()
    }

    fn run(&mut self) {
        for count in 0.. {
            let Some(output) = self.client.next_output() else {
                return;
            };
            assert!(count < 100_000, "the client has outputs without end");
            match output {
                Output::Open { stream, endpoint } => self.open(stream, &endpoint.to_string()),
                Output::Write { stream, bytes } => self.hear(stream, &bytes),
                Output::Close { stream } => {
                    self.streams.remove(&stream);
                }
                output => self.log.push(text(output)),
            }
        }
    }

    fn open(&mut self, stream: StreamId, name: &str) {
        match self.servers.get(name) {
            Some(server) if !server.is_down => {
                self.streams.insert(stream, (name.to_owned(), Decoder::default()));
                self.client.opened(stream);
            }
            _ => self.client.closed(stream, self.now),
        }
    }

    fn hear(&mut self, stream: StreamId, mut bytes: &[u8]) {
        let (name, decoder) =
            self.streams.get_mut(&stream).expect("nothing is written to a stream that ended");
        let server = self.servers.get_mut(name).unwrap();
        let mut answer = String::new();
        while let Some(command) = decoder.decode(&mut bytes).unwrap() {
            let Reply::Array(_) = command else { panic!("a command is an array") };
            let command = reply_text(&command);
            answer.push_str(&server.answer(&command));
            self.log.push(format!("{name} {command}"));
        }
        if !server.is_hung {
            self.client.received(stream, answer.as_bytes(), self.now);
        }
    }
}
