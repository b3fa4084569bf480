//! A stream of Redis on a host that has no streams, but makes calls: one command each, on a connection of the host.
//!
//! ```text
//! client ── AUTH, SELECT ────────► init(service?db=…, user, password)     at the start of a stream, if it is news
//!        ── any other command ───► call(command) ── token
//!        ◄── replies, in order ─── answered(token)
//! ```
//!
//! - All plugins of a worker share the connection, so no command may change its state. What does that in the client's
//!   handshake, `CLIENT SETNAME`, becomes a `PING`. So does `AUTH`: the host does not tell how the server answered it,
//!   but `PING` gets `NOAUTH` then. The host reads only RESP2, so `HELLO` is answered here, as an old server does.
//! - The host pairs calls with replies by their order, and counts one reply for each call. So a call has exactly one
//!   command: with two, every later reply of the worker would go to a wrong caller.
//! - `init` ends the host's connections to the service, and the calls on them. So it is made once in each VM, and again
//!   only for other credentials, or if the server says `NOAUTH`: the host forgets them with every change of its
//!   cluster.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::redis::is_one_reply;

/// What a host can do for Redis.
pub(crate) trait CallHost {
    /// Tells the host how to connect to a service.
    ///
    /// # Errors
    /// Why it cannot.
    fn init(&self, service: &str, login: &Login, timeout: Duration) -> Result<(), String>;

    /// Sends one command, and gives the token that its reply will have.
    ///
    /// # Errors
    /// Why it sent nothing.
    fn call(&self, service: &str, command: &[u8]) -> Result<u32, String>;
}

/// Who the host is at the server. The password is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: Vec<u8>,
    pub(crate) password: Vec<u8>,
    /// A number; empty for the first database.
    pub(crate) database: Vec<u8>,
}

/// What a reply means for the stream with this number.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// These bytes arrived, at least one reply.
    Bytes(u32, Vec<u8>),
    /// The stream ended.
    End(u32, &'static str),
}

/// The streams to one service. There is one at a time.
pub(crate) struct Calls {
    service: String,
    timeout: Duration,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// The number of the last stream.
    last: u32,
    stream: Option<Stream>,
}

struct Stream {
    number: u32,
    login: Login,
    has_begun: bool,
    /// One for each command without a reply, the oldest first.
    replies: VecDeque<Awaited>,
}

struct Awaited {
    token: Option<u32>,
    /// Whether it is a `PING` in place of a command of the handshake.
    is_handshake: bool,
    reply: Option<Vec<u8>>,
}

