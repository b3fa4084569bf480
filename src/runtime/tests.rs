//! What a root context does in its callbacks, with a host that notes what it is asked for.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The clock of a host, and what it was asked for since the last look.
#[derive(Default)]
struct FakeHost {
    passed: Cell<Duration>,
    asked: RefCell<Vec<String>>,
    /// Why it makes no call, if it makes none.
    refuses_calls: Cell<Option<&'static str>>,
    tick: Cell<Option<Duration>>,
    next_wake: Cell<Option<Timestamp>>,
    is_done: Cell<usize>,
}

impl FakeHost {
    fn note(&self, what: &str) {
        self.asked.borrow_mut().push(what.to_owned());
    }
}

impl Host for FakeHost {
    fn steady_now(&self) -> Timestamp {
        Timestamp::from_secs(0).after(self.passed.get())
    }

    /// The token is the path of the request.
    fn call(&self, request: &Request<Vec<u8>>, _timeout: Duration) -> Result<u32, String> {
        let path = request.uri().path();
        self.note(&format!("call {path}"));
        match self.refuses_calls.get() {
            Some(why) => Err(why.to_owned()),
            None => Ok(path.trim_start_matches('/').parse().unwrap()),
        }
    }

    fn set_tick(&self, period: Duration) {
        self.tick.set(Some(period));
    }

    fn done(&self) {
        self.is_done.set(self.is_done.get() + 1);
    }

    fn wake_redis(&self, _now: Timestamp) {
        self.note("wake");
    }

    fn next_wake_of_redis(&self, _now: Timestamp) -> Option<Timestamp> {
        self.next_wake.get()
    }

    fn flush_redis(&self, _now: Timestamp) {
        self.note("flush");
    }

    fn open_streams(&self, _now: Timestamp) {
        self.note("open");
    }
}

/// A root context.
#[derive(Clone)]
struct Root(Rc<Runtime<FakeHost>>);

impl Root {
    fn new() -> Self {
        Self(Rc::new(Runtime::new(FakeHost::default())))
    }

    fn host(&self) -> &FakeHost {
        self.0.host()
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

    /// A task that sleeps so long.
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
            let response = root.0.call(request, MINUTE).await;
            into.replace(Some(response.map(Response::into_body)));
        }));
        answer
    }

    /// What the host was asked for since the last look.
    fn asked(&self) -> Vec<String> {
        self.host().asked.take()
    }

    /// The calls among it.
    fn calls(&self) -> Vec<String> {
        self.asked().into_iter().filter(|what| what.starts_with("call")).collect()
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
        assert!(root.calls().is_empty());
        assert_eq!(root.tick_set(), Some(Duration::from_millis(1)));
        root.tick();
        assert_eq!(root.calls(), ["call /1"]);
        assert!(!root.0.has_work());
    }

    #[test]
    fn each_answer_goes_to_its_own_call() {
        let root = Root::new();
        let answers = ["/1", "/2", "/3"].map(|path| root.spawn_call(path));
        root.tick();
        assert_eq!(root.calls(), ["call /1", "call /2", "call /3"]);
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
        root.host().refuses_calls.set(Some("no such cluster"));
        let answer = root.spawn_call("/1");
        root.tick();
        assert_eq!(root.tick_set(), Some(Duration::from_millis(1)), "its task is woken, and runs next");
        root.pass(Duration::from_millis(1));
        root.tick();
        assert_eq!(*answer.borrow(), Some(None));
        assert_eq!(root.calls(), ["call /1"]);
    }

    #[test]
    fn call_whose_flow_is_gone_is_not_made() {
        let root = Root::new();
        let request = Request::get("https://provider.example.com/1").body(Vec::new()).unwrap();
        drop(root.0.call(request, MINUTE));
        root.tick();
        assert!(root.calls().is_empty());
    }
}

mod callbacks {
    use super::*;

    #[test]
    fn root_callback_flushes_opens_streams_and_flushes_around_each_portion() {
        let root = Root::new();
        root.0.end_of_root_callback();
        assert_eq!(root.asked(), ["flush", "open", "flush"]);
        root.spawn_sleeper(Duration::ZERO);
        root.tick();
        assert_eq!(root.asked(), ["wake", "flush", "open", "flush", "flush", "open", "flush"]);
    }

    #[test]
    fn request_callback_flushes_and_runs_no_task() {
        let root = Root::new();
        root.spawn_sleeper(Duration::ZERO);
        root.0.end_of_request_callback();
        assert_eq!(root.asked(), ["flush"]);
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
        root.host().next_wake.set(Some(root.host().steady_now().after(MINUTE)));
        root.0.end_of_request_callback();
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
