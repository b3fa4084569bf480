//! What holds for each topology, whatever the servers send and do at any time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::script::{config, reply_text};
use super::world::{bulk, endpoint};
use crate::redis::load::{MAX_BYTES, MAX_COMMANDS};
use crate::redis::pending::MAX_WRITES;
use crate::redis::resp::Decoder;
use crate::redis::{Client, ClientConfig, Command, CommandId, Failure, Output, StreamId, Topology};
use crate::time::Timestamp;

/// How long a command may take.
const TIMEOUT: Duration = Duration::from_secs(2);

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

fn topologies() -> [Topology; 3] {
    let servers = ["s1", "s2"].map(|host| endpoint(host, 7000)).to_vec();
    [
        Topology::Single(endpoint("s1", 7000)),
        Topology::Sentinel { master_name: "main".to_owned(), sentinels: servers.clone(), credentials: None },
        Topology::Cluster { seeds: servers },
    ]
}

fn client(topology: Topology, allowed: &[&str]) -> Client {
    let allowed_hosts = allowed.iter().map(|pattern| pattern.parse().unwrap()).collect();
    Client::new(&ClientConfig { topology, allowed_hosts, ..config() }, 1)
}

/// A client, and all of its outputs.
struct Run {
    client: Client,
    now: Timestamp,
    sent: HashMap<CommandId, (Vec<u8>, Timestamp, bool)>,
    cancelled: HashSet<CommandId>,
    done: HashMap<CommandId, usize>,
    writes: HashMap<CommandId, usize>,
    streams: Vec<StreamId>,
    /// The open streams, and the commands on them without a reply.
    open: HashMap<StreamId, VecDeque<String>>,
    /// Whether each command with a key runs on the server where it arrives.
    is_smooth: bool,
    /// Whether a reply may have started and not ended. Then its command has more time.
    is_cut: bool,
    /// The hosts to which a stream was opened.
    hosts: HashSet<String>,
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize, bool),
    Cancel(usize),
    Open(usize),
    Close(usize),
    /// Replies that are valid, more or less.
    Answer(usize, u8),
    Receive(usize, String),
    Pass(u64),
}

impl Run {
    fn new(topology: Topology) -> Self {
        Self::with(client(topology, &[]))
    }

    fn with(client: Client) -> Self {
        Self {
            client,
            now: START,
            sent: HashMap::new(),
            cancelled: HashSet::new(),
            done: HashMap::new(),
            writes: HashMap::new(),
            streams: Vec::new(),
            open: HashMap::new(),
            is_smooth: false,
            is_cut: false,
            hosts: HashSet::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(number, is_lock) => {
                let key = format!("{{{}}}key{}.", ["a", "b", "c"][number % 3], self.sent.len());
                let command = if is_lock {
                    Command::lock(key.as_bytes(), b"me", TIMEOUT)
                } else {
                    Command::get(key.as_bytes())
                };
                let id = self.client.send(command, self.now);
                self.sent.insert(id, (key.into_bytes(), self.now, is_lock));
            }
            Step::Cancel(number) => {
                let id = CommandId(u64::try_from(number).unwrap());
                if self.sent.contains_key(&id) {
                    self.client.cancel(id);
                    self.cancelled.insert(id);
                }
            }
            Step::Open(number) => self.on_stream(number, |run, stream| run.client.opened(stream)),
            Step::Close(number) => self.on_stream(number, |run, stream| {
                run.client.closed(stream, run.now);
                run.open.remove(&stream);
            }),
            Step::Answer(number, luck) => self.on_stream(number, |run, stream| {
                run.client.opened(stream);
                run.take();
                let commands = run.open.get_mut(&stream).map(std::mem::take).unwrap_or_default();
                let is_smooth = run.is_smooth;
                let answer = |(index, command): (usize, &String)| {
                    answer(command, usize::from(luck) + index, is_smooth)
                };
                let answers: String = commands.iter().enumerate().map(answer).collect();
                run.client.received(stream, answers.as_bytes(), run.now);
            }),
            Step::Receive(number, text) => self.on_stream(number, |run, stream| {
                run.is_cut = true;
                run.client.received(stream, text.as_bytes(), run.now);
            }),
            Step::Pass(millis) => self.pass(millis),
        }
        self.take();
    }

