//! What a root context does in its callbacks, with a host that notes what it is asked for.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::redis::{Changed, Endpoint, Reply, ServerName, Tls, Topology, TrackingConfig};

const MINUTE: Duration = Duration::from_secs(60);

/// A host: its clock, and what it was asked for since the last look.
#[derive(Default)]
struct FakeHost {
    passed: Cell<Duration>,
    asked: RefCell<Vec<String>>,
    /// Why it makes no call and opens no stream, if it does neither.
    refuses: Cell<Option<&'static str>>,
    has_lost_streams: Cell<bool>,
    streams: Cell<u32>,
    tick: Cell<Option<Duration>>,
    counts: RefCell<Vec<RedisCount>>,
    is_done: Cell<usize>,
}

impl FakeHost {
    fn ask(&self, what: String) -> Result<(), String> {
        self.asked.borrow_mut().push(what);
        self.refuses.get().map_or(Ok(()), |why| Err(why.to_owned()))
    }
}

impl Host for FakeHost {
    fn steady_now(&self) -> Timestamp {
        Timestamp::from_secs(0).after(self.passed.get())
    }

    /// The token is the path of the request.
    fn call(&self, headers: Vec<(&str, &str)>, _body: &[u8], _timeout: Duration) -> Result<u32, String> {
        let (_, path) = headers.into_iter().find(|(name, _)| *name == ":path").unwrap();
        self.ask(format!("call {path}"))?;
        Ok(path.trim_start_matches('/').parse().unwrap())
    }

    fn set_tick(&self, period: Duration) {
        self.tick.set(Some(period));
    }

    fn done(&self) {
        self.is_done.set(self.is_done.get() + 1);
    }

    /// Tokens are numbers from 100 on.
    fn open_stream(&self, method: &str, headers: Vec<(&str, &[u8])>) -> Result<u32, String> {
        let headers: Vec<_> = headers.into_iter().map(|(_, value)| str::from_utf8(value).unwrap()).collect();
        let [server, name] = headers.as_slice() else { panic!("a server and its name") };
        self.ask(format!("open {method} {server} as {name}"))?;
        self.streams.set(self.streams.get() + 1);
        Ok(99 + self.streams.get())
    }

    fn write_stream(&self, token: u32, bytes: &[u8]) -> bool {
        let words = String::from_utf8(bytes.to_vec()).unwrap();
        let words: Vec<_> = words.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
        self.ask(format!("{token} write {}", words.join(" ").trim_end())).unwrap();
        !self.has_lost_streams.get()
    }

    fn close_stream(&self, token: u32) {
        self.ask(format!("{token} close")).unwrap();
    }

    fn count(&self, what: RedisCount) {
        self.counts.borrow_mut().push(what);
    }
}

/// A root context.
#[derive(Clone)]
struct Root(Rc<Runtime<FakeHost>>);

impl Root {
    fn new() -> Self {
        Self(Rc::new(Runtime::new(FakeHost::default(), None, 1)))
    }

    /// It has a Redis of one server.
    fn with_redis(endpoint: Endpoint) -> Self {
        Self::with_tracking(endpoint, None)
    }

    /// The same, and the server is asked to tell of changed keys.
    fn with_tracking(endpoint: Endpoint, tracking: Option<TrackingConfig>) -> Self {
        let config = ClientConfig {
            topology: Topology::Single(endpoint),
            credentials: None,
            database: 0,
            client_name: "test".to_owned(),
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(2),
            idle_timeout: Duration::ZERO,
            allowed_hosts: Vec::new(),
            tracking,
            server_name: ServerName::default(),
        };
        Self(Rc::new(Runtime::new(FakeHost::default(), Some(&config), 1)))
    }

    fn host(&self) -> &FakeHost {
        &self.0.host
    }

    fn pass(&self, time: Duration) {
        let passed = &self.host().passed;
        passed.set(passed.get() + time);
    }

