//! An endpoint for the browser with a request in its query.

use form_urlencoded::Serializer;

/// The endpoint with these parameters in its query. A query of the endpoint is kept (RFC 6749 section 3.1). Empty values
/// are left out.
pub(super) fn with_query<'a>(
    endpoint: &str,
    parameters: impl IntoIterator<Item = (&'static str, &'a str)>,
) -> String {
    let mut url = endpoint.to_owned();
    if !url.contains('?') {
        url.push('?');
    } else if !url.ends_with(['?', '&']) {
        url.push('&');
    }
    let mut query = Serializer::new(String::new());
    for (name, value) in parameters {
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    url + &query.finish()
}
