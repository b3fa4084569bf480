//! HTTP calls of flows: asked for at any time, made by the root context, and matched with their answers.
//!
//! ```text
//! flow ── call ──► queue ── dispatch ──► Envoy ── token
//!      ◄── answer ──────────── answered(token) ───┘
//! ```
//!
//! Envoy ties a call to the context that makes it. It cancels a call that a request made together with that request,
//! and another request that waits for the same answer would get none. So the root context makes all calls, at its next
//! tick.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use futures_channel::oneshot;
use http::{Request, Response};
use log::error;

use super::Host;
use super::rate::LogLimit;

/// Tells the bridge whether to speak TLS. The bridge removes it.
const BRIDGE_HEADER: &str = "x-oauth2-session-bridge";

/// A firewall in front of a provider may refuse a client that does not say what it is.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Carries the answer of a call to the flow that waits for it. Dropped if there is none.
type Answer = oneshot::Sender<Response<Vec<u8>>>;

/// Waits for the answer of a call.
pub(crate) type Waiting = oneshot::Receiver<Response<Vec<u8>>>;

/// A call that a flow asked for.
struct Call {
    request: Request<Vec<u8>>,
    timeout: Duration,
    answer: Answer,
}

impl Call {
    /// # Errors
    /// Why the host made no call.
    fn make(&self, host: &impl Host) -> Result<u32, String> {
        let headers =
            headers(&self.request).ok_or("its URL is incomplete, or one of its headers is not ASCII")?;
        host.call(headers, self.request.body(), self.timeout)
    }
}

/// The calls of one root context.
#[derive(Default)]
pub(crate) struct Outbox {
    queue: RefCell<Vec<Call>>,
    /// The calls that were made, by Envoy's token.
    made: RefCell<HashMap<u32, Answer>>,
    failures: LogLimit,
}

impl Outbox {
    /// Asks for a call, and waits for its answer. An error means that no answer came.
    pub(crate) fn call(&self, request: Request<Vec<u8>>, timeout: Duration) -> Waiting {
        let (answer, receiver) = oneshot::channel();
        self.queue.borrow_mut().push(Call { request, timeout, answer });
        receiver
    }

    /// Whether no call waits to be made.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Makes the calls that were asked for.
    pub(crate) fn dispatch(&self, host: &impl Host) {
        for call in self.queue.take() {
            if call.answer.is_canceled() {
                continue; // its flow is gone
            }
            match call.make(host) {
                Ok(token) => {
                    self.made.borrow_mut().insert(token, call.answer);
                }
                Err(why) => {
                    if let Some(left_out) = self.failures.next(host.steady_now()) {
                        error!("bridge: could not send an HTTP call: {why}{left_out}");
                    }
                }
            }
        }
    }

    /// Hands an answer to the flow that waits for it; `None` if the call failed.
    pub(crate) fn answered(&self, token: u32, response: Option<Response<Vec<u8>>>) {
        let waiting = self.made.borrow_mut().remove(&token);
        if let (Some(answer), Some(response)) = (waiting, response) {
            // The flow may be gone by now.
            let _ = answer.send(response);
        }
    }
}

/// The headers of a call; `None` if one is missing or is not ASCII.
fn headers(request: &Request<Vec<u8>>) -> Option<Vec<(&str, &str)>> {
    let uri = request.uri();
    let mut headers = vec![
        (":method", request.method().as_str()),
        (":scheme", uri.scheme_str()?),
        (":authority", uri.authority()?.as_str()),
        (":path", uri.path_and_query().map_or("/", |path| path.as_str())),
        (BRIDGE_HEADER, uri.scheme_str()?),
        ("user-agent", USER_AGENT),
    ];
    for (name, value) in request.headers() {
        headers.push((name.as_str(), value.to_str().ok()?));
    }
    Some(headers)
}

/// The answer of a call; `None` if its status or a header is invalid.
pub(crate) fn answer<'a>(
    status: &[u8],
    headers: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    body: Vec<u8>,
) -> Option<Response<Vec<u8>>> {
    let status = str::from_utf8(status).ok()?.parse::<u16>().ok()?;
    let mut response = Response::builder().status(status);
    for (name, value) in headers.filter(|(name, _)| !name.starts_with(b":")) {
        response = response.header(name, value);
    }
    response.body(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer that has this status and these headers.
    fn answer_with(status: &str, headers: &[(&str, &str)]) -> Option<Response<Vec<u8>>> {
        let status = (":status", status);
        let fields = [&[status], headers].concat();
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        answer(status.1.as_bytes(), fields, b"body".to_vec())
    }

    #[test]
    fn call_headers_name_target_and_user_agent() {
        let request =
            Request::post("https://op.example.com:8443/token?a=b").header("accept", "application/json");
        let request = request.body(b"code=1".to_vec()).unwrap();
        let expected = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "op.example.com:8443"),
            (":path", "/token?a=b"),
            ("x-oauth2-session-bridge", "https"),
            ("user-agent", USER_AGENT),
            ("accept", "application/json"),
        ];
        assert_eq!(headers(&request).unwrap(), expected);
    }

    #[test]
    fn call_without_a_host_or_not_ascii_is_invalid() {
        for request in [
            Request::get("/token"),
            Request::get("https://op.example.com/").header("authorization", "Basic \u{e4}"),
        ] {
            assert_eq!(headers(&request.body(Vec::new()).unwrap()), None);
        }
    }

    #[test]
    fn answer_has_its_status_headers_and_body() {
        let answer = answer_with("404", &[("content-type", "text/plain"), ("x", "1"), ("x", "2")]).unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().as_slice()), (404, b"body".as_slice()));
        assert_eq!(answer.headers().get_all("x").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(answer.headers().len(), 3);
    }

    #[test]
    fn answer_with_an_invalid_status_or_header_counts_as_none() {
        for status in ["", "99", "1000", "OK"] {
            assert!(answer_with(status, &[]).is_none(), "{status}");
        }
        assert!(answer_with("200", &[("a b", "1")]).is_none());
        assert!(answer_with("200", &[("a", "1\n")]).is_none());
    }
}
