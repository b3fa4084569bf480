//! The root context: Envoy gives it the configuration, and calls it when time passes or an answer arrives.

use std::env;

use log::{error, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};

use super::abi;
use super::bridge::BridgeContext;
use super::io::{self, HostIo};
use super::request::{self, RequestContext, Worker};
#[cfg(feature = "higress")]
use crate::bridge;
use crate::config::Config;
use crate::flow::App;
#[cfg(feature = "higress")]
use crate::runtime::calls::Arrival;

/// Configures the module as the bridge, in place of a filter JSON.
const BRIDGE: &[u8] = b"bridge";

/// One plugin configuration in one worker.
pub(super) struct Root {
    id: u32,
    role: Role,
}

/// What the plugin configuration makes of the module.
enum Role {
    /// No configuration yet, or an invalid one.
    None,
    /// A filter JSON.
    Filter(Worker),
    /// The word `bridge`.
    Bridge,
}

impl Root {
    pub(super) fn new(id: u32) -> Self {
        Self { id, role: Role::None }
    }

    fn configure(&mut self, json: &[u8]) -> bool {
        let missing = abi::missing_functions();
        if !missing.is_empty() {
            return refuse_to_start(&missing);
        }
        let environment: Vec<_> = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let config = match Config::parse(json, &environment) {
            Ok(config) => config,
            Err(errors) => {
                for line in errors.to_string().lines() {
                    error!("configuration: {line}");
                }
                return false;
            }
        };
        for line in &config.warnings {
            warn!("configuration: {line}");
        }
        if cfg!(not(feature = "higress")) && config.redis.is_some() && !abi::has_streams() {
            return refuse_to_start(&["proxy_grpc_stream"]);
        }
        let io = HostIo::new(self.id, &config);
        let app = App::new(config, io.clone());
        if let Some(state) = app.stripped_state() {
            abi::declare_request_property(&request::property(state));
        }
        self.role = Role::Filter(Worker { root_id: self.id, io, app });
        true
    }

    fn worker(&self) -> Option<&Worker> {
        match &self.role {
            Role::Filter(worker) => Some(worker),
            Role::None | Role::Bridge => None,
        }
    }
}

/// Logs which functions are missing. Gives false, which tells Envoy not to start.
fn refuse_to_start(functions: &[&str]) -> bool {
    error!("host: lacks functions that the filter needs: {}", functions.join(", "));
    false
}

impl Context for Root {
    /// A listener was updated or removed, and its last request has ended.
    fn on_done(&mut self) -> bool {
        self.worker().is_none_or(|worker| worker.io.runtime().may_leave())
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        let Some(worker) = self.worker() else { return };
        worker.io.runtime().answered(token, io::call_answer(headers, body));
        worker.io.runtime().end_of_root_callback();
    }

    /// The reply of a call to Redis.
    #[cfg(feature = "higress")]
    fn on_foreign_function(&mut self, token: u32, size: usize) {
        let Some(worker) = self.worker() else { return };
        let runtime = worker.io.runtime();
        match runtime.host().redis().answered(token, size) {
            Some(Arrival::Bytes(stream, bytes)) => runtime.stream_received(stream, &bytes),
            Some(Arrival::End(stream, why)) => {
                runtime.stream_closed(stream, bridge::refusal(why.as_bytes()).as_bytes())
            }
            None => return,
        }
        runtime.end_of_root_callback();
    }

    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        let Some(worker) = self.worker() else { return };
        let bytes = hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size).ok().flatten();
        worker.io.runtime().stream_received(token, &bytes.unwrap_or_default());
        worker.io.runtime().end_of_root_callback();
    }

    fn on_grpc_stream_close(&mut self, token: u32, _status: u32) {
        let Some(worker) = self.worker() else { return };
        worker.io.runtime().stream_closed(token, &abi::grpc_message());
        worker.io.runtime().end_of_root_callback();
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        let json = json.ok().flatten().unwrap_or_default();
        if json.trim_ascii() == BRIDGE {
            self.role = Role::Bridge;
            return true;
        }
        self.configure(&json)
    }

    fn on_tick(&mut self) {
        let Some(worker) = self.worker() else { return };
        worker.io.runtime().ticked();
        worker.io.runtime().end_of_root_callback();
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        let worker = match &self.role {
            Role::Bridge => return Some(Box::<BridgeContext>::default()),
            Role::Filter(worker) => Some(worker.clone()),
            Role::None => {
                warn!("configuration: a request arrived before it, and is answered 503");
                None
            }
        };
        Some(Box::new(RequestContext::new(id, worker)))
    }
}
