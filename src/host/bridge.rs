//! The HTTP context of the bridge: one request to the internal listener, which may be a stream to Redis.

use std::cell::RefCell;

use log::error;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, MapType};

use super::abi;
use crate::bridge::{self, Unframe};

/// One request through the bridge. Calls to the provider pass unchanged.
#[derive(Default)]
pub(super) struct BridgeContext {
    stream: Option<RefCell<Unframe>>,
}

impl Context for BridgeContext {}

impl HttpContext for BridgeContext {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let head = abi::headers(MapType::HttpRequestHeaders).unwrap_or_default();
        let path = head.header(":path");
        if bridge::is_secret(path) {
            return answer_with_secret(head.header(bridge::SECRET_HEADER));
        }
        self.stream = bridge::is_stream(path).then(RefCell::default);
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, _end: bool) -> Action {
        let Some(unframe) = &self.stream else {
            return Action::Continue;
        };
        let bytes = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, size).ok().flatten();
        let unframed = unframe.borrow_mut().feed(&bytes.unwrap_or_default());
        let done = match unframed {
            Ok(plain) => abi::set_buffer(BufferType::HttpRequestBody, 0, size, &plain).is_ok(),
            Err(bridge::Compressed) => false,
        };
        if !done {
            // No byte of it may reach Redis, which would read it as a command.
            error!(
                "bridge: received bytes that are not a gRPC message: let only the filter connect to this listener"
            );
            let _ = abi::set_buffer(BufferType::HttpRequestBody, 0, size, b"");
            abi::reset_request();
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        if self.stream.is_none() {
            return Action::Continue;
        }
        // The request is gRPC, so Envoy answers 200 even if it reached no server, and says so in `grpc-status`.
        let head = abi::headers(MapType::HttpResponseHeaders).unwrap_or_default();
        let is_connected = head.header(":status") == b"200" && head.header("grpc-status").is_empty();
        if !is_connected {
            self.stream = None;
            // These are Envoy's words, nothing that Redis sent. Only the first has a reason of TLS.
            let words = abi::property(&["upstream", "transport_failure_reason"]);
            let words = if words.is_empty() { head.header("grpc-message") } else { &words };
            let refusal = bridge::refusal(words);
            let _ = abi::set_header(MapType::HttpResponseHeaders, "grpc-message", refusal.as_bytes());
        } else {
            // Envoy's gRPC client accepts no other type.
            let _ = abi::set_header(MapType::HttpResponseHeaders, "content-type", b"application/grpc");
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end: bool) -> Action {
        if self.stream.is_some()
            && size > 0
            && let Some(head) = bridge::frame(size)
        {
            let _ = abi::set_buffer(BufferType::HttpResponseBody, 0, 0, &head);
        }
        Action::Continue
    }
}

/// Answers a request for a secret. It goes no further, because a log or a server behind would see the header.
fn answer_with_secret(header: &[u8]) -> Action {
    let (status, body) = bridge::secret(header);
    let headers: [(&[u8], &[u8]); 1] = [(b"cache-control", b"no-store")];
    if abi::send_response(status, "oauth2_session_secret", &headers, body).is_err() {
        abi::reset_request();
    }
    Action::Pause
}