    /// The tick comes.
    fn tick(&self) {
        self.0.ticked();
        self.0.end_of_root_callback();
    }

    /// Bytes come on a stream.
    fn receives(&self, token: u32, bytes: &str) {
        self.0.stream_received(token, bytes.as_bytes());
        self.0.end_of_root_callback();
    }

    /// A stream ends.
    fn closed(&self, token: u32, message: &str) {
        self.0.stream_closed(token, message.as_bytes());
        self.0.end_of_root_callback();
    }

    /// A task that sends `GET key`, and its outcome.
    fn spawn_get(&self, key: &str) -> Rc<RefCell<Option<CommandOutcome>>> {
        let outcome = Rc::new(RefCell::new(None));
        let (get, into) = (self.0.redis(Command::get(key.as_bytes())), Rc::clone(&outcome));
        self.0.tasks().spawn(Box::pin(async move {
            let got = get.await;
            into.replace(Some(got));
        }));
        outcome
    }

    /// A task that sleeps for this delay.
    fn spawn_sleeper(&self, delay: Duration) {
        let root = self.clone();
        let sleep = self.0.timers().sleep(delay, move || root.host().steady_now());
        self.0.tasks().spawn(Box::pin(sleep));
    }

    /// A task that calls this path. It gives the body of the answer, or `None` if none came.
    fn spawn_call(&self, path: &str) -> Rc<RefCell<Option<Option<Vec<u8>>>>> {
        let answer = Rc::new(RefCell::new(None));
        let (root, into) = (self.clone(), Rc::clone(&answer));
        let request = Request::get(format!("https://provider.example.com{path}")).body(Vec::new()).unwrap();
        self.0.tasks().spawn(Box::pin(async move {
            let response = root.0.call(request, MINUTE).await.ok();
            into.replace(Some(response.map(Response::into_body)));
        }));
        answer
    }

    /// What the host was asked for since the last look, but for ticks.
    fn asked(&self) -> Vec<String> {
        self.host().asked.take()
    }

    /// What was counted since the last look.
    fn counted(&self) -> Vec<RedisCount> {
        self.host().counts.take()
    }

    /// The period that the host was told since the last look.
    fn tick_set(&self) -> Option<Duration> {
        self.host().tick.take()
    }
}

fn body(text: &str) -> Option<Response<Vec<u8>>> {
    Some(Response::new(text.as_bytes().to_vec()))
}

mod leaving {
    use super::*;

    #[test]
    fn root_without_tasks_leaves_at_once() {
        let root = Root::new();
        assert!(root.0.may_leave());
        root.tick();
        assert_eq!(root.host().is_done.get(), 0, "the host did not wait for it");
    }

    #[test]
    fn root_leaves_when_its_last_task_ends() {
        let root = Root::new();
        root.spawn_sleeper(MINUTE);
        root.spawn_sleeper(MINUTE * 2);
        root.tick();
        assert!(!root.0.may_leave());
        for (minutes, is_done) in [(1, 0), (1, 1), (1, 1)] {
            root.pass(MINUTE * minutes);
            root.tick();
            assert_eq!(root.host().is_done.get(), is_done);
        }
    }

    #[test]
    fn root_leaves_after_11_minutes_with_tasks_that_never_end() {
        let root = Root::new();
        root.spawn_sleeper(MINUTE * 60);
        root.tick();
        assert!(!root.0.may_leave());
        assert_eq!(root.tick_set(), Some(LEAVE_PATIENCE), "the tick comes in time");
        root.pass(MINUTE * 11 - Duration::from_millis(1));
        root.tick();
        assert_eq!(root.host().is_done.get(), 0);
        root.pass(Duration::from_millis(1));
        root.tick();
        assert_eq!(root.host().is_done.get(), 1);
        root.tick();
        assert_eq!(root.host().is_done.get(), 1, "it says so once");
    }

