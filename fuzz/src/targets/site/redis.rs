//! A Redis server behind the filter's own client: strings with a time to live, the lock scripts, and faults.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use futures_channel::oneshot;
use oauth2_session_filter::redis::{
    Client, ClientConfig, Command, CommandId, FailoverEvent, Failure, Health, Output, Reply, StreamId,
};
use oauth2_session_filter::time::Timestamp;

use super::super::commands::{self, Commands};

type Outcome = Result<Reply, Failure>;

/// The client of one worker, and the server that answers it.
pub(crate) struct Redis {
    client: Client,
    waiting: HashMap<CommandId, oneshot::Sender<Outcome>>,
    streams: BTreeMap<StreamId, Commands>,
    /// Bytes on their way to the client.
    on_the_way: VecDeque<(Timestamp, StreamId, Vec<u8>)>,
    values: HashMap<Vec<u8>, (Vec<u8>, Option<Timestamp>)>,
    pub(crate) is_down: bool,
    pub(crate) delay: Duration,
    /// Said in the place of the next replies.
    pub(crate) says: VecDeque<Vec<u8>>,
    /// Whether anything was said in the place of a reply.
    pub(crate) has_lied: bool,
    pub(super) failover_events: Vec<FailoverEvent>,
}

impl Redis {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            client: Client::new(config, 1),
            waiting: HashMap::new(),
            streams: BTreeMap::new(),
            on_the_way: VecDeque::new(),
            values: HashMap::new(),
            is_down: false,
            delay: Duration::ZERO,
            says: VecDeque::new(),
            has_lied: false,
            failover_events: Vec::new(),
        }
    }

    /// What stands under a key.
    pub(crate) fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.values.get(key).map(|(value, _)| value.as_slice())
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.values.insert(key.to_vec(), (value.to_vec(), None));
    }

    /// Every connection breaks.
    pub(crate) fn disconnect(&mut self, now: Timestamp) {
        for (stream, _) in std::mem::take(&mut self.streams) {
            self.client.closed(stream, now);
        }
    }

    pub(super) fn send(&mut self, command: Command, now: Timestamp) -> oneshot::Receiver<Outcome> {
        let (answer, receiver) = oneshot::channel();
        let id = self.client.send(command, now);
        self.waiting.insert(id, answer);
        receiver
    }

    /// When something happens next.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        let arrives = self.on_the_way.front().map(|(at, ..)| *at);
        [self.client.next_wake(), arrives].into_iter().flatten().min()
    }

    /// Everything that happens until now.
    pub(super) fn run(&mut self, now: Timestamp) {
        for count in 0.. {
            assert!(count < 10_000, "the client of Redis goes on and on");
            if self.client.next_wake().is_some_and(|wake| wake <= now) {
                self.client.wake(now);
            }
            while self.on_the_way.front().is_some_and(|(at, ..)| *at <= now) {
                let (_, stream, bytes) = self.on_the_way.pop_front().unwrap();
                self.client.received(stream, &bytes, now);
            }
            if !self.flush(now) {
                break;
            }
        }
    }

    /// Does what the client wants; whether it wanted anything.
    fn flush(&mut self, now: Timestamp) -> bool {
        let mut is_busy = false;
        while let Some(output) = self.client.next_output() {
            is_busy = true;
            match output {
                Output::Open { stream, .. } if self.is_down => self.client.closed(stream, now),
                Output::Open { stream, endpoint } => {
                    assert_eq!(endpoint.port, 6379, "the password goes to another server");
                    self.streams.insert(stream, Commands::default());
                    self.client.opened(stream);
                }
                Output::Close { stream } => {
                    self.streams.remove(&stream);
                }
                Output::Write { stream, bytes } => self.written(stream, &bytes, now),
                Output::Done { command, outcome } => {
                    // A request that is gone has no use for it.
                    let _ = self.waiting.remove(&command).map(|answer| answer.send(outcome));
                }
                Output::Changed(_) => {}
                Output::Event(event) => self.failover_events.extend(FailoverEvent::of(&event)),
            }
        }
        is_busy
    }

    fn written(&mut self, stream: StreamId, bytes: &[u8], now: Timestamp) {
        let Some(read) = self.streams.get_mut(&stream) else { return };
        for command in read.read(bytes) {
            let reply = self.reply(&command, now);
            let reply = self.says.pop_front().unwrap_or(reply);
            self.on_the_way.push_back((now.after(self.delay), stream, reply));
        }
        if self.is_down {
            self.disconnect(now);
        }
    }

    /// How well it is, as the client knows it.
    pub(super) fn health(&self, now: Timestamp) -> Health {
        self.client.health(now)
    }

    fn reply(&mut self, command: &commands::Command, now: Timestamp) -> Vec<u8> {
        let arguments: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        self.values.retain(|_, (_, until)| until.is_none_or(|until| until > now));
        let number = |text: &[u8]| std::str::from_utf8(text).unwrap().parse::<u64>().unwrap();
        let millis = |text: &[u8]| Some(now.after(Duration::from_millis(number(text))));
        let (ok, nil) = (b"+OK\r\n".to_vec(), b"$-1\r\n".to_vec());
        let integer = |is_one: bool| format!(":{}\r\n", u8::from(is_one)).into_bytes();
        let is_there = arguments.get(1).is_some_and(|key| self.values.contains_key(*key));
        let values = &mut self.values;
        let mut set = |key: &[u8], value: &[u8], until: Option<Timestamp>| {
            values.insert(key.to_vec(), (value.to_vec(), until));
            ok.clone()
        };
        match arguments.as_slice() {
            [b"AUTH" | b"SELECT" | b"CLIENT", ..] => ok,
            // As Redis before 6.
            [b"HELLO", ..] => b"-ERR unknown command 'HELLO'\r\n".to_vec(),
            [b"PING"] => b"+PONG\r\n".to_vec(),
            [b"ROLE"] => b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_vec(),
            [b"SENTINEL", ..] => b"*2\r\n$8\r\n10.0.0.1\r\n$4\r\n6379\r\n".to_vec(),
            [b"SUBSCRIBE", ..] => b"*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n".to_vec(),
            [b"GET", key] => values.get(*key).map_or(nil, |(value, _)| {
                [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
            }),
            [b"DEL", key] => integer(values.remove(*key).is_some()),
            [b"SET", key, value] => set(key, value, None),
            [b"SETEX", key, ttl, value] => set(key, value, Some(now.after(Duration::from_secs(number(ttl))))),
            [b"PSETEX", key, ttl, value] => set(key, value, millis(ttl)),
            [b"SET", _, _, b"XX", ..] if !is_there => nil,
            [b"SET", _, _, b"NX", ..] if is_there => nil,
            [b"SET", key, value, b"XX" | b"NX"] => set(key, value, None),
            [b"SET", key, value, b"XX" | b"NX", b"PX", ttl] => set(key, value, millis(ttl)),
            // A script that gives its key back.
            [b"EVAL", _, b"1", key] => [format!("${}\r\n", key.len()).as_bytes(), key, b"\r\n"].concat(),
            [b"EVAL", _, b"1", key, token, rest @ ..] => match (values.get_mut(*key), rest) {
                (Some((held, until)), [lease]) if held == token => {
                    *until = millis(lease);
                    integer(true)
                }
                (Some((held, _)), []) if held == token => integer(values.remove(*key).is_some()),
                _ => integer(false),
            },
            other => panic!("no Redis of the fuzzer knows {other:?}"),
        }
    }
}
