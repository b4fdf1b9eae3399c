//! What a datagram seems to be, from its first octets: enough to serve a flood in the right order, and nothing to act
//! on. Reading the whole of it costs ten times as much.

/// What it seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// An INVITE outside any dialog: somebody wants in.
    NewCall,
    /// CANCEL: it means something only behind its INVITE.
    Cancel,
    /// Whatever else there is: a response, or something about a call that is up.
    Rest,
}

/// Looks at one message.
pub fn peek(octets: &[u8]) -> Peek {
    let Some(message) = octets.get(octets.iter().take_while(|o| b"\r\n".contains(o)).count()..)
    else {
        return Peek::Rest;
    };
    if message.starts_with(b"CANCEL ") {
        Peek::Cancel
    } else if message.starts_with(b"INVITE ") && !has_to_tag(message) {
        Peek::NewCall
    } else {
        Peek::Rest
    }
}

fn has_to_tag(message: &[u8]) -> bool {
    let mut in_to = false;
    for line in message.split(|octet| *octet == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return false; // the body begins
        }
        let is_folded = line.starts_with(b" ") || line.starts_with(b"\t");
        if !is_folded {
            in_to = is_to(line);
        }
        if in_to
            && line
                .windows(4)
                .any(|four| four.eq_ignore_ascii_case(b"tag="))
        {
            return true;
        }
    }
    false
}

fn is_to(line: &[u8]) -> bool {
    let name = line
        .split(|octet| *octet == b':')
        .next()
        .unwrap_or_default();
    let name = name.trim_ascii_end();
    name.eq_ignore_ascii_case(b"to") || name.eq_ignore_ascii_case(b"t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_calls_are_told_from_what_belongs_to_calls() {
        for (message, expected) in [
            (
                "INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n",
                Peek::NewCall,
            ),
            ("\r\n\r\nINVITE sip:a@b SIP/2.0\r\n\r\n", Peek::NewCall),
            (
                "INVITE sip:a@b SIP/2.0\r\nFrom: x;tag=1\r\nt : <sip:a@b>\r\n\r\n",
                Peek::NewCall,
            ),
            (
                "INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=2\r\n\r\n",
                Peek::Rest,
            ),
            (
                "INVITE sip:a@b SIP/2.0\r\nt:<sip:a@b>;Tag=2\n\n",
                Peek::Rest,
            ),
            (
                "INVITE sip:a@b SIP/2.0\r\nTO : <sip:a@b>\r\n ;tag=2\r\n\r\n",
                Peek::Rest,
            ),
            (
                "INVITE sip:a@b SIP/2.0\r\n\r\nTo: <sip:a@b>;tag=2\r\n",
                Peek::NewCall,
            ),
            ("CANCEL sip:a@b SIP/2.0\r\n\r\n", Peek::Cancel),
            ("BYE sip:a@b SIP/2.0\r\n\r\n", Peek::Rest),
            ("SIP/2.0 200 OK\r\n\r\n", Peek::Rest),
            ("INVITED sip:a@b SIP/2.0\r\n\r\n", Peek::Rest),
            ("", Peek::Rest),
            ("\r\n\r\n", Peek::Rest),
            ("INVITE ", Peek::NewCall),
        ] {
            assert_eq!(peek(message.as_bytes()), expected, "{message:?}");
        }
    }
}