    #[test]
    fn what_is_repeated_happens_in_every_period_and_keeps_no_root() {
        let root = Root::new();
        let count = Rc::new(Cell::new(0));
        let into = Rc::clone(&count);
        root.0.every(Duration::from_secs(5), move || into.set(into.get() + 1));
        root.tick();
        assert_eq!((count.get(), root.tick_set()), (0, Some(Duration::from_secs(5))));
        for expected in 1..=3 {
            root.pass(Duration::from_secs(5));
            root.tick();
            assert_eq!((count.get(), root.tick_set()), (expected, Some(Duration::from_secs(5))));
        }
        assert!(root.0.may_leave());
    }

    #[test]
    fn root_that_is_in_use_stays_without_tasks() {
        let root = Root::new();
        root.spawn_sleeper(MINUTE);
        root.tick();
        root.pass(MINUTE * 60);
        root.tick();
        assert!(root.0.tasks().is_empty());
        assert_eq!(root.host().is_done.get(), 0);
    }

    #[test]
    fn answer_of_a_call_is_not_lost_while_root_leaves() {
        let root = Root::new();
        let answer = root.spawn_call("/7");
        root.tick();
        assert!(!root.0.may_leave());
        root.0.answered(7, body("tokens"));
        root.0.end_of_root_callback();
        assert_eq!(*answer.borrow(), Some(Some(b"tokens".to_vec())));
        assert_eq!(root.host().is_done.get(), 1);
    }
}

mod calls {
    use super::*;

    #[test]
    fn call_waits_for_a_callback_of_the_root() {
        let root = Root::new();
        let request = Request::get("https://provider.example.com/1").body(Vec::new()).unwrap();
        let mut call = Box::pin(root.0.call(request, MINUTE));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(root.0.has_work());
        root.0.end_of_request_callback();
        assert!(root.asked().is_empty());
        assert_eq!(root.tick_set(), Some(Duration::from_millis(1)));
        root.tick();
        assert_eq!(root.asked(), ["call /1"]);
        assert!(!root.0.has_work());
    }

    #[test]
    fn each_answer_goes_to_its_own_call() {
        let root = Root::new();
        let answers = ["/1", "/2", "/3"].map(|path| root.spawn_call(path));
        root.tick();
        assert_eq!(root.asked(), ["call /1", "call /2", "call /3"]);
        for (token, text) in [(3, "three"), (1, "one"), (9, "no call has this token"), (1, "once more")] {
            root.0.answered(token, body(text));
            root.0.end_of_root_callback();
        }
        let [one, two, three] = answers.map(|answer| answer.take());
        assert_eq!((one, two), (Some(Some(b"one".to_vec())), None));
        assert_eq!(three, Some(Some(b"three".to_vec())));
    }

    #[test]
    fn failed_call_has_no_answer() {
        let root = Root::new();
        let answer = root.spawn_call("/1");
        root.tick();
        root.0.answered(1, None);
        root.0.end_of_root_callback();
        assert_eq!(*answer.borrow(), Some(None));
    }

    #[test]
    fn call_that_the_host_refuses_has_no_answer() {
        let root = Root::new();
        root.host().refuses.set(Some("no such cluster"));
        let answer = root.spawn_call("/1");
        root.tick();
        assert_eq!(root.tick_set(), Some(Duration::from_millis(1)), "its task is woken, and runs next");
        root.pass(Duration::from_millis(1));
        root.tick();
        assert_eq!(*answer.borrow(), Some(None));
        assert_eq!(root.asked(), ["call /1"]);
    }

    #[test]
    fn call_whose_flow_is_gone_is_not_made() {
        let root = Root::new();
        let request = Request::get("https://provider.example.com/1").body(Vec::new()).unwrap();
        drop(root.0.call(request, MINUTE));
        root.tick();
        assert!(root.asked().is_empty());
    }
}

mod callbacks {
    use super::*;

