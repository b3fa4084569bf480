//! The filter in Envoy: the only user of the proxy-wasm SDK. It moves bytes and decides nothing.
//!
//! ```text
//! RootContext (one a worker)          HttpContext (one a request)
//!   configuration -> Rc<App>            request headers -> App::handle -> Decision
//!   tick, answers of calls -> tasks     response headers <- what the decision adds
//! ```
//!
//! A decision that has to wait is a task of the root's runner ([`crate::runtime::tasks`]); when it is made, the
//! request is resumed or answered from whichever callback that happens to be in.

mod abi;
mod bridge;
mod io;
mod metrics;
mod request;
mod root;

use proxy_wasm::traits::RootContext;
use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    // Envoy's own log level for `wasm` decides what is printed.
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|id| -> Box<dyn RootContext> { Box::new(root::Root::new(id)) });
}}