    /// Something happens on one of the youngest streams. Most of the older ones have ended.
    fn on_stream(&mut self, number: usize, what: impl FnOnce(&mut Self, StreamId)) {
        if let Some(stream) = self.streams.iter().rev().nth(number).copied() {
            what(self, stream);
        }
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        for count in 0.. {
            let Some(wake) = self.client.next_wake().filter(|wake| *wake <= end) else {
                break;
            };
            assert!(count < 10_000, "the client asks to be woken again and again");
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
                    self.hosts.insert(endpoint.host);
                    self.streams.push(stream);
                    self.open.insert(stream, VecDeque::new());
                }
                Output::Close { stream } => {
                    self.open.remove(&stream);
                }
                Output::Write { stream, bytes } => {
                    let commands = self.open.get_mut(&stream).expect("the stream did not end");
                    let (mut decoder, mut rest) = (Decoder::default(), bytes.as_slice());
                    while let Some(command) = decoder.decode(&mut rest).unwrap() {
                        commands.push_back(reply_text(&command));
                    }
                    for (id, (key, sent_at, _)) in &self.sent {
                        let count = bytes.windows(key.len()).filter(|part| part == key).count();
                        if count > 0 {
                            assert!(
                                self.now < sent_at.after(TIMEOUT),
                                "{id:?} is written after its deadline"
                            );
                            *self.writes.entry(*id).or_default() += count;
                        }
                    }
                }
                Output::Done { command, .. } => {
                    let late = self.now.since(self.sent[&command].1.after(TIMEOUT));
                    let most = if self.is_cut { 5 * TIMEOUT } else { Duration::ZERO };
                    assert!(late <= most, "{command:?} is done too late");
                    *self.done.entry(command).or_default() += 1;
                }
                Output::Changed(_) | Output::Event(_) => {}
            }
        }
    }

    /// No server is reachable any longer, and after a while each command has its outcome.
    fn end(mut self) {
        let open = |run: &mut Self| {
            for (stream, _) in std::mem::take(&mut run.open) {
                run.client.closed(stream, run.now);
            }
            run.take();
        };
        for _ in 0..300 {
            open(&mut self);
            self.pass(10);
        }
        open(&mut self);
        for id in self.sent.keys() {
            let count = self.done.get(id).copied().unwrap_or(0);
            assert!(
                count == 1 || (count == 0 && self.cancelled.contains(id)),
                "{id:?} is done {count} times"
            );
        }
        assert_eq!(self.client.next_wake(), None);
    }
}