    #[test]
    fn request_callback_runs_no_task() {
        let root = Root::new();
        root.spawn_sleeper(Duration::ZERO);
        root.0.end_of_request_callback();
        assert!(!root.0.tasks().is_empty());
        assert_eq!(root.tick_set(), Some(Duration::from_millis(1)));
    }

    #[test]
    fn burst_of_tasks_runs_in_portions_and_asks_for_the_next_tick() {
        let root = Root::new();
        for _ in 0..PORTION + 1 {
            root.spawn_sleeper(Duration::ZERO);
        }
        root.tick();
        assert!(root.0.has_work());
        assert_eq!(root.tick_set(), Some(Duration::from_millis(1)));
        root.pass(Duration::from_millis(1));
        root.tick();
        assert!(root.0.tasks().is_empty());
        assert_eq!(root.tick_set(), Some(Duration::ZERO), "nothing is due");
    }

    #[test]
    fn tick_comes_for_whatever_is_due_first() {
        let root = Root::new();
        root.spawn_sleeper(MINUTE * 3);
        root.tick();
        assert_eq!(root.tick_set(), Some(MINUTE * 3));
        root.spawn_sleeper(MINUTE);
        root.0.end_of_root_callback();
        assert_eq!(root.tick_set(), Some(MINUTE));
        root.spawn_sleeper(MINUTE * 2);
        root.0.end_of_root_callback();
        assert_eq!(root.tick_set(), None, "it comes early enough");
    }

    #[test]
    fn cancelled_task_that_others_wait_for_asks_for_the_next_tick() {
        let root = Root::new();
        let (sender, receiver) = futures_channel::oneshot::channel::<()>();
        let (id, _) = root.0.tasks().prepare();
        root.0.tasks().insert(
            id,
            Box::pin(async move {
                let _sender = sender;
                std::future::pending::<()>().await;
            }),
        );
        root.0.tasks().spawn(Box::pin(async move {
            let _ = receiver.await;
        }));
        root.tick();
        root.tick_set();
        root.0.cancel(id);
        assert_eq!(root.tick_set(), Some(Duration::from_millis(1)));
        root.tick();
        assert!(root.0.tasks().is_empty());
    }

    #[test]
    fn cancelled_task_that_no_other_waits_for_costs_no_tick() {
        let root = Root::new();
        let (id, waker) = root.0.tasks().prepare();
        let mut task = Box::pin(std::future::pending());
        assert_eq!(task.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        root.0.tasks().insert(id, task);
        root.0.cancel(id);
        assert_eq!(root.tick_set(), None);
    }
}

mod redis {
    use super::*;

    const OPEN: &str = "open tcp redis:6379 as redis:6379";
    const HELLO: &str = "100 write CLIENT SETNAME test";

    fn endpoint(host: &str, tls: Tls) -> Endpoint {
        Endpoint { host: host.to_owned(), port: 6379, tls }
    }

    /// A root context with a Redis, and no connection yet.
    fn disconnected() -> Root {
        Root::with_redis(endpoint("redis", Tls::Off))
    }

    /// One that has the connection 100.
    fn connected() -> Root {
        let root = disconnected();
        let outcome = root.spawn_get("first");
        root.tick();
        root.receives(100, "+OK\r\n");
        root.receives(100, "$-1\r\n");
        assert_eq!(*outcome.borrow(), Some(Ok(Reply::Nil)));
        root.asked();
        root.counted();
        root
    }

    fn bulk(text: &str) -> Option<CommandOutcome> {
        Some(Ok(Reply::Bulk(text.as_bytes().to_vec())))
    }

    #[test]
    fn stream_waits_for_a_callback_of_the_root() {
        let root = disconnected();
        root.spawn_get("k");
        root.0.end_of_request_callback();
        assert_eq!(root.asked(), [""; 0]);
        assert_eq!(root.tick_set(), Some(Duration::from_millis(1)));
        root.tick();
        assert_eq!(root.asked(), [OPEN, HELLO], "its first bytes go out in the same callback");
        root.receives(100, "+OK\r\n");
        assert_eq!(root.asked(), ["100 write GET k"]);
        assert_eq!(root.counted(), [RedisCount::Connected]);
    }