thread_local! {
    /// What this VM told the host, by service.
    static TOLD: RefCell<BTreeMap<String, Login>> = RefCell::default();
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const OK: &[u8] = b"+OK\r\n";
const UNKNOWN: &[u8] = b"-ERR unknown command\r\n";

impl Calls {
    /// `service` is the cluster. The host ends a connection on which nothing arrives for `timeout`.
    pub(crate) fn new(service: &str, timeout: Duration) -> Self {
        Self { service: service.to_owned(), timeout, state: RefCell::default() }
    }

    /// Begins a stream, in place of the one before.
    pub(crate) fn open(&self) -> u32 {
        let state = &mut *self.state.borrow_mut();
        state.last = state.last.wrapping_add(1);
        let number = state.last;
        state.stream =
            Some(Stream { number, login: Login::default(), has_begun: false, replies: VecDeque::new() });
        number
    }

    /// Sends commands on a stream.
    ///
    /// # Errors
    /// Why the stream is over.
    pub(crate) fn write(&self, number: u32, bytes: &[u8], host: &impl CallHost) -> Result<(), String> {
        let state = &mut *self.state.borrow_mut();
        let Some(stream) = state.stream.as_mut().filter(|stream| stream.number == number) else {
            return Err("the stream has ended".to_owned());
        };
        let commands = split(bytes).ok_or("the client wrote half a command")?;
        let mut is_news = !stream.has_begun;
        stream.has_begun = true;
        for command in &commands {
            match command.arguments.as_slice() {
                [b"AUTH", password] => stream.login.identify(b"", password),
                [b"AUTH", username, password] => stream.login.identify(username, password),
                [b"SELECT", database] => stream.login.database = database.to_vec(),
                _ => continue,
            }
            is_news = true;
        }
        if TOLD.with_borrow(|told| told.get(&self.service) != Some(&stream.login)) {
            if !is_news {
                // Its commands could run as another user, or in another database.
                return Err("the gateway's login at the service has changed".to_owned());
            }
            host.init(&self.service, &stream.login, self.timeout)?;
            TOLD.with_borrow_mut(|told| told.insert(self.service.clone(), stream.login.clone()));
        }
        for command in commands {
            let ours = match command.arguments.as_slice() {
                [b"SELECT", _] => Some(OK),
                [b"HELLO", ..] | [b"CLIENT", b"TRACKING", ..] => Some(UNKNOWN),
                _ => None,
            };
            if let Some(reply) = ours {
                let (token, reply) = (None, Some(reply.to_vec()));
                stream.replies.push_back(Awaited { token, is_handshake: true, reply });
                continue;
            }
            let is_handshake = matches!(command.arguments.first(), Some(&(b"AUTH" | b"CLIENT")));
            let bytes = if is_handshake { PING } else { command.bytes };
            let token = Some(host.call(&self.service, bytes)?);
            stream.replies.push_back(Awaited { token, is_handshake, reply: None });
        }
        Ok(())
    }

    /// The reply of a call came; `None` if the host has lost the connection. Returns what the client has to know.
    pub(crate) fn answered(&self, token: u32, reply: Option<&[u8]>) -> Option<Arrival> {
        let state = &mut *self.state.borrow_mut();
        let stream = state.stream.as_mut()?;
        // A call of an earlier stream is not here any longer.
        let awaited = stream.replies.iter_mut().find(|awaited| awaited.token == Some(token))?;
        let is_forgotten = reply.is_some_and(|reply| reply.starts_with(b"-NOAUTH"));
        if is_forgotten {
            TOLD.with_borrow_mut(|told| told.remove(&self.service));
        }
        let end = match reply {
            None => Some("the gateway has lost its connection"),
            Some(reply) if !is_one_reply(reply) => Some("the gateway gave something that is not one reply"),
            // At the start, the client itself handles it.
            Some(_) if is_forgotten && !awaited.is_handshake => {
                Some("the gateway's connection is not authenticated")
            }
            Some(_) => None,
        };
        if let Some(reason) = end {
            let number = stream.number;
            state.stream = None;
            return Some(Arrival::End(number, reason));
        }
        awaited.reply = reply.map(<[u8]>::to_vec);
        let mut bytes = Vec::new();
        while let Some(reply) = stream.replies.front_mut().and_then(|awaited| awaited.reply.take()) {
            stream.replies.pop_front();
            bytes.extend(reply);
        }
        (!bytes.is_empty()).then_some(Arrival::Bytes(stream.number, bytes))
    }

    /// Ends a stream. The replies to its calls are dropped.
    pub(crate) fn close(&self, number: u32) {
        let stream = &mut self.state.borrow_mut().stream;
        stream.take_if(|stream| stream.number == number);
    }
}

impl Login {
    fn identify(&mut self, username: &[u8], password: &[u8]) {
        (self.username, self.password) = (username.to_vec(), password.to_vec());
    }
}

struct Encoded<'a> {
    bytes: &'a [u8],
    arguments: Vec<&'a [u8]>,
}

/// The commands of a write; `None` if one is incomplete.
fn split(mut bytes: &[u8]) -> Option<Vec<Encoded<'_>>> {
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        let (start, mut arguments) = (bytes, Vec::new());
        for _ in 0..number(&mut bytes, b'*')? {
            let length = number(&mut bytes, b'$')?;
            let (argument, rest) = bytes.split_at_checked(length)?;
            arguments.push(argument);
            bytes = rest.strip_prefix(b"\r\n")?;
        }
        let length = start.len().checked_sub(bytes.len())?;
        commands.push(Encoded { bytes: start.get(..length)?, arguments });
    }
    Some(commands)
}

