//! The filter in Envoy: the only user of the proxy-wasm SDK. It translates, and decides nothing.
//!
//! ```text
//! RootContext (one per worker)             HttpContext (one per request)
//!   configuration ──► App                    request headers ──► App::handle ──► Decision
//!   tick, answers, streams ──► Runtime       response headers ◄── what the decision adds
//! ```
//!
//! A decision that has to wait is a task of the root context's [`Runtime`](crate::runtime::Runtime). The callback that
//! ends the task resumes or answers the request.

mod abi;
mod bridge;
#[cfg(feature = "higress")]
mod calls;
mod io;
mod metrics;
mod request;
mod root;
#[cfg(not(feature = "higress"))]
mod streams;

use proxy_wasm::traits::RootContext;
use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    // Envoy's own log level for `wasm` decides what is printed.
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|id| -> Box<dyn RootContext> { Box::new(root::Root::new(id)) });
}}
