//! Masking of secrets in texts: passwords and signatures in URLs.

use std::borrow::Cow;

/// URL parameters that contain credentials.
const SECRET_PARAMETERS: [&str; 15] = [
    "x-amz-signature=",
    "x-amz-security-token=",
    "x-amz-credential=",
    "x-goog-signature=",
    "x-goog-credential=",
    "sig=",
    "signature=",
    "token=",
    "access_token=",
    "api_key=",
    "apikey=",
    "key=",
    "secret=",
    "password=",
    "passwd=",
];

/// A URL is not looked at further than this, so that masking takes linear time.
const LONGEST: usize = 8 << 10;

/// True for characters that end a URL within running text.
fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '<' | '>')
}

/// True for characters that end a parameter of a URL within running text.
fn ends(c: char) -> bool {
    ends_url(c) || matches!(c, '\'' | ')' | '(' | ',')
}

/// The text with each secret replaced by `***`: user and password before the host of a URL, and
/// signatures among its parameters.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains("://") && !text.contains('=') {
        return Cow::Borrowed(text);
    }
    let without = mask_parameters(&mask_authorities(text));
    if without == text { Cow::Borrowed(text) } else { Cow::Owned(without) }
}

fn mask_authorities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let (authority, tail) = after.split_at(end_of_authority(after));
        match authority.rsplit_once('@') {
            // In Azure URLs, the container stands before the account in the same position.
            Some((user, host)) if user.contains(':') || is_web(before) => {
                out.push_str("***@");
                out.push_str(host);
            }
            _ => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// The position at which the authority ends in a text that begins with it. Passwords are often not
/// escaped, and have slashes in them as keys of S3 do: what follows the colon is no port then, and
/// an `@` comes later.
fn end_of_authority(text: &str) -> usize {
    let text = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default();
    let url = text.get(..text.find(ends_url).unwrap_or(text.len())).unwrap_or_default();
    let end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (authority, tail) = url.split_at(end);
    let is_port = |after: &str| after.bytes().all(|byte| byte.is_ascii_digit());
    let has_password = authority.split_once(':').is_some_and(|(_, after)| !is_port(after));
    match tail.rfind('@') {
        Some(at) if has_password && !authority.contains(['@', '[']) => {
            let after = tail.get(at..).unwrap_or_default();
            end + at + after.find(['/', '?', '#']).unwrap_or(after.len())
        }
        _ => end,
    }
}

/// True if the text before `://` ends with the scheme of a web server.
fn is_web(before: &str) -> bool {
    let lower = before.get(before.floor_char_boundary(before.len().saturating_sub(5))..);
    let lower = lower.unwrap_or_default().to_ascii_lowercase();
    lower.ends_with("http") || lower.ends_with("https")
}

fn mask_parameters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['?', '&']) {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        rest = after;
        let is_next = |name: &&&str| {
            after.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        if let Some(name) = SECRET_PARAMETERS.iter().find(is_next) {
            let (name, value) = after.split_at(name.len());
            let is_end = |c: char| ends(c) || matches!(c, '&' | '#');
            out.push_str(name);
            out.push_str("***");
            rest = value.get(value.find(is_end).unwrap_or(value.len())..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_nothing_else() {
        for (text, expected) in [
            ("http://user:hush@host:1/a@b", "http://***@host:1/a@b"),
            ("at http://u:h@ush@host, then", "at http://***@host, then"),
            ("two http://a:b@c/d and s3://e:f@g", "two http://***@c/d and s3://***@g"),
            ("https://h/x?X-Amz-Signature=abc&y=1", "https://h/x?X-Amz-Signature=***&y=1"),
            ("https://h/x?se=1&sig=a%2Fb", "https://h/x?se=1&sig=***"),
            ("HTTPS://token@h/p", "HTTPS://***@h/p"),
            ("abfss://box@account/p", "abfss://box@account/p"),
            ("http://host:1/a", "http://host:1/a"),
            ("at http://u:h,u(s)h'@host.", "at http://***@host."),
            ("s3://u:hu/sh+h@host/a", "s3://***@host/a"),
            ("http://u:hu/s@h@host", "http://***@host"),
            ("http://[::1]:9000/a@b", "http://[::1]:9000/a@b"),
            ("http://host:1/a, b@c", "http://host:1/a, b@c"),
            ("https://h/x?access_token=a&API_KEY=b", "https://h/x?access_token=***&API_KEY=***"),
            ("column a://b == 'x@y'", "column a://b == 'x@y'"),
            ("design=5, ?notsig=3", "design=5, ?notsig=3"),
            ("plain", "plain"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
