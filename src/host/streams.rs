//! Redis by gRPC streams to the bridge.

use proxy_wasm::hostcalls;

use super::abi;
use crate::bridge::SERVICE;
use crate::config::Config;

/// The streams of one root context.
pub(super) struct RedisLink {
    root_id: u32,
    cluster: String,
}

impl RedisLink {
    pub(super) fn new(root_id: u32, config: &Config) -> Self {
        Self { root_id, cluster: config.bridge_cluster.clone() }
    }

    pub(super) fn open(&self, method: &str, headers: Vec<(&str, &[u8])>) -> Result<u32, String> {
        hostcalls::open_grpc_stream(&self.cluster, SERVICE, method, headers)
            .map_err(|status| abi::call_error(status, &self.cluster))
    }

    pub(super) fn write(&self, token: u32, bytes: &[u8]) -> bool {
        self.is_effective() && hostcalls::send_grpc_stream_message(token, Some(bytes), false).is_ok()
    }

    pub(super) fn close(&self, token: u32) {
        if self.is_effective() {
            let _ = hostcalls::cancel_grpc_stream(token);
        }
    }

    /// Makes the root context the effective one: the streams belong to it, whichever context a callback is for.
    fn is_effective(&self) -> bool {
        hostcalls::set_effective_context(self.root_id).is_ok()
    }
}
