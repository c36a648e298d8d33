//! The few things that have to be known of SIP and HTTP addresses here.

use std::borrow::Cow;

/// User part of a SIP or tel URI, unescaped; `None` where it has none.
pub(crate) fn user(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let user = match scheme.to_ascii_lowercase().as_str() {
        "sip" | "sips" => rest.split_once('@')?.0,
        "tel" => rest,
        _ => return None,
    };
    // RFC 3261 §19.1.1: a password or the parameters of a telephone number may follow.
    let user = user.split([':', ';']).next().unwrap_or(user);
    Some(user.replace("%2B", "+").replace("%2b", "+"))
}

/// The same URI with another user part. A tel URI, which has no host, becomes a tel URI.
pub(crate) fn with_user(uri: &str, user: &str) -> String {
    let (scheme, rest) = uri.split_once(':').unwrap_or(("sip", uri));
    if scheme.eq_ignore_ascii_case("tel") {
        return format!("tel:{user}");
    }
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}:{user}@{host}")
}

/// The same URI with another host; port and parameters stay off.
pub(crate) fn with_host(uri: &str, host: &str) -> String {
    match user(uri) {
        Some(user) => format!("sip:{user}@{host}"),
        None => format!("sip:{host}"),
    }
}

/// The URI inside `"Name" <uri>;param`, or the text itself.
pub(crate) fn in_name_addr(text: &str) -> &str {
    let inside = text
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(uri, _)| uri);
    inside.unwrap_or(text).trim()
}

/// The URL as Twilio called it: with the scheme and host of `base` where there is one.
pub(crate) fn public<'a>(url: &'a str, base: Option<&str>) -> Cow<'a, str> {
    let Some(base) = base else {
        return Cow::Borrowed(url);
    };
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url[after_scheme..]
        .find(['/', '?'])
        .map_or("", |at| &url[after_scheme + at..]);
    Cow::Owned(format!("{}{path}", base.trim_end_matches('/')))
}

/// The forms in which Twilio may have signed a URL: as it is, without userinfo, with and
/// without the port, a WebSocket's also with a slash at its end.
pub(crate) fn as_signed(url: &str) -> Vec<String> {
    let mut forms = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else {
        return forms;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host_and_port = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    // The colons of an IPv6 address are inside its brackets.
    let port_at = host_and_port
        .rfind(':')
        .filter(|at| !host_and_port[*at..].contains(']'));
    let host = port_at.map_or(host_and_port, |at| &host_and_port[..at]);
    let default_port = if matches!(scheme, "https" | "wss") {
        443
    } else {
        80
    };
    let mut add = |text: String| {
        if !forms.contains(&text) {
            forms.push(text);
        }
    };
    add(format!("{scheme}://{host_and_port}{path}"));
    add(format!("{scheme}://{host}{path}"));
    add(format!("{scheme}://{host}:{default_port}{path}"));
    if matches!(scheme, "ws" | "wss") && !path.ends_with('/') {
        add(format!("{scheme}://{host_and_port}{path}/"));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_parts_are_found_and_replaced() {
        assert_eq!(
            user("sip:+1555;npdi@h:5060;transport=tcp").as_deref(),
            Some("+1555")
        );
        assert_eq!(user("sip:%2B1555:secret@h").as_deref(), Some("+1555"));
        assert_eq!(user("tel:+1555;phone-context=x").as_deref(), Some("+1555"));
        assert_eq!(user("sip:h"), None);
        assert_eq!(
            with_user("sip:1@h:5060;transport=tcp", "+2"),
            "sip:+2@h:5060;transport=tcp"
        );
        assert_eq!(
            with_user("sip:h;transport=tls", "+2"),
            "sip:+2@h;transport=tls"
        );
        assert_eq!(
            with_host("sip:+1@10.0.0.1:5060", "x.pstn.twilio.com"),
            "sip:+1@x.pstn.twilio.com"
        );
    }

    #[test]
    fn a_public_address_replaces_scheme_and_host_only() {
        assert_eq!(
            public("http://127.0.0.1:8080/a/b?c=1", Some("https://x.example/")),
            "https://x.example/a/b?c=1"
        );
        assert_eq!(
            public("http://127.0.0.1:8080", Some("https://x.example")),
            "https://x.example"
        );
        assert_eq!(public("https://y/z", None), "https://y/z");
    }

    #[test]
    fn a_url_is_tried_with_and_without_its_port() {
        assert_eq!(as_signed("https://h/a"), ["https://h/a", "https://h:443/a"]);
        assert_eq!(
            as_signed("https://u:p@h:8443/a?b"),
            [
                "https://u:p@h:8443/a?b",
                "https://h:8443/a?b",
                "https://h/a?b",
                "https://h:443/a?b"
            ]
        );
        assert_eq!(
            as_signed("http://[::1]:80"),
            ["http://[::1]:80", "http://[::1]"]
        );
        assert!(as_signed("wss://h/m").contains(&"wss://h/m/".to_owned()));
    }
}
