//! The HTTP context: one request, from its headers to the headers of its response.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use http::header::CONTENT_TYPE;
use log::warn;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, MapType};

use super::io::HostIo;
use super::{abi, io};
use crate::flow;
use crate::flow::{
    App, Decision, Forward, GUARD_HEADER, HandedOver, Header, HeaderBlock, MAX_REQUEST_BODY, Ready, Reply,
    RequestHead, Stripped, is_session_header,
};
use crate::runtime::rate::LogLimit;
use crate::runtime::tasks::TaskId;

/// The prefix of the fields for the access log: `%FILTER_STATE(wasm.oauth2_session.user:PLAIN)%`. Envoy itself adds
/// `wasm.`.
const PREFIX: &str = "oauth2_session.";

/// The name of a property that the filter sets.
pub(super) fn property(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// What the requests of one root context share.
#[derive(Clone)]
pub(super) struct Worker {
    pub(super) root_id: u32,
    pub(super) io: HostIo,
    pub(super) app: Rc<App<HostIo>>,
}

/// One request.
pub(super) struct RequestContext {
    id: u32,
    worker: Option<Worker>,
    task: Cell<Option<TaskId>>,
    stream: Rc<StreamState>,
}

/// The state of a request, and what its response gets.
#[derive(Default)]
struct StreamState {
    /// Headers to add to the response.
    headers: RefCell<Vec<Header>>,
    /// The renewed session cookie among them.
    renewed: RefCell<Option<Vec<u8>>>,
    handed_over: RefCell<HandedOver>,
    /// The cookies that the filter removed from the request. They are kept until its response begins, because Envoy may
    /// end the request and send it once more.
    stripped: RefCell<Option<Stripped>>,
    /// Whether the filter let the request through. Until then, no later part of it may continue. If a pause holds the
    /// head alone (Envoy's `allow_on_headers_stop_iteration`), a body that continues would take the head with it,
    /// undecided.
    is_let_through: Cell<bool>,
    /// Whether the filter answers when it has the body of the request. The head goes on to a route that only waits.
    reads_body: Cell<bool>,
    /// Whether the filter holds the head of the response.
    is_held: Cell<bool>,
    /// The status of the filter's own answer, unless it is for a gRPC client.
    status: Cell<Option<u16>>,
}

impl RequestContext {
    pub(super) fn new(id: u32, worker: Option<Worker>) -> Self {
        Self { id, worker, task: Cell::default(), stream: Rc::default() }
    }

    fn decide(&self, worker: &Worker) -> Action {
        let Ok(block) = abi::headers(MapType::HttpRequestHeaders) else {
            return refuse(&self.stream);
        };
        let head = RequestHead::from(block);
        let stream = Rc::clone(&self.stream);
        let state = worker.app.stripped_state().map(property);
        let head = match &state {
            Some(state) if worker.app.may_come_again() => {
                match worker.app.cookies_again(&head, &abi::property(&[state])) {
                    // Filters that follow need them too, if this one leaves the cookies as they are.
                    Some(cookies) => {
                        let _ = abi::set_header(MapType::HttpRequestHeaders, "cookie", &cookies);
                        head.with_cookies(&cookies)
                    }
                    None => head,
                }
            }
            _ => head,
        };
        match worker.app.handle(head) {
            Ready::Now(decision) => {
                let action = apply(decision, &worker.app, &stream, state.as_deref());
                // On the hot path there is no work.
                if worker.io.runtime().is_changed() {
                    worker.io.runtime().end_of_request_callback();
                }
                action
            }
            Ready::Later(waiting) => {
                let app = Rc::clone(&worker.app);
                self.wait(
                    worker,
                    waiting,
                    move |decision| apply(decision, &app, &stream, state.as_deref()),
                    hostcalls::resume_http_request,
                )
            }
        }
    }

    /// Collects the body that the answer needs. Envoy keeps it, and `size` is that of all of it so far.
    fn read_body(&self, worker: &Worker, size: usize, end: bool) -> Action {
        if size > MAX_REQUEST_BODY {
            self.stream.reads_body.set(false);
            answer(&worker.app.body_too_large(), &self.stream);
            return Action::Pause;
        }
        if !end {
            return Action::Pause;
        }
        self.stream.reads_body.set(false);
        let body = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size).ok().flatten();
        let answering = worker.app.handle_body(body.unwrap_or_default());
        let (app, stream) = (Rc::clone(&worker.app), Rc::clone(&self.stream));
        let carry_out = move |decision| apply(decision, &app, &stream, None);
        self.wait(worker, answering, carry_out, hostcalls::resume_http_request)
    }

    /// Takes the session that the upstream hands over, if this response has one.
    fn take_session(&self, worker: &Worker, handed_over: HandedOver) -> Action {
        // If the filter cannot read the headers, it cannot keep a session in them from the browser.
        let Ok(head) = abi::headers(MapType::HttpResponseHeaders) else {
            return refuse(&self.stream);
        };
        let found: Vec<_> = head.headers().filter(|(name, _)| is_session_header(name)).collect();
        let values: Vec<&[u8]> = found.iter().map(|(_, value)| *value).collect();
        if values.is_empty() {
            return Action::Continue;
        }
        if remove(MapType::HttpResponseHeaders, found.iter().map(|(name, _)| *name)).is_err() {
            return refuse(&self.stream);
        }
        let cluster = abi::property(&["xds", "cluster_name"]);
        match worker.app.take_session(handed_over, &cluster, &values) {
            None => Action::Continue,
            Some(keeping) => {
                let stream = Rc::clone(&self.stream);
                stream.is_held.set(true);
                let hand = move |kept: Result<Vec<Header>, Reply>| {
                    stream.is_held.set(kept.is_err());
                    hand_to_browser(kept, &stream)
                };
                self.wait(worker, keeping, hand, hostcalls::resume_http_response)
            }
        }
    }

    /// Removes the trailers with these names. It does so even if the head still waits, because Envoy may not call the
    /// filter for these trailers again.
    fn remove_trailers(
        &self,
        map: MapType,
        names: impl FnOnce(&Worker, &HeaderBlock) -> Vec<Vec<u8>>,
    ) -> Result<(), abi::Gone> {
        let Some(worker) = &self.worker else { return Ok(()) };
        let trailers = abi::headers(map)?;
        remove(map, names(worker, &trailers).iter().map(Vec::as_slice))
    }

    /// Carries out the result of a flow: at once, or when the flow is done. Then `resume` lets the stream continue.
    fn wait<T: 'static>(
        &self,
        worker: &Worker,
        mut flow: Pin<Box<dyn Future<Output = T>>>,
        carry_out: impl FnOnce(T) -> Action + 'static,
        resume: impl FnOnce() -> Result<(), proxy_wasm::types::Status> + 'static,
    ) -> Action {
        let tasks = worker.io.runtime().tasks();
        let (task, waker) = tasks.prepare();
        let action = match flow.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(result) => carry_out(result),
            Poll::Pending => {
                let (id, root_id) = (self.id, worker.root_id);
                let rest = async move {
                    let result = flow.await;
                    if hostcalls::set_effective_context(id).is_err() {
                        return; // the request is gone
                    }
                    if carry_out(result) == Action::Continue {
                        let _ = resume();
                    }
                    let _ = hostcalls::set_effective_context(root_id);
                };
                tasks.insert(task, Box::pin(rest));
                self.task.set(Some(task));
                Action::Pause
            }
        };
        worker.io.runtime().end_of_request_callback();
        action
    }
}

