//! Whether the client is a browser, which shows pages and follows a sign-in, or a program, which can do neither; and how a
//! program is answered.
//!
//! | protocol | by | not signed in, not allowed, not now |
//! |---|---|---|
//! | any other | `Accept`, method and the like | 401, 403, 503 with JSON, as oauth2-proxy answers |
//! | gRPC | `application/grpc` | `grpc-status` 16, 7, 14. Envoy makes it of 401, 403 and 503, and `grpc-message` of the body |
//! | gRPC-Web | `application/grpc-web` | the same in a response without a body ("Trailers-Only") |
//! | Connect | `connect-protocol-version`, `application/proto` | 401, 403, 503 with `code` and `message` in JSON |
//! | Connect's streams | `application/connect+json` | 200, and the same JSON in the envelope that ends a stream |
//!
//! Specifications: gRPC's PROTOCOL-HTTP2.md and PROTOCOL-WEB.md, Connect's Protocol Reference.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::reply::{self, Reply};
use super::request::RequestHead;
use crate::config::Routes;

/// What kind of client sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flow) enum ClientKind {
    /// A browser, for a page.
    Browser,
    /// A program, in this protocol.
    Program(Protocol),
}

/// The protocol of a program. If it answers in the content type of the request, with that type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flow) enum Protocol {
    Http,
    Grpc,
    GrpcWeb(&'static str),
    Connect,
    ConnectStream(&'static str),
}

/// What is wrong with a program's request.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) enum Problem {
    NotSignedIn,
    Forbidden,
    /// The request came over http.
    NeedsHttps,
    /// With what is unavailable.
    Unavailable(&'static str),
}

/// The content types of protocols with their own answers. Envoy compares them without parameters too.
const TYPES: [(&str, Protocol); 9] = [
    ("application/proto", Protocol::Connect),
    ("application/connect+json", Protocol::ConnectStream("application/connect+json")),
    ("application/connect+proto", Protocol::ConnectStream("application/connect+proto")),
    ("application/grpc-web", Protocol::GrpcWeb("application/grpc-web")),
    ("application/grpc-web+json", Protocol::GrpcWeb("application/grpc-web+json")),
    ("application/grpc-web+proto", Protocol::GrpcWeb("application/grpc-web+proto")),
    ("application/grpc-web-text", Protocol::GrpcWeb("application/grpc-web-text")),
    ("application/grpc-web-text+proto", Protocol::GrpcWeb("application/grpc-web-text+proto")),
    ("application/grpc", Protocol::Grpc),
];

/// What a form can send (HTML, "form submission attribute `enctype`"). A navigation sends no other type.
const OF_FORMS: [&[u8]; 3] = [b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain"];

/// The flags of the envelope that ends a stream of Connect.
const END_OF_STREAM: u8 = 2;

impl ClientKind {
    /// By the headers, `api_routes` and `force_json_errors`.
    pub(in crate::flow) fn of(routes: &Routes, head: &RequestHead) -> Self {
        // A proxy in front reads each 2xx as an open tunnel.
        if head.is_connect() {
            return Self::Program(Protocol::Http);
        }
        // A proxy that asks an endpoint (`/oauth2/auth`) passes on the headers of its client, and reads the HTTP
        // status. For a refusal, some protocols answer with 200. None of them has a service at the endpoints.
        if !routes.is_below_prefix(head.path())
            && let Some(protocol) = Protocol::of(head)
        {
            return Self::Program(protocol);
        }
        let is_program = routes.force_json_errors || routes.is_api(head.path()) || is_program(head);
        if is_program { Self::Program(Protocol::Http) } else { Self::Browser }
    }
}

/// Whether the client says that it is a program. oauth2-proxy goes by `Accept: application/json`.
fn is_program(head: &RequestHead) -> bool {
    let fetch_mode = head.header("sec-fetch-mode");
    let content_type = media_type(head.header("content-type"));
    accepts(head, b"application/json")
        || head.header("x-requested-with").eq_ignore_ascii_case(b"XMLHttpRequest")
        || head.header("hx-request").eq_ignore_ascii_case(b"true")
        || head.header("upgrade").eq_ignore_ascii_case(b"websocket")
        || !(fetch_mode.is_empty() || fetch_mode == b"navigate")
        || !(content_type.is_empty() || OF_FORMS.contains(&content_type.as_slice()))
        || (!accepts(head, b"text/html") && (!is_read(head) || accepts(head, b"text/event-stream")))
}

/// Whether the request only reads. Anything else would be lost with a redirect, which a browser follows with `GET`.
fn is_read(head: &RequestHead) -> bool {
    [Method::GET, Method::HEAD].iter().any(|method| method.as_str().as_bytes() == head.method())
}

/// Whether one of the types in `Accept` is this one.
fn accepts(head: &RequestHead, wanted: &[u8]) -> bool {
    head.all("accept")
        .flat_map(|accept| accept.split(|byte| *byte == b','))
        .any(|media| media_type(media) == wanted)
}

/// In lower case, without parameters.
fn media_type(value: &[u8]) -> Vec<u8> {
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase()
}

impl Protocol {
    /// The protocol of a request, if it has its own answers.
    fn of(head: &RequestHead) -> Option<Self> {
        let content_type = media_type(head.header("content-type"));
        let is = |name: &str| content_type == name.as_bytes();
        let is_like = |name: &str| content_type.starts_with(name.as_bytes());
        if let Some((_, protocol)) = TYPES.into_iter().find(|(name, _)| is(name)) {
            return Some(protocol);
        }
        // Other encodings of messages.
        if is_like("application/grpc-web-text") {
            return Some(Self::GrpcWeb("application/grpc-web-text"));
        }
        if is_like("application/grpc-web") {
            return Some(Self::GrpcWeb("application/grpc-web"));
        }
        if is_like("application/grpc+") {
            return Some(Self::Grpc);
        }
        let is_connect = !head.header("connect-protocol-version").is_empty()
            || (is_read(head)
                && !accepts(head, b"text/html")
                && head.query("connect").as_deref() == Some("v1"));
        is_connect.then_some(Self::Connect)
    }

    /// The answer in this protocol.
    pub(in crate::flow) fn answer(self, problem: Problem) -> Reply {
        let mut answer = match self {
            Self::Http => return problem.in_json(),
            Self::Grpc => reply::as_grpc(reply::text(problem.status(), problem.message())),
            Self::GrpcWeb(content_type) => {
                let mut answer = typed(StatusCode::OK, content_type, Vec::new());
                set(&mut answer, "grpc-status", problem.grpc_status());
                set(&mut answer, "grpc-message", problem.message());
                answer
            }
            Self::Connect => typed(problem.status(), "application/json", to_json(&problem.in_connect())),
            Self::ConnectStream(content_type) => {
                let message = to_json(&json!({ "error": problem.in_connect() }));
                let length = u32::try_from(message.len()).unwrap_or_default();
                let body = [&[END_OF_STREAM], length.to_be_bytes().as_slice(), &message].concat();
                typed(StatusCode::OK, content_type, body)
            }
        };
        if let Problem::Unavailable(_) = problem {
            reply::retry_later(&mut answer);
        }
        answer
    }
}

impl Problem {
    fn status(self) -> StatusCode {
        match self {
            Self::NotSignedIn => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::NeedsHttps => StatusCode::FORBIDDEN,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`, `UNAVAILABLE`.
    fn grpc_status(self) -> &'static str {
        match self {
            Self::NotSignedIn => "16",
            Self::Forbidden | Self::NeedsHttps => "7",
            Self::Unavailable(_) => "14",
        }
    }

    /// Printable ASCII without `%`, as `grpc-message` requires.
    fn message(self) -> &'static str {
        match self {
            Self::NotSignedIn => "not signed in",
            Self::Forbidden => "no access for this account or token",
            Self::NeedsHttps => "this needs https",
            Self::Unavailable(reason) => reason,
        }
    }

    fn in_connect(self) -> Value {
        let code = match self {
            Self::NotSignedIn => "unauthenticated",
            Self::Forbidden | Self::NeedsHttps => "permission_denied",
            Self::Unavailable(_) => "unavailable",
        };
        json!({ "code": code, "message": self.message() })
    }

    fn in_json(self) -> Reply {
        match self {
            Self::NotSignedIn => reply::json(self.status(), &Map::new()),
            Self::Forbidden | Self::NeedsHttps => reply::empty(self.status()),
            Self::Unavailable(reason) => reply::unavailable_json(reason),
        }
    }
}

fn to_json(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn typed(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Reply {
    let mut answer = reply::empty(status);
    *answer.body_mut() = body;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn set(answer: &mut Reply, name: &'static str, value: &'static str) {
    answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}
