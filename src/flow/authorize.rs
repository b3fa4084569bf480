//! Authorization: `email_domains`, `allowed_groups`, and the constraints in the query of `/oauth2/auth`.

use super::http::request::RequestHead;
use crate::config::Config;
use crate::session::SessionInfo;

/// Whether the configuration lets this user in.
pub(super) fn is_allowed(config: &Config, session: &SessionInfo) -> bool {
    let login = &config.login;
    let groups = &login.allowed_groups;
    has_email_domain(session, login.email_domains.iter().map(String::as_str))
        && (groups.is_empty() || has_group(session, groups.iter().map(String::as_str)))
}

/// Whether the query of `/oauth2/auth` lets this user in. `allowed_groups`, `allowed_emails` and
/// `allowed_email_domains` are comma-separated lists; each list that is given must match. A parameter that is given
/// several times is one list, as in oauth2-proxy.
pub(super) fn by_query(session: &SessionInfo, head: &RequestHead) -> bool {
    let holds = |name: &str, check: &dyn Fn(&str) -> bool| {
        let mut lists = head.queries(name).filter(|list| !list.is_empty()).peekable();
        lists.peek().is_none() || lists.any(|list| list.split(',').any(|entry| check(entry.trim())))
    };
    holds("allowed_groups", &|group| has_group(session, [group].into_iter()))
        && holds("allowed_emails", &|email| session.email == email.as_bytes())
        && holds("allowed_email_domains", &|domain| has_email_domain(session, [domain].into_iter()))
}

fn has_group<'a>(session: &SessionInfo, mut allowed: impl Iterator<Item = &'a str>) -> bool {
    allowed.any(|group| session.groups.iter().any(|other| other == group.as_bytes()))
}

/// `*` matches every address, `example.com` that domain alone, `.example.com` and `*.example.com` its subdomains. The
/// comparison ignores case, as in oauth2-proxy.
fn has_email_domain<'a>(session: &SessionInfo, mut allowed: impl Iterator<Item = &'a str>) -> bool {
    let email = session.email.to_ascii_lowercase();
    // An address has one `@`. Clients do not agree about the domain of an address with more of them.
    let mut parts = email.split(|byte| *byte == b'@');
    let domain = match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(domain), None) => Some(domain),
        _ => None,
    };
    allowed.any(|pattern| {
        let pattern = pattern.to_ascii_lowercase();
        if pattern == "*" {
            return true;
        }
        let Some(domain) = domain else { return false };
        let parent = pattern.strip_prefix("*.").or_else(|| pattern.strip_prefix('.'));
        match parent {
            Some(parent) => domain
                .strip_suffix(parent.as_bytes())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with(b".")),
            None => domain == pattern.as_bytes(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(email: &str, groups: &[&str]) -> SessionInfo {
        SessionInfo {
            email: email.as_bytes().to_vec(),
            groups: groups.iter().map(|group| group.as_bytes().to_vec()).collect(),
            ..Default::default()
        }
    }

    fn in_domains(email: &str, domains: &[&str]) -> bool {
        has_email_domain(&principal(email, &[]), domains.iter().copied())
    }

    #[test]
    fn email_domain_matches_as_a_whole() {
        assert!(in_domains("alice@example.com", &["example.org", "example.com"]));
        assert!(in_domains("Alice@EXAMPLE.com", &["Example.Com"]));
        assert!(!in_domains("alice@evil-example.com", &["example.com"]));
        assert!(!in_domains("alice@sub.example.com", &["example.com"]));
        assert!(!in_domains("alice@example.com@evil.org", &["example.com"]));
        assert!(!in_domains("example.com", &["example.com"]));
    }

    #[test]
    fn leading_dot_or_asterisk_matches_subdomains() {
        for pattern in [".example.com", "*.example.com"] {
            assert!(in_domains("alice@sub.example.com", &[pattern]));
            assert!(!in_domains("alice@example.com", &[pattern]));
            assert!(!in_domains("alice@.example.com", &[pattern]));
            assert!(!in_domains("alice@evilexample.com", &[pattern]));
        }
    }

    #[test]
    fn asterisk_matches_every_address_and_no_pattern_none() {
        assert!(in_domains("", &["*"]));
        assert!(!in_domains("", &["example.com"]));
        assert!(!in_domains("alice@example.com", &[]));
    }

    #[test]
    fn every_constraint_of_auth_query_must_match() {
        let alice = principal("alice@example.com", &["admins", "staff"]);
        let holds = |query: &str| {
            let path = format!("/oauth2/auth?{query}");
            by_query(&alice, &RequestHead::from_pairs([(":path", path.as_bytes())]))
        };
        assert!(holds(""));
        assert!(holds("allowed_groups=guests,admins"));
        assert!(!holds("allowed_groups=guests"));
        assert!(holds("allowed_emails=alice%40example.com"));
        assert!(!holds("allowed_emails=bob%40example.com"));
        assert!(holds("allowed_email_domains=example.com&allowed_groups=staff"));
        assert!(!holds("allowed_email_domains=example.org&allowed_groups=staff"));
    }
}
