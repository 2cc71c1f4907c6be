//! Masking of secrets in texts: passwords and signatures in URLs.

use std::borrow::Cow;

/// URL parameters that contain credentials.
const SECRET_PARAMETERS: [&str; 8] = [
    "x-amz-signature=",
    "x-amz-security-token=",
    "x-amz-credential=",
    "x-goog-signature=",
    "sig=",
    "signature=",
    "token=",
    "password=",
];

/// True for characters that end the authority or a parameter of a URL within running text.
fn ends(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ')' | '(' | ',')
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
        let end =
            after.find(|c: char| ends(c) || matches!(c, '/' | '?' | '#')).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
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

/// True if the text before `://` ends with the scheme of a web server.
fn is_web(before: &str) -> bool {
    let lower = before.get(before.floor_char_boundary(before.len().saturating_sub(5))..);
    let lower = lower.unwrap_or_default().to_ascii_lowercase();
    lower.ends_with("http") || lower.ends_with("https")
}

fn mask_parameters(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = lower.get(at..) {
        let starts = |position: usize| {
            let before = position.checked_sub(1).and_then(|last| lower.as_bytes().get(last));
            matches!(before, Some(b'?' | b'&'))
        };
        let found = SECRET_PARAMETERS
            .iter()
            .filter_map(|name| {
                let position = at + rest.find(name)?;
                Some((position, position + name.len()))
            })
            .min();
        let Some((position, value)) = found else {
            out.push_str(text.get(at..).unwrap_or_default());
            break;
        };
        out.push_str(text.get(at..value).unwrap_or_default());
        at = value;
        if starts(position) {
            let value = text.get(value..).unwrap_or_default();
            at += value.find(|c: char| ends(c) || matches!(c, '&' | '#')).unwrap_or(value.len());
            out.push_str("***");
        }
    }
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
            ("column a://b == 'x@y'", "column a://b == 'x@y'"),
            ("design=5, ?notsig=3", "design=5, ?notsig=3"),
            ("plain", "plain"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