    #[test]
    fn command_on_an_open_stream_goes_out_with_the_request_callback() {
        let root = connected();
        let (a, b) = (root.spawn_get("a"), root.spawn_get("b"));
        root.0.end_of_request_callback();
        assert_eq!(root.asked(), ["100 write GET a GET b"], "in one piece");
        root.pass(Duration::from_millis(3));
        root.receives(100, "$1\r\n1\r\n$1\r\n2\r\n");
        assert_eq!((a.take(), b.take()), (bulk("1"), bulk("2")));
        let count = RedisCount::Command { has_reply: true, time: Duration::from_millis(3) };
        assert_eq!(root.counted(), [count, count]);
    }

    #[test]
    fn session_that_is_served_from_memory_keeps_its_connection_fresh() {
        let silence = Duration::from_secs(1);
        let tracking = TrackingConfig { key_prefix: "c".to_owned(), silence, is_wanted: false };
        let root = Root::with_tracking(endpoint("redis", Tls::Off), Some(tracking));
        let changes = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&changes);
        root.0.watch_redis_changes(move |changed| into.borrow_mut().push(changed.clone()));
        root.spawn_get("k");
        root.tick();
        root.receives(100, "+OK\r\n%1\r\n+proto\r\n:3\r\n%0\r\n+OK\r\n");
        assert_eq!(root.0.redis_tracks(b"k"), None, "it was not proven yet");
        let key = "c-track-{0}-1-1-1";
        let push = format!(">2\r\n+invalidate\r\n*1\r\n${}\r\n{key}\r\n", key.len());
        root.receives(100, &format!("%0\r\n+OK\r\n$1\r\n1\r\n:10000\r\n:1\r\n{push}$-1\r\n$1\r\nv\r\n"));
        let stream = root.0.redis_tracks(b"k").unwrap();
        root.tick_set();
        root.asked();
        assert!(!root.0.is_changed());
        assert!(root.0.redis_serves(b"k", stream) && root.0.is_changed());
        root.0.end_of_request_callback();
        assert_eq!(root.tick_set(), Some(silence / 2));
        assert!(root.0.redis_serves(b"k", stream) && !root.0.is_changed(), "the alarm is set");
        root.pass(silence / 2);
        root.tick();
        assert_eq!(root.asked(), [format!("100 write HELLO GET {key}")]);
        root.receives(100, ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n");
        assert!(*changes.borrow() == [Changed::Keys(vec![b"k".to_vec()])]);
    }

    #[test]
    fn error_reply_is_counted_as_an_error() {
        let root = connected();
        root.spawn_get("k");
        root.0.end_of_root_callback();
        root.receives(100, "-ERR no\r\n");
        assert_eq!(root.counted(), [RedisCount::Command { has_reply: false, time: Duration::ZERO }]);
    }

    #[test]
    fn command_whose_flow_is_gone_is_not_sent_and_not_counted() {
        let root = connected();
        drop(root.0.redis(Command::get(b"k")));
        root.tick();
        assert_eq!(root.asked(), [""; 0]);
        let sent = root.0.redis(Command::get(b"k"));
        root.0.end_of_request_callback();
        drop(sent);
        root.receives(100, "$-1\r\n");
        assert_eq!(root.counted(), []);
    }

    #[test]
    fn stream_that_the_host_refuses_is_a_failed_connection() {
        let root = disconnected();
        root.host().refuses.set(Some("no such cluster"));
        let outcome = root.spawn_get("k");
        root.tick();
        assert_eq!(root.asked(), [OPEN]);
        assert_eq!(root.counted(), [RedisCount::ConnectFailed]);
        for _ in 0..300 {
            root.pass(Duration::from_millis(10));
            root.tick();
        }
        assert!(matches!(outcome.take(), Some(Err(_))));
        assert!(
            root.counted().contains(&RedisCount::Command { has_reply: false, time: Duration::from_secs(2) })
        );
    }

