//! `message/sipfrag` (RFC 3420): the piece of a response that a NOTIFY for `refer` carries (RFC 3515 §2.4.5).

/// Content-Type of a sipfrag we send.
pub const CONTENT_TYPE: &str = "message/sipfrag;version=2.0";

/// Reads the status line; whatever follows it (headers of that response) is of no interest.
///
/// * returns status 100-699 and its phrase; `None` when the first line is no status line.
pub fn parse(body: &[u8]) -> Option<(u16, String)> {
    let line = body
        .split(|&octet| octet == b'\r' || octet == b'\n')
        .find(|line| !line.is_empty())?;
    let line = String::from_utf8_lossy(line);
    let (version, rest) = line.trim().split_once(' ')?;
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        return None;
    }
    let rest = rest.trim_start();
    let (code, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
    let three_digits = code.len() == 3 && code.bytes().all(|octet| octet.is_ascii_digit());
    let status = code.parse().ok().filter(|_| three_digits)?;
    (100..700)
        .contains(&status)
        .then(|| (status, phrase.trim().to_owned()))
}

/// The whole body of a NOTIFY: one status line.
pub fn print(status: u16, phrase: &str) -> String {
    format!("SIP/2.0 {status} {phrase}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        let body = print(180, "Ringing");
        assert_eq!(body, "SIP/2.0 180 Ringing\r\n");
        assert_eq!(parse(body.as_bytes()), Some((180, "Ringing".into())));
    }

    #[test]
    fn line_ends_headers_and_phrases_are_as_peers_send_them() {
        let ok = |text: &str| parse(text.as_bytes()).map(|(status, _)| status);
        assert_eq!(ok("SIP/2.0 200 OK"), Some(200));
        assert_eq!(ok("SIP/2.0 200"), Some(200));
        assert_eq!(ok("SIP/2.0 200 \n"), Some(200));
        assert_eq!(
            ok("\r\nsip/2.0  503 Unavailable\r\nTo: <sip:x>\r\n"),
            Some(503)
        );
        assert_eq!(
            parse("SIP/2.0 486 Besetzt, später".as_bytes()),
            Some((486, "Besetzt, später".into()))
        );
    }

    #[test]
    fn what_is_no_status_line_is_none_and_never_a_panic() {
        for text in [
            "",
            "\r\n",
            "SIP/2.0",
            "SIP/2.0 OK",
            "SIP/2.0 20 OK",
            "SIP/2.0 2000 OK",
            "SIP/2.0 099 OK",
            "SIP/2.0 700 No",
            "SIP/2.0 +20 OK",
            "HTTP/1.1 200 OK",
            "REFER sip:x SIP/2.0",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(&vec![0xff; 70_000]), None);
    }
}
