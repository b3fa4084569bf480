//! The Redis client, and servers that send anything at any time: in pieces, late, unsolicited, about other servers.
//!
//! ```text
//! c            the topology: 1 a server, s Sentinels, c a Cluster; S and C with `redis_allowed_hosts`
//! g0 w1 l2 e0  sends GET, SETEX, takes a lock, asks for a key's own name; the number picks the slot
//! x3           the third command is cancelled
//! o0 k0        the youngest stream opens, ends
//! a0 7         every command on the youngest stream is answered; the second number picks the answers
//! r0 *1~:7~    bytes come on the youngest stream; ~ is a line end
//! p250         250 milliseconds pass
//! ```

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use oauth2_session_filter::redis::{
    Client, ClientConfig, Command, CommandId, Credentials, Endpoint, Output, ServerName, StreamId, Tls,
    Topology, TrackingConfig,
};
use oauth2_session_filter::time::Timestamp;

use super::commands::{self, Commands};

/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The bytes are the steps, one in a line.
pub(super) fn run(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut run = Run::new(lines.next().and_then(|line| line.first()).copied().unwrap_or_default());
    for line in lines.take(400) {
        let Some((kind, rest)) = line.split_first() else { continue };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, text) = rest.split_at(digits.min(4));
        let number = std::str::from_utf8(number).unwrap().parse().unwrap_or(0);
        run.step(*kind, number, text.strip_prefix(b" ").unwrap_or(text));
    }
    run.end();
}

/// A client, and everything that came out of it.
struct Run {
    client: Client,
    /// Whether only `s1` to `s3` and a network may be asked.
    is_restricted: bool,
    now: Timestamp,
    /// When each command was sent, in their order.
    sent: Vec<(CommandId, Timestamp)>,
    cancelled: HashSet<CommandId>,
    /// Whether a reply may have begun and not ended. Then its command has more time.
    is_cut: bool,
    done: HashMap<CommandId, usize>,
    /// Every stream, the youngest last.
    streams: Vec<StreamId>,
    /// The streams that did not end: what was written to them, and what is not answered.
    open: BTreeMap<StreamId, (Commands, VecDeque<commands::Command>)>,
}