/// One of the replies that a command may get.
fn answer(command: &str, luck: usize, is_smooth: bool) -> String {
    let map = |host: &str| format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{}:7000\r\n", bulk(host));
    let shards = |host: &str| {
        let [slots, nodes] = [bulk("slots"), bulk("nodes")];
        let node = [
            bulk("endpoint"),
            bulk(host),
            bulk("port"),
            ":7000\r\n".to_owned(),
            bulk("role"),
            bulk("master"),
        ];
        format!("*1\r\n*4\r\n{slots}*2\r\n:0\r\n:16383\r\n{nodes}*1\r\n*6\r\n{}", node.concat())
    };
    let pick = |answers: &[String]| answers[luck % answers.len()].clone();
    let address = |host: &str| format!("*2\r\n{}{}", bulk(host), bulk("7000"));
    let role = |role: &str| format!("*1\r\n{}", bulk(role));
    let [ok, nil] = ["+OK\r\n", "$-1\r\n"].map(str::to_owned);
    match command.split(' ').next().unwrap() {
        "CLIENT" | "ASKING" => ok,
        "ROLE" => pick(&[role("master"), role("master"), role("master"), role("slave")]),
        "SENTINEL" => pick(&[address("s3"), address("s3"), address("s4"), "*-1\r\n".to_owned()]),
        "SUBSCRIBE" => format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("+switch-master")),
        "CLUSTER" if command == "CLUSTER SHARDS" => {
            pick(&[shards("s3"), shards("s4"), "-ERR x\r\n".to_owned()])
        }
        "CLUSTER" => pick(&[map("s3"), map("s4"), map("s3"), "-ERR x\r\n".to_owned()]),
        _ if is_smooth && command.starts_with("GET") => pick(&[nil, bulk("v")]),
        _ if is_smooth => pick(&[nil, ok]),
        _ => {
            let errors = ["READONLY", "CLUSTERDOWN", "MOVED 1 s5:7000", "ASK 1 s6:7000", "LOADING"];
            let errors = errors.map(|error| format!("-{error}\r\n"));
            pick(&[[nil.clone(), nil.clone(), nil.clone(), ok, nil].as_slice(), &errors].concat())
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let node = |host: &str| format!("*3\r\n:0\r\n:16383\r\n*2\r\n{}:7000\r\n", bulk(host));
    let answers = prop::sample::select(vec![
        "+OK\r\n".to_owned(),
        "+OK\r\n".to_owned(),
        "$-1\r\n".to_owned(),
        ":1\r\n".to_owned(),
        format!("*3\r\n{}:0\r\n*0\r\n", bulk("master")),
        format!("*3\r\n{}:0\r\n*0\r\n", bulk("master")),
        format!("*1\r\n{}", bulk("slave")),
        format!("*2\r\n{}{}", bulk("s3"), bulk("7000")),
        format!("*2\r\n{}{}", bulk("s4"), bulk("7000")),
        format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("+switch-master")),
        format!("*3\r\n{}{}{}", bulk("message"), bulk("+switch-master"), bulk("main a 1 s5 7000")),
        format!("*1\r\n{}", node("s3")),
        format!("*1\r\n{}", node("s4")),
        "-READONLY x\r\n".to_owned(),
        "-CLUSTERDOWN x\r\n".to_owned(),
        "-LOADING x\r\n".to_owned(),
        "-MOVED 1 s5:7000\r\n".to_owned(),
        "-ASK 1 s6:7000\r\n".to_owned(),
        "-MOVED 1 x\r\n".to_owned(),
        "-NOAUTH x\r\n".to_owned(),
        "-ERR x\r\n".to_owned(),
        "!\r\n".to_owned(),
        "$5\r\nab".to_owned(),
    ]);
    let stream = 0_usize..3;
    prop_oneof![
        5 => (any::<usize>(), any::<bool>()).prop_map(|(number, is_lock)| Step::Send(number, is_lock)),
        1 => (1_usize..20).prop_map(Step::Cancel),
        1 => stream.clone().prop_map(Step::Open),
        1 => stream.clone().prop_map(Step::Close),
        9 => (stream.clone(), any::<u8>()).prop_map(|(stream, luck)| Step::Answer(stream, luck)),
        1 => (stream, answers).prop_map(|(stream, text)| Step::Receive(stream, text)),
        3 => (0_u64..900).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever happens, each command is done once, by its deadline unless its reply is arriving, never written after
    /// it, and the timers stop.
    #[test]
    fn every_command_is_done_once(which in 0_usize..3, steps in prop::collection::vec(any_step(), 0..80)) {
        let mut run = Run::new(topologies()[which].clone());
        for step in steps {
            run.step(step);
        }
        run.end();
    }

    /// Whatever servers announce, nothing is sent to a host that they may not announce.
    #[test]
    fn no_other_host_is_connected_to(which in 0_usize..3, steps in prop::collection::vec(any_step(), 0..80)) {
        let mut run = Run::with(client(topologies()[which].clone(), &["s3:7000", "s5:7001"]));
        for step in steps {
            run.step(step);
        }
        let allowed = ["s1", "s2", "s3"].map(str::to_owned).into();
        prop_assert!(run.hosts.is_subset(&allowed), "{:?}", run.hosts);
        run.end();
    }

    /// A command is written a few times at most, and a lock once, unless a server says that it did not run it.
    #[test]
    fn nothing_that_may_have_run_is_written_again(
        which in 0_usize..3,
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        let mut run = Run::new(topologies()[which].clone());
        run.is_smooth = true;
        for step in steps {
            match step {
                Step::Receive(_, text) if text.starts_with('-') => {}
                step => run.step(step),
            }
        }
        for (id, count) in &run.writes {
            let most = if run.sent[id].2 { 1 } else { MAX_WRITES };
            prop_assert!(*count <= most.into(), "{:?} is written {} times", id, count);
        }
        run.end();
    }
}

#[test]
fn limits_count_all_nodes_together() {
    for topology in topologies() {
        let mut client = client(topology.clone(), &[]);
        for number in 0..MAX_COMMANDS {
            client.send(Command::get(number.to_string().as_bytes()), START);
        }
        let outcomes = |client: &mut Client| {
            let outputs = std::iter::from_fn(|| client.next_output());
            outputs.filter(|output| matches!(output, Output::Done { .. })).collect::<Vec<_>>()
        };
        assert_eq!(outcomes(&mut client), []);
        let command = client.send(Command::get(b"k"), START);
        let outcome = Err(Failure::Overloaded);
        assert_eq!(outcomes(&mut client), [Output::Done { command, outcome }], "{topology:?}");
        // Commands whose time is over make room.
        client.send(Command::get(b"k"), START.after(TIMEOUT));
        let outcomes = outcomes(&mut client);
        let is_overloaded =
            |output: &Output| matches!(output, Output::Done { outcome: Err(Failure::Overloaded), .. });
        assert!(outcomes.len() >= MAX_COMMANDS && !outcomes.iter().any(is_overloaded), "{topology:?}");
        let large = Command::setex(b"k", Duration::ZERO, &vec![b'x'; MAX_BYTES]);
        let command = client.send(large, START.after(TIMEOUT));
        let outcome = Err(Failure::Overloaded);
        assert_eq!(client.next_output(), Some(Output::Done { command, outcome }), "{topology:?}");
    }
}
