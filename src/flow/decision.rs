//! What happens with a request: the values that a flow ends in, and that the host carries out.

use std::rc::Rc;

use super::http::Header;
use super::http::forged::ProtectedNames;
use super::http::reply::Reply;
use super::http::request::RequestHead;
use super::http::stripped::Stripped;

/// A field of the access log, by its name after the prefix of the filter, and its value.
pub(crate) type LogField = (&'static str, String);

/// What happens with a request, and what the access log says about it.
#[derive(Debug)]
pub struct Decision {
    /// What the host does.
    pub action: Action,
    /// What the access log gets to know; empty without `access_log_fields`.
    pub log: Vec<LogField>,
}

/// What the host does with a request.
#[derive(Debug)]
pub enum Action {
    /// It goes on to the upstream.
    Forward(Forward),
    /// It is answered here.
    Reply(Reply),
    /// It is answered here too, when its body is there: see [`App::handle_body`].
    ///
    /// [`App::handle_body`]: super::App::handle_body
    ReadBody,
}

/// How a request is changed on its way to the upstream, and its response on the way back.
#[derive(Debug, Default)]
pub struct Forward {
    /// Headers of the client that must not arrive.
    pub remove: Vec<Vec<u8>>,
    /// Headers that the upstream gets, in the place of the client's.
    pub set: Rc<[Header]>,
    /// The `connection` header for the upstream, if it is not the client's.
    pub connection: Option<Vec<u8>>,
    /// The `cookie` header for the upstream, if it is not the client's.
    pub cookie: Option<Vec<u8>>,
    /// The cookies that were taken out of it. They go back in if Envoy sends the request once more.
    pub stripped: Option<Stripped>,
    /// Headers that are added to the response.
    pub response: Vec<Header>,
    /// The session cookie among them, if the session was refreshed: see [`App::response_headers`].
    ///
    /// [`App::response_headers`]: super::App::response_headers
    pub renewed: Option<Vec<u8>>,
    /// What happens to a session that the upstream hands over.
    pub handed_over: HandedOver,
}

impl Forward {
    /// A request that goes on without the headers that its client sent under these names.
    pub(super) fn without(names: ProtectedNames, head: &RequestHead) -> Self {
        Self { remove: names.found(head.block()), connection: names.not_nominated(head), ..Self::default() }
    }
}

/// What happens to a session in the response to a request.
#[derive(Debug, Default)]
pub enum HandedOver {
    /// In this mode the upstream hands no sessions over, so the filter does not look for one.
    #[default]
    Never,
    /// A session is dropped: this path does not belong to the login app.
    Dropped,
    /// A session is for the browser of this request, if the response comes from the login app.
    Kept(Box<RequestHead>),
}

impl From<Action> for Decision {
    fn from(action: Action) -> Self {
        Self { action, log: Vec::new() }
    }
}

impl From<Forward> for Decision {
    fn from(forward: Forward) -> Self {
        Action::Forward(forward).into()
    }
}

impl From<Reply> for Decision {
    fn from(reply: Reply) -> Self {
        Action::Reply(reply).into()
    }
}
