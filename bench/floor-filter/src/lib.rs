//! A filter that reads all headers of a request and adds four: the least that a filter can cost that identifies users.
//! It parses nothing and decides nothing.

use std::hint::black_box;
use std::ptr;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MapType};

/// As many headers as the filter adds for a session, and values of their length.
const HEADERS: [(&str, &str); 4] = [
    ("x-forwarded-user", "person-1"),
    ("x-forwarded-email", "person-1@example.com"),
    ("x-forwarded-groups", "admins,staff"),
    ("x-forwarded-preferred-username", "Person 1"),
];

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Floor) });
}}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
}

struct Floor;

impl Context for Floor {}

impl RootContext for Floor {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Floor))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Floor {
    fn on_http_request_headers(&mut self, _headers: usize, _end: bool) -> Action {
        black_box(request_headers());
        for (name, value) in HEADERS {
            let _ = hostcalls::add_map_value(MapType::HttpRequestHeaders, name, value);
        }
        Action::Continue
    }
}

/// All headers in one host call and one buffer. The SDK would copy each name and value once more.
fn request_headers() -> Vec<u8> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    // SAFETY: both pointers are valid for writes; the host fills them in or returns an error.
    let status = unsafe { proxy_get_header_map_pairs(0, &raw mut data, &raw mut size) };
    if status != 0 || data.is_null() {
        return Vec::new();
    }
    // SAFETY: the host allocated it by the SDK's `proxy_on_memory_allocate`, a `Vec` of exactly this capacity.
    unsafe { Vec::from_raw_parts(data, size, size) }
}