/// The number of a line with this type, cut off from the front.
fn number(bytes: &mut &[u8], kind: u8) -> Option<usize> {
    let rest = bytes.strip_prefix(&[kind])?;
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    let (digits, rest) = rest.split_at_checked(end)?;
    *bytes = rest.strip_prefix(b"\r\n")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    const SERVICE: &str = "outbound|6379||redis.dns";

    /// A gateway that notes what it is asked for. Tokens are numbers from 1 on.
    #[derive(Default)]
    struct Gateway {
        asked: RefCell<Vec<String>>,
        calls: Cell<u32>,
        refuses: Cell<bool>,
    }

    impl Gateway {
        fn ask(&self, what: String) -> Result<(), String> {
            self.asked.borrow_mut().push(what);
            if self.refuses.get() { Err("refused".to_owned()) } else { Ok(()) }
        }

        /// What it was asked for since the last look.
        fn asked(&self) -> Vec<String> {
            self.asked.take()
        }
    }

    impl CallHost for Gateway {
        fn init(&self, service: &str, login: &Login, _: Duration) -> Result<(), String> {
            let Login { username, password, database } = login;
            let [username, password, database] =
                [username, password, database].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
            assert_eq!(service, SERVICE);
            self.ask(format!("init {username}:{password}/{database}"))
        }

        fn call(&self, service: &str, command: &[u8]) -> Result<u32, String> {
            assert_eq!(service, SERVICE);
            let commands = split(command).unwrap();
            let [command] = commands.as_slice() else { panic!("{} commands in a call", commands.len()) };
            self.ask(String::from_utf8(command.arguments.join(&b' ')).unwrap())?;
            self.calls.set(self.calls.get() + 1);
            Ok(self.calls.get())
        }
    }

    fn calls() -> Calls {
        Calls::new(SERVICE, Duration::from_secs(2))
    }

    /// Commands on the wire, with blanks between their words.
    fn wire(commands: &[&str]) -> Vec<u8> {
        let encode = |command: &&str| {
            let words: Vec<_> = command.split(' ').collect();
            let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
            format!("*{}\r\n{words}", command.split(' ').count())
        };
        commands.iter().map(encode).collect::<String>().into_bytes()
    }

    fn bytes(stream: u32, bytes: &[u8]) -> Option<Arrival> {
        Some(Arrival::Bytes(stream, bytes.to_vec()))
    }

    const LOGIN: [&str; 3] = ["AUTH alice s3cret", "SELECT 2", "CLIENT SETNAME filter"];

    #[test]
    fn handshake_becomes_an_init_and_pings() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        calls.write(stream, &wire(&LOGIN), &gateway).unwrap();
        assert_eq!(gateway.asked(), ["init alice:s3cret/2", "PING", "PING"]);
        // The reply to `SELECT` is known, but has its place.
        assert_eq!(calls.answered(1, Some(b"+PONG\r\n")), bytes(stream, b"+PONG\r\n+OK\r\n"));
        assert_eq!(calls.answered(2, Some(b"+PONG\r\n")), bytes(stream, b"+PONG\r\n"));
    }

    #[test]
    fn resp3_is_refused_without_a_call() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        let handshake = ["CLIENT SETNAME filter", "HELLO 3", "HELLO", "CLIENT TRACKING ON"];
        calls.write(stream, &wire(&handshake), &gateway).unwrap();
        assert_eq!(gateway.asked(), ["init :/", "PING"]);
        let replies = b"+PONG\r\n-ERR unknown command\r\n-ERR unknown command\r\n-ERR unknown command\r\n";
        assert_eq!(calls.answered(1, Some(b"+PONG\r\n")), bytes(stream, replies));
    }

    #[test]
    fn each_command_of_a_write_is_one_call() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        calls
            .write(stream, &wire(&["CLIENT SETNAME filter", "GET a", "SETEX b 5 x", "DEL c"]), &gateway)
            .unwrap();
        assert_eq!(gateway.asked(), ["init :/", "PING", "GET a", "SETEX b 5 x", "DEL c"]);
    }

    #[test]
    fn replies_keep_the_order_of_their_commands() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        calls.write(stream, &wire(&["GET a", "GET b", "GET c"]), &gateway).unwrap();
        assert_eq!(calls.answered(3, Some(b"$1\r\nC\r\n")), None);
        assert_eq!(calls.answered(1, Some(b"$1\r\nA\r\n")), bytes(stream, b"$1\r\nA\r\n"));
        assert_eq!(calls.answered(2, Some(b"$1\r\nB\r\n")), bytes(stream, b"$1\r\nB\r\n$1\r\nC\r\n"));
    }

    #[test]
    fn second_stream_with_the_same_login_needs_no_init() {
        let (first, second, gateway) = (calls(), calls(), Gateway::default());
        for calls in [&first, &second, &first] {
            calls.write(calls.open(), &wire(&LOGIN), &gateway).unwrap();
        }
        assert_eq!(gateway.asked().iter().filter(|asked| asked.starts_with("init")).count(), 1);
    }

    #[test]
    fn new_password_on_a_stream_is_a_new_init() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        calls.write(stream, &wire(&LOGIN), &gateway).unwrap();
        gateway.asked();
        calls.write(stream, &wire(&["AUTH alice other"]), &gateway).unwrap();
        assert_eq!(gateway.asked(), ["init alice:other/2", "PING"]);
    }

    #[test]
    fn stream_of_another_login_ends_before_its_next_command() {
        let (ours, other, gateway) = (calls(), calls(), Gateway::default());
        let stream = ours.open();
        ours.write(stream, &wire(&LOGIN), &gateway).unwrap();
        other.write(other.open(), &wire(&["SELECT 3", "PING"]), &gateway).unwrap();
        gateway.asked();
        assert!(ours.write(stream, &wire(&["GET a"]), &gateway).is_err());
        assert_eq!(gateway.asked(), Vec::<String>::new());
    }

    #[test]
    fn command_that_gets_noauth_ends_the_stream_and_the_next_one_logs_in_again() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        calls.write(stream, &wire(&["AUTH s3cret", "GET a"]), &gateway).unwrap();
        assert_eq!(calls.answered(1, Some(b"+PONG\r\n")), bytes(stream, b"+PONG\r\n"));
        let end = calls.answered(2, Some(b"-NOAUTH Authentication required.\r\n"));
        assert!(matches!(end, Some(Arrival::End(ended, _)) if ended == stream), "{end:?}");
        gateway.asked();
        calls.write(calls.open(), &wire(&["AUTH s3cret"]), &gateway).unwrap();
        assert_eq!(gateway.asked(), ["init :s3cret/", "PING"]);
    }

    #[test]
    fn noauth_in_the_handshake_is_the_reply_to_auth() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        calls.write(stream, &wire(&["AUTH wrong"]), &gateway).unwrap();
        let noauth = b"-NOAUTH Authentication required.\r\n";
        assert_eq!(calls.answered(1, Some(noauth)), bytes(stream, noauth));
        // The next attempt logs in again: the password may be right by then.
        calls.write(calls.open(), &wire(&["AUTH wrong"]), &gateway).unwrap();
        assert_eq!(gateway.asked(), ["init :wrong/", "PING", "init :wrong/", "PING"]);
    }

    #[test]
    fn lost_connection_ends_the_stream_and_later_replies_are_dropped() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        calls.write(stream, &wire(&["GET a", "GET b"]), &gateway).unwrap();
        assert!(matches!(calls.answered(1, None), Some(Arrival::End(ended, _)) if ended == stream));
        assert_eq!(calls.answered(2, Some(b"$-1\r\n")), None);
        let next = calls.open();
        calls.write(next, &wire(&["GET a"]), &gateway).unwrap();
        assert_eq!(calls.answered(2, Some(b"$-1\r\n")), None);
        assert_eq!(calls.answered(3, Some(b"$-1\r\n")), bytes(next, b"$-1\r\n"));
    }

    #[test]
    fn reply_that_is_not_one_value_ends_the_stream() {
        for reply in [
            "",
            "$5\r\nab",
            "+OK\r\n+OK\r\n",
            "$1\r\na\r\n$1\r\nb\r\n",
            "%1\r\n",
            "*2\r\n:1\r\n",
            "x",
            ">1\r\n+x\r\n",
        ] {
            let (calls, gateway) = (calls(), Gateway::default());
            let stream = calls.open();
            calls.write(stream, &wire(&["GET a"]), &gateway).unwrap();
            let end = calls.answered(1, Some(reply.as_bytes()));
            assert!(matches!(end, Some(Arrival::End(..))), "{reply:?}: {end:?}");
            assert!(calls.write(stream, &wire(&["GET b"]), &gateway).is_err());
        }
    }

    #[test]
    fn gateway_without_the_service_is_asked_again_with_the_next_stream() {
        let (calls, gateway) = (calls(), Gateway::default());
        gateway.refuses.set(true);
        assert_eq!(calls.write(calls.open(), &wire(&LOGIN), &gateway), Err("refused".to_owned()));
        gateway.refuses.set(false);
        calls.write(calls.open(), &wire(&LOGIN), &gateway).unwrap();
        assert_eq!(gateway.asked(), ["init alice:s3cret/2", "init alice:s3cret/2", "PING", "PING"]);
    }

    #[test]
    fn closed_stream_takes_nothing() {
        let (calls, gateway) = (calls(), Gateway::default());
        let stream = calls.open();
        calls.close(stream);
        assert!(calls.write(stream, &wire(&["GET a"]), &gateway).is_err());
        assert_eq!(gateway.asked(), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn half_a_command_is_no_call(command in "[a-z ]{1,20}", cut in 1_usize..20) {
            let (calls, gateway) = (calls(), Gateway::default());
            let mut bytes = wire(&[command.as_str()]);
            bytes.truncate(bytes.len().saturating_sub(cut).max(1));
            prop_assert!(calls.write(calls.open(), &bytes, &gateway).is_err());
            prop_assert_eq!(gateway.asked(), Vec::<String>::new());
        }

        #[test]
        fn any_reply_is_read(reply: Vec<u8>, token in 0_u32..4) {
            let (calls, gateway) = (calls(), Gateway::default());
            calls.write(calls.open(), &wire(&["AUTH x", "GET a", "GET b"]), &gateway).unwrap();
            let _ = calls.answered(token, Some(&reply));
        }
    }
}