    #[test]
    fn stream_that_the_bridge_could_not_connect_is_a_failed_connection() {
        let root = disconnected();
        root.spawn_get("k");
        root.tick();
        root.closed(100, "[Connection refused]via_upstream");
        assert_eq!(root.counted(), [RedisCount::ConnectFailed]);
    }

    #[test]
    fn stream_that_ends_is_a_lost_connection_and_told() {
        let root = connected();
        let heard = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&heard);
        root.0.watch_redis(move |event| into.borrow_mut().push(event));
        root.closed(100, "");
        assert_eq!(root.counted(), [RedisCount::Disconnected]);
        assert_eq!(*heard.borrow(), [FailoverEvent::Disconnected]);
        assert_ne!(root.0.redis_health(), Health::default());
        root.closed(100, "");
        root.receives(100, "+OK\r\n");
        assert_eq!(root.counted(), [], "the token is no longer known");
    }

    #[test]
    fn stream_that_cannot_be_written_is_closed_and_made_again() {
        let root = connected();
        root.host().has_lost_streams.set(true);
        root.spawn_get("k");
        root.0.end_of_request_callback();
        assert_eq!(root.asked(), ["100 write GET k", "100 close"]);
        root.host().has_lost_streams.set(false);
        root.pass(Duration::from_secs(1));
        root.tick();
        assert_eq!(root.asked(), [OPEN, "101 write CLIENT SETNAME test"]);
    }

    #[test]
    fn stream_names_its_server_and_how_to_connect() {
        for (host, tls, expected) in [
            ("redis", Tls::Verified, "open tls redis:6379 as redis:6379"),
            ("fd00::7", Tls::Insecure, "open tls_insecure [fd00::7]:6379 as [fd00::7]:6379"),
        ] {
            let root = Root::with_redis(endpoint(host, tls));
            root.spawn_get("k");
            root.tick();
            assert_eq!(root.asked().first().unwrap(), expected);
        }
    }

    #[test]
    fn tick_comes_when_the_client_wants_to_be_woken() {
        let root = disconnected();
        root.spawn_get("k");
        root.tick();
        assert_eq!(root.tick_set(), Some(Duration::from_secs(1)), "the connect timeout");
        root.pass(Duration::from_secs(1));
        root.tick();
        assert_eq!(root.counted(), [RedisCount::ConnectFailed]);
        assert!(root.asked().contains(&"100 close".to_owned()));
    }

    #[test]
    fn new_password_goes_out_and_a_refused_one_is_told() {
        let root = connected();
        let heard = Rc::new(Cell::new(0));
        let into = Rc::clone(&heard);
        root.0.watch_redis_auth(move || into.set(into.get() + 1));
        let credentials = Credentials { username: None, password: "new".to_owned() };
        root.0.set_redis_credentials(Servers::Data, &credentials);
        root.tick();
        assert_eq!(root.asked(), ["100 write AUTH new"]);
        root.receives(100, "-WRONGPASS invalid\r\n");
        assert_eq!(heard.get(), 1);
        let outcome = root.spawn_get("k");
        root.tick();
        root.receives(100, "-NOAUTH Authentication required.\r\n");
        assert!(matches!(outcome.take(), Some(Ok(Reply::Error(_)))));
        assert_eq!(heard.get(), 2);
    }

    #[test]
    fn command_without_a_redis_fails_at_once() {
        let root = Root::new();
        let outcome = root.spawn_get("k");
        root.tick();
        assert_eq!(outcome.take(), Some(Err(Failure::Unreachable)));
        assert_eq!(root.0.redis_health(), Health::default());
    }
}
