//! `X-Twilio-Signature`: base64 of HMAC-SHA1 under the account's auth token, over the URL as Twilio wrote it and,
//! for a form, every parameter's name and value in the order of names.
//!
//! The URL comes from the configured public base, never from a Host header: a proxy's view differs, and an
//! attacker writes what they like there. What a proxy may still have changed (a default port, the spelling of the
//! query) is tried in each form.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What a webhook carried.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// GET, and the upgrade of a WebSocket.
    None,
    /// A form, decoded, in any order.
    Form(&'a [(String, String)]),
    /// JSON or anything else: signed by its digest in the query.
    Raw(&'a [u8]),
}

/// A webhook that is not Twilio's, or was changed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// Not base64 of 20 octets.
    #[error("X-Twilio-Signature is not a signature")]
    Malformed,
    /// A body without `bodySHA256` in the query, or with another digest.
    #[error("bodySHA256 does not match the body")]
    BodyDigest,
    /// The URL, a parameter or the token differs.
    #[error("X-Twilio-Signature does not match; check the auth token and http.public_url")]
    Mismatch,
}

/// Checks a webhook in constant time.
///
/// * `url`: public base, path and query as requested; `wss://` for a stream.
///
/// # Errors
/// The webhook must not be acted upon.
pub fn verify(
    token: &str,
    signature: &str,
    url: &str,
    body: Body<'_>,
) -> Result<(), SignatureError> {
    let signature = STANDARD
        .decode(signature.trim())
        .ok()
        .filter(|octets| octets.len() == 20)
        .ok_or(SignatureError::Malformed)?;
    let parameters = match body {
        Body::None => String::new(),
        Body::Form(pairs) => sorted(pairs),
        Body::Raw(octets) => {
            check_digest(url, octets)?;
            String::new()
        }
    };
    // All forms are tried whatever the first gives, so that time tells nothing about which one matched.
    let matched = spellings(url).iter().fold(false, |matched, url| {
        let fits = mac(token, url, &parameters)
            .verify_slice(&signature)
            .is_ok();
        matched | fits
    });
    matched.then_some(()).ok_or(SignatureError::Mismatch)
}

/// The signature of a webhook, as Twilio makes it; the softphone and the demo play Twilio.
pub fn sign(token: &str, url: &str, form: &[(String, String)]) -> String {
    STANDARD.encode(mac(token, url, &sorted(form)).finalize().into_bytes())
}

/// Decodes an `application/x-www-form-urlencoded` body or query; pairs in order, octets that are not UTF-8 replaced.
pub fn parse_form(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn mac(token: &str, url: &str, parameters: &str) -> Hmac<Sha1> {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(token.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(url.as_bytes());
    mac.update(parameters.as_bytes());
    mac
}

/// Names in byte order, each directly followed by its value; a repeated name with each distinct value once, sorted.
fn sorted(pairs: &[(String, String)]) -> String {
    let mut pairs: Vec<&(String, String)> = pairs.iter().collect();
    pairs.sort();
    pairs.dedup();
    pairs
        .iter()
        .flat_map(|(name, value)| [name.as_str(), value.as_str()])
        .collect()
}

fn check_digest(url: &str, octets: &[u8]) -> Result<(), SignatureError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let claimed = parse_form(query)
        .into_iter()
        .find(|(name, _)| name == "bodySHA256")
        .ok_or(SignatureError::BodyDigest)?
        .1;
    let mut digest = String::with_capacity(64);
    for octet in Sha256::digest(octets) {
        let _ = write!(digest, "{octet:02x}"); // writing to a String cannot fail
    }
    // Neither is a secret: the digest is in the URL that the signature covers.
    if claimed.eq_ignore_ascii_case(&digest) {
        Ok(())
    } else {
        Err(SignatureError::BodyDigest)
    }
}

/// The forms one URL may have had at Twilio: as it is, with and without the default port, each with its query as
/// received and encoded anew.
fn spellings(url: &str) -> Vec<String> {
    let mut forms = vec![url.to_owned()];
    if let Some((scheme, rest)) = url.split_once("://") {
        let default = if matches!(scheme, "https" | "wss") {
            ":443"
        } else {
            ":80"
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let bare = authority.strip_suffix(default);
        let port = authority
            .rsplit(']')
            .next()
            .is_some_and(|tail| tail.contains(':'));
        match bare {
            Some(host) => forms.push(format!("{scheme}://{host}{path}")),
            None if !port => forms.push(format!("{scheme}://{authority}{default}{path}")),
            None => {}
        }
    }
    let again: Vec<String> = forms.iter().filter_map(|form| encoded_anew(form)).collect();
    forms.extend(again);
    forms
}

fn encoded_anew(url: &str) -> Option<String> {
    let (path, query) = url.split_once('?')?;
    let pairs: Vec<String> = parse_form(query)
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    let anew = format!("{path}?{}", pairs.join("&"));
    (anew != url).then_some(anew)
}

/// As ECMAScript's `encodeURIComponent`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            let _ = write!(encoded, "%{octet:02X}");
        }
    }
    encoded
}