impl Context for RequestContext {}

impl HttpContext for RequestContext {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        match &self.worker {
            Some(worker) => self.decide(worker),
            None => refuse(&self.stream),
        }
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if let (true, Some(worker)) = (self.stream.reads_body.get(), &self.worker) {
            return self.read_body(worker, size, end);
        }
        continue_if(self.stream.is_let_through.get())
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        let forged = |worker: &Worker, trailers: &_| worker.app.forged_trailers(trailers);
        match self.remove_trailers(MapType::HttpRequestTrailers, forged) {
            // A form has no trailers. Behind the route that waits there is an answer to it.
            Ok(()) => continue_if(self.stream.is_let_through.get() || self.stream.reads_body.get()),
            Err(abi::Gone) => reset(),
        }
    }

    fn on_http_response_body(&mut self, _size: usize, _end: bool) -> Action {
        continue_if(!self.stream.is_held.get())
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        let handed_over = |worker: &Worker, trailers: &_| worker.app.handed_over_trailers(trailers);
        let takes_sessions = self.worker.as_ref().is_some_and(|worker| worker.app.takes_sessions());
        let removed = if takes_sessions {
            self.remove_trailers(MapType::HttpResponseTrailers, handed_over)
        } else {
            Ok(())
        };
        match removed {
            Ok(()) => continue_if(!self.stream.is_held.get()),
            Err(abi::Gone) => reset(),
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.stream.stripped.take();
        let headers = self.stream.headers.take();
        let renewed = self.stream.renewed.take();
        if let Some(status) = self.stream.status.take() {
            restore_status(status);
        }
        if let Some(worker) = &self.worker {
            add_to_response(&worker.app.response_headers(headers, renewed.as_deref()));
        }
        match (&self.worker, self.stream.handed_over.take()) {
            (None, _) | (_, HandedOver::Never) => Action::Continue,
            (Some(worker), handed_over) => self.take_session(worker, handed_over),
        }
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        let Some(worker) = &self.worker else { return };
        if let Some(task) = self.task.get() {
            worker.io.runtime().cancel(task);
        }
        if let Some(stripped) = self.stream.stripped.take() {
            worker.app.ended(stripped);
        }
    }
}