impl Run {
    fn new(topology: u8) -> Self {
        let server = |host: &str| Endpoint { host: host.to_owned(), port: 7000, tls: Tls::Off };
        let servers = vec![server("s1"), server("s2")];
        let credentials = || Some(Credentials { username: None, password: "hunter2".to_owned() });
        let is_restricted = topology.is_ascii_uppercase();
        let topology = match topology.to_ascii_lowercase() {
            b's' => Topology::Sentinel {
                master_name: "main".to_owned(),
                sentinels: servers,
                credentials: credentials(),
            },
            b'c' => Topology::Cluster { seeds: servers },
            _ => Topology::Single(server("s1")),
        };
        let config = ClientConfig {
            topology,
            credentials: credentials(),
            database: 0,
            client_name: "fuzz".to_owned(),
            connect_timeout: Duration::from_secs(1),
            command_timeout: TIMEOUT,
            idle_timeout: Duration::from_secs(600),
            allowed_hosts: if is_restricted {
                ["s3", "10.0.0.0/8"].map(|host| host.parse().unwrap()).to_vec()
            } else {
                Vec::new()
            },
            // `CLIENT TRACKING` for half of all runs.
            tracking: is_restricted.then(|| TrackingConfig {
                key_prefix: "cookie".to_owned(),
                silence: Duration::from_secs(1),
                is_wanted: false,
            }),
            server_name: ServerName::default(),
        };
        Self {
            client: Client::new(&config, 1),
            is_restricted,
            now: Timestamp::from_secs(1_700_000_000),
            sent: Vec::new(),
            cancelled: HashSet::new(),
            is_cut: false,
            done: HashMap::new(),
            streams: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    fn step(&mut self, kind: u8, number: usize, text: &[u8]) {
        match kind {
            b'g' | b'w' | b'l' | b'e' => self.send(kind, number),
            b'x' => {
                if let Some((command, _)) = self.sent.get(number) {
                    self.client.cancel(*command);
                    self.cancelled.insert(*command);
                }
            }
            b'o' => self.on_stream(number, |run, stream| run.client.opened(stream)),
            b'k' => self.on_stream(number, |run, stream| {
                run.client.closed(stream, run.now);
                run.open.remove(&stream);
            }),
            b'a' => self.on_stream(number, |run, stream| run.answer(stream, text)),
            b'r' => self.on_stream(number, |run, stream| {
                run.is_cut = true;
                let lines: Vec<&[u8]> = text.split(|byte| *byte == b'~').collect();
                run.client.received(stream, &lines.join(b"\r\n".as_slice()), run.now);
            }),
            b'p' => self.pass(Duration::from_millis(number.try_into().unwrap())),
            _ => {}
        }
        self.take();
    }

    /// Each command has a key of its own, so that the model recognises it on a stream.
    fn send(&mut self, kind: u8, number: usize) {
        let key = format!("{{{}}}{}", ["a", "b", "c"][number % 3], self.sent.len());
        let key = key.as_bytes();
        let command = match kind {
            b'g' => Command::get(key),
            b'w' => Command::setex(key, TIMEOUT, b"value"),
            b'e' => Command::echo(key),
            _ => Command::lock(key, b"me", TIMEOUT),
        };
        self.sent.push((self.client.send(command, self.now), self.now));
    }

    /// Something happens on one of the youngest streams, for the older ones are over most of the time.
    fn on_stream(&mut self, number: usize, what: impl FnOnce(&mut Self, StreamId)) {
        if let Some(stream) = self.streams.iter().rev().nth(number).copied() {
            what(self, stream);
        }
    }

    /// Answers that make sense, more or less.
    fn answer(&mut self, stream: StreamId, text: &[u8]) {
        self.client.opened(stream);
        self.take();
        let Some((_, commands)) = self.open.get_mut(&stream) else { return };
        let commands = std::mem::take(commands);
        let luck = text.iter().fold(0_usize, |sum, byte| sum.wrapping_add(usize::from(*byte)));
        let answers: String =
            commands.iter().enumerate().map(|(index, command)| reply(command, luck + index)).collect();
        self.client.received(stream, answers.as_bytes(), self.now);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        for count in 0.. {
            let Some(wake) = self.client.next_wake().filter(|wake| *wake <= end) else { break };
            assert!(count < 10_000, "the client wants to be woken again and again");
            self.now = wake.max(self.now);
            self.client.wake(self.now);
            self.take();
        }
        self.now = end;
    }

    fn take(&mut self) {
        while let Some(output) = self.client.next_output() {
            match output {
                Output::Open { stream, endpoint } => {
                    let host = endpoint.host.as_str();
                    let is_in_network = host.parse::<Ipv4Addr>().is_ok_and(|host| host.octets()[0] == 10);
                    let is_allowed = matches!(host, "s1" | "s2" | "s3") || is_in_network;
                    assert!(is_allowed || !self.is_restricted, "the password goes to {host}");
                    self.streams.push(stream);
                    self.open.insert(stream, Default::default());
                }
                Output::Close { stream } => {
                    self.open.remove(&stream);
                }
                Output::Write { stream, bytes } => {
                    let (read, commands) = self.open.get_mut(&stream).expect("the stream did not end");
                    for command in read.read(&bytes) {
                        self.sent.iter().enumerate().for_each(|(number, (_, sent_at))| {
                            let is_this =
                                command.iter().any(|part| part.ends_with(format!("}}{number}").as_bytes()));
                            assert!(
                                !is_this || self.now < sent_at.after(TIMEOUT),
                                "written after its deadline"
                            );
                        });
                        commands.push_back(command);
                    }
                }
                Output::Done { command, .. } => {
                    let (_, sent_at) =
                        self.sent.iter().find(|(other, _)| *other == command).expect("it was sent");
                    let most = if self.is_cut { 6 * TIMEOUT } else { TIMEOUT };
                    assert!(self.now <= sent_at.after(most), "{command:?} is done too late");
                    *self.done.entry(command).or_default() += 1;
                }
                Output::Changed(_) => {}
                Output::Event(event) => {
                    assert!(!format!("{event:?}").contains("hunter2"), "the password is printed");
                }
            }
        }
        assert!(self.open.len() <= 64, "so many streams at once");
    }

    /// All servers are gone, and after a while every command has failed.
    fn end(mut self) {
        for count in 0.. {
            assert!(count < 10_000, "it does not end");
            self.take();
            for (stream, _) in std::mem::take(&mut self.open) {
                self.client.closed(stream, self.now);
            }
            self.take();
            let Some(wake) = self.client.next_wake() else { break };
            self.now = wake.max(self.now);
            self.client.wake(self.now);
        }
        self.take();
        for (command, _) in &self.sent {
            let count = self.done.get(command).copied().unwrap_or(0);
            let is_right = count == 1 || (count == 0 && self.cancelled.contains(command));
            assert!(is_right, "{command:?} is done {count} times");
        }
    }
}

/// One of the replies that a command may get.
fn reply(command: &[Vec<u8>], luck: usize) -> String {
    let pick = |replies: &[String]| replies[luck % replies.len()].clone();
    let words: Vec<String> = command.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [ok, nil] = ["+OK\r\n", "$-1\r\n"].map(str::to_owned);
    let role = |role: &str| array(&[bulk(role), ":0\r\n".to_owned(), array(&[])]);
    let error = |text: &str| format!("-{text}\r\n");
    match words.as_slice() {
        ["AUTH", ..] => pick(&[ok.clone(), ok.clone(), ok, error("WRONGPASS x")]),
        ["SELECT" | "CLIENT", ..] => ok,
        ["ASKING"] => pick(&[ok.clone(), ok, error("NOPERM x"), error("LOADING x")]),
        ["EVAL", "return KEYS[1]", _, key] => pick(&[bulk(key), bulk(key), nil, ok]),
        ["PING"] => "+PONG\r\n".to_owned(),
        ["ROLE"] => {
            pick(&[role("master"), role("master"), role("master"), role("slave"), error("LOADING x")])
        }
        ["SENTINEL", ..] => {
            let address = |host: &str| array(&[bulk(host), bulk("7000")]);
            pick(&[address("s3"), address("s3"), address("s4"), "*-1\r\n".to_owned()])
        }
        ["SUBSCRIBE", ..] => array(&[bulk("subscribe"), bulk("+switch-master"), ":1\r\n".to_owned()]),
        ["CLUSTER", "SHARDS"] => {
            pick(&[shards(&["s3"]), shards(&["s3", "s4"]), shards(&["s4"]), error("ERR x")])
        }
        ["CLUSTER", ..] => pick(&[slots(&["s3"]), slots(&["s3", "s4"]), slots(&["s4"]), error("ERR x")]),
        _ => {
            let errors = [
                "READONLY x",
                "CLUSTERDOWN x",
                "MOVED 1 s5:7000",
                "MOVED 15495 :7001",
                "MOVED 1 127.0.0.1:7000",
                "ASK 1 s6:7000",
                "TRYAGAIN x",
                "LOADING x",
                "MASTERDOWN x",
                "NOAUTH x",
            ];
            let [value, number] = [bulk("value"), ":1\r\n".to_owned()];
            let good = [nil.clone(), ok, value, nil, number];
            pick(&[good.as_slice(), &errors.map(error)].concat())
        }
    }
}

/// The slots of a Cluster in as many parts as there are masters.
fn parts(hosts: &[&str]) -> Vec<(usize, usize, String)> {
    let size = 16384 / hosts.len();
    hosts.iter().enumerate().map(|(at, host)| (at * size, at * size + size - 1, bulk(host))).collect()
}

fn slots(hosts: &[&str]) -> String {
    let part = |(first, last, host)| {
        array(&[format!(":{first}\r\n"), format!(":{last}\r\n"), array(&[host, ":7000\r\n".to_owned()])])
    };
    array(&parts(hosts).into_iter().map(part).collect::<Vec<_>>())
}

fn shards(hosts: &[&str]) -> String {
    let part = |(first, last, host)| {
        let node = ["endpoint", "port", "role", "health"].map(bulk);
        let [endpoint, port, role, health] = node;
        let [master, online] = ["master", "online"].map(bulk);
        let node = array(&[endpoint, host, port, ":7000\r\n".to_owned(), role, master, health, online]);
        let range = array(&[format!(":{first}\r\n"), format!(":{last}\r\n")]);
        array(&[bulk("slots"), range, bulk("nodes"), array(&[node])])
    };
    array(&parts(hosts).into_iter().map(part).collect::<Vec<_>>())
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn array(items: &[String]) -> String {
    format!("*{}\r\n{}", items.len(), items.concat())
}