fn decode(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, tail)) = rest.split_first() {
        let escaped = tail
            .first_chunk::<2>()
            .filter(|_| octet == b'%')
            .and_then(|hex| hex_octet(*hex));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
        octets.push(escaped.unwrap_or(if octet == b'+' { b' ' } else { octet }));
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn hex_octet(hex: [u8; 2]) -> Option<u8> {
    let digit = |octet: u8| {
        char::from(octet)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    Some(digit(hex[0])? << 4 | digit(hex[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const FORM: &str = "AccountSid=AC00000000000000000000000000000001&ApiVersion=2010-04-01\
        &CallSid=CA00000000000000000000000000000002&CallStatus=in-progress&Called=%2B15551230000\
        &Caller=%2B15559870000&Direction=inbound&From=%2B15559870000\
        &ReferTransferTarget=%3Csip%3Aqueue%40flex.example.com%3FX-Session-Key%3Dk-42%3E&To=%2B15551230000";
    const REFER: &str = "https://bridge.example.com/refer-handler";

    fn form() -> Vec<(String, String)> {
        parse_form(FORM)
    }

    #[test]
    fn a_posted_form_is_verified() {
        let form = form();
        for (url, signature) in [
            (REFER, "BVoQFJlKeCECWFqyUyUb9vkVlxw="),
            (
                "https://bridge.example.com/refer-handler?tenant=a1",
                "sALHkn6xiG7mDhTTqzJPoX70WeY=",
            ),
        ] {
            assert_eq!(verify(TOKEN, signature, url, Body::Form(&form)), Ok(()));
            assert_eq!(sign(TOKEN, url, &form), signature);
        }
    }

    #[test]
    fn the_order_of_parameters_does_not_matter_and_repeats_count_once() {
        let mut form = form();
        form.reverse();
        form.push(form[0].clone());
        assert_eq!(
            verify(
                TOKEN,
                "BVoQFJlKeCECWFqyUyUb9vkVlxw=",
                REFER,
                Body::Form(&form)
            ),
            Ok(())
        );
    }

    #[test]
    fn a_get_is_verified_by_its_url() {
        let url = "https://bridge.example.com/stream-status?CallSid=CA00000000000000000000000000000002&StreamEvent=stream-stopped";
        assert_eq!(
            verify(TOKEN, "qA3ZiqZg1leLOZDmf5MlEXw3978=", url, Body::None),
            Ok(())
        );
    }

    #[test]
    fn a_stream_is_verified_by_its_wss_url() {
        let url = "wss://bridge.example.com/media";
        assert_eq!(
            verify(TOKEN, "Qpzl6q5jZ70q4PJ9t9TfCYrZVgI=", url, Body::None),
            Ok(())
        );
        assert_eq!(
            verify(TOKEN, "3Fk4DJRV65e+UclpyQK+HLROugk=", url, Body::None),
            Ok(())
        );
        assert_eq!(
            verify(
                TOKEN,
                "Qpzl6q5jZ70q4PJ9t9TfCYrZVgI=",
                "wss://bridge.example.com:443/media",
                Body::None
            ),
            Ok(())
        );
        assert_eq!(
            verify(TOKEN, "ZxA5Ah6jgRARDMdoHlkV6QZT8oM=", url, Body::None),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(
            sign(TOKEN, "https://bridge.example.com/media", &[]),
            "ZxA5Ah6jgRARDMdoHlkV6QZT8oM="
        );
    }

    #[test]
    fn json_is_verified_by_its_digest() {
        let url = "https://bridge.example.com/json?bodySHA256=2bfd14f43d17fc7cea24e0917a8879b4b2f880b8baeec1b9d90fbaad655e71bd";
        let signature = "Fh/pNQ9XHOb83jvWEbQBuQO+Y3w=";
        assert_eq!(
            verify(TOKEN, signature, url, Body::Raw(br#"{"n":1}"#)),
            Ok(())
        );
        assert_eq!(
            verify(TOKEN, signature, url, Body::Raw(br#"{"n":2}"#)),
            Err(SignatureError::BodyDigest)
        );
        assert_eq!(
            verify(
                TOKEN,
                signature,
                "https://bridge.example.com/json",
                Body::Raw(br#"{"n":1}"#)
            ),
            Err(SignatureError::BodyDigest)
        );
    }

    #[test]
    fn a_query_that_a_proxy_spelled_anew_is_verified() {
        let signed = sign(TOKEN, "https://b.example.com/x?a=b%20c&d=%3A", &[]);
        for seen in [
            "https://b.example.com/x?a=b+c&d=:",
            "https://b.example.com:443/x?a=b%20c&d=%3a",
        ] {
            assert_eq!(verify(TOKEN, &signed, seen, Body::None), Ok(()), "{seen}");
        }
    }

    #[test]
    fn any_change_is_noticed() {
        let good = "BVoQFJlKeCECWFqyUyUb9vkVlxw=";
        let mut changed = form();
        changed[8].1.push('x');
        let mut more = form();
        more.push(("Extra".into(), "1".into()));
        for form in [&changed[..], &more, &[]] {
            assert_eq!(
                verify(TOKEN, good, REFER, Body::Form(form)),
                Err(SignatureError::Mismatch)
            );
        }
        assert_eq!(
            verify("other", good, REFER, Body::Form(&form())),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(
            verify(
                TOKEN,
                good,
                "https://evil.example/refer-handler",
                Body::Form(&form())
            ),
            Err(SignatureError::Mismatch)
        );
        // Another port is another server.
        assert_eq!(
            verify(
                TOKEN,
                good,
                "https://bridge.example.com:8443/refer-handler",
                Body::Form(&form())
            ),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        for junk in [
            "",
            "x",
            "AAAA",
            "%%%%",
            "BVoQFJlKeCECWFqyUyUb9vkVlxwAAAA=",
            &"A".repeat(100_000),
        ] {
            assert_eq!(
                verify(TOKEN, junk, REFER, Body::None),
                Err(SignatureError::Malformed)
            );
        }
    }

    #[test]
    fn broken_escapes_are_taken_as_they_are() {
        let pairs = parse_form("a=%zz&b=%4&c=%&d&=e&&f=%e2%82%ac");
        let expected = [
            ("a", "%zz"),
            ("b", "%4"),
            ("c", "%"),
            ("d", ""),
            ("", "e"),
            ("f", "€"),
        ];
        assert_eq!(pairs, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(url: String, signature: String, body: Vec<u8>) {
            let _ = verify(TOKEN, &signature, &url, Body::Raw(&body));
            let _ = verify(TOKEN, "BVoQFJlKeCECWFqyUyUb9vkVlxw=", &url, Body::None);
        }
    }
}