/// Carries out a decision about the effective request. `state` is the property that remembers removed cookies.
fn apply(decision: Decision, app: &App<HostIo>, stream: &StreamState, state: Option<&str>) -> Action {
    for (name, value) in decision.log {
        abi::set_property(&property(name), value.as_bytes());
    }
    match decision.action {
        flow::Action::Forward(forward) => match edit(&forward).and_then(|()| add_guard(app)) {
            Ok(()) => {
                stream.headers.replace(forward.response);
                stream.renewed.replace(forward.renewed);
                stream.handed_over.replace(forward.handed_over);
                if let (Some(state), Some(stripped)) = (state, &forward.stripped) {
                    abi::set_property(state, stripped.token().as_bytes());
                }
                stream.stripped.replace(forward.stripped);
                stream.is_let_through.set(true);
                Action::Continue
            }
            // Headers that the client sent under the filter's names must not reach the upstream. So it gets no request
            // at all.
            Err(abi::Gone) => refuse(stream),
        },
        flow::Action::Reply(reply) => {
            answer(&reply, stream);
            Action::Pause
        }
        flow::Action::ReadBody => match app.body_refused(&abi::property(&["xds", "cluster_name"])) {
            // To the route that waits, past a policy that demands the guard.
            None if add_guard(app).is_ok() => {
                stream.reads_body.set(true);
                Action::Continue
            }
            None => refuse(stream),
            Some(reply) => {
                answer(&reply, stream);
                Action::Pause
            }
        },
    }
}

fn continue_if(may: bool) -> Action {
    if may { Action::Continue } else { Action::Pause }
}

fn edit(forward: &Forward) -> Result<(), abi::Gone> {
    remove(MapType::HttpRequestHeaders, forward.remove.iter().map(Vec::as_slice))?;
    // The client's headers of these names are among the removed ones, so there is nothing to replace. Envoy would look for
    // it in all headers.
    for (name, value) in forward.set.iter() {
        abi::add_header(MapType::HttpRequestHeaders, name, value)?;
    }
    for (name, value) in [("connection", &forward.connection), ("cookie", &forward.cookie)] {
        match value.as_deref() {
            None => {}
            Some(b"") => abi::remove_header(MapType::HttpRequestHeaders, name.as_bytes())?,
            Some(value) => abi::set_header(MapType::HttpRequestHeaders, name, value)?,
        }
    }
    Ok(())
}

/// Says to what is behind the filter that it let the request through.
fn add_guard(app: &App<HostIo>) -> Result<(), abi::Gone> {
    app.guard().map_or(Ok(()), |value| abi::set_header(MapType::HttpRequestHeaders, GUARD_HEADER, value))
}

fn remove<'a>(map: MapType, mut names: impl Iterator<Item = &'a [u8]>) -> Result<(), abi::Gone> {
    names.try_for_each(|name| abi::remove_header(map, name))
}

/// Adds the cookies of a session that was handed over to the response, or replaces the response by a reply.
fn hand_to_browser(kept: Result<Vec<Header>, Reply>, stream: &StreamState) -> Action {
    match kept {
        Ok(cookies) => {
            add_to_response(&cookies);
            Action::Continue
        }
        Err(reply) => {
            answer(&reply, stream);
            Action::Pause
        }
    }
}

fn add_to_response(headers: &[Header]) {
    for (name, value) in headers {
        let _ = abi::add_header(MapType::HttpResponseHeaders, name, value);
    }
}

fn answer(reply: &Reply, stream: &StreamState) {
    if !reply.is_grpc() {
        stream.status.set(Some(reply.status().as_u16()));
    }
    // Envoy removes this header from an answer without a body.
    if let Some(content_type) = reply.headers().get(CONTENT_TYPE).filter(|_| reply.body().is_empty()) {
        stream.headers.replace(vec![("content-type", content_type.as_bytes().to_vec())]);
    }
    let headers: Vec<_> =
        reply.headers().iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    let details = reply.details();
    if send(reply.status().as_u16(), details, &headers, reply.body()).is_err() {
        thread_local!(static UNANSWERED: LogLimit = LogLimit::default());
        if let Some(left_out) = UNANSWERED.with(|limit| limit.next(io::now())) {
            warn!("request: could not send the answer{left_out}");
        }
    }
}

/// Sends an answer. The details are `%RESPONSE_CODE_DETAILS%` of the access log.
fn send(status: u16, details: &str, headers: &[(&[u8], &[u8])], body: &[u8]) -> Result<(), abi::Gone> {
    abi::send_response(status, &format!("oauth2_session_{details}"), headers, body)
}

/// Sets the status of an answer again, because Envoy makes it 200 if the request says that it is gRPC. A proxy that
/// asks the auth endpoint with the headers of its client would take the 200 for permission.
fn restore_status(status: u16) {
    if abi::header(MapType::HttpResponseHeaders, "content-type").starts_with(b"application/grpc") {
        let _ = abi::set_header(MapType::HttpResponseHeaders, ":status", status.to_string().as_bytes());
    }
}

/// Ends a request whose trailers the filter cannot read or remove. It may be too late for an answer.
fn reset() -> Action {
    abi::reset_request();
    Action::Pause
}

/// Answers 503 if the filter cannot do its work. It never lets the request through then.
fn refuse(stream: &StreamState) -> Action {
    stream.status.set(Some(503));
    let _ = send(503, "fault", &[(b"retry-after", b"5"), (b"cache-control", b"no-store")], b"");
    Action::Pause
}
