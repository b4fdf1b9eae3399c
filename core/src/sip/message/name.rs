//! The catalogue of header field names (RFC 3261 §20 and the extensions we meet), with compact forms (§7.3.3).

use std::fmt;

/// Writes the enum, its spellings and their order in one go.
macro_rules! names {
    ($($variant:ident = $text:literal,)*) => {
        /// A header field name we know. Any other is found by [`Headers::named`](super::Headers::named).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        /// In the order of the enum.
        const ALL: &[(Name, &str)] = &[$((Name::$variant, $text),)*];
    };
}

names! {
    Accept = "Accept",
    AcceptContact = "Accept-Contact",
    AcceptEncoding = "Accept-Encoding",
    AcceptLanguage = "Accept-Language",
    AlertInfo = "Alert-Info",
    Allow = "Allow",
    AllowEvents = "Allow-Events",
    AuthenticationInfo = "Authentication-Info",
    Authorization = "Authorization",
    CallId = "Call-ID",
    CallInfo = "Call-Info",
    Contact = "Contact",
    ContentDisposition = "Content-Disposition",
    ContentEncoding = "Content-Encoding",
    ContentLanguage = "Content-Language",
    ContentLength = "Content-Length",
    ContentType = "Content-Type",
    CSeq = "CSeq",
    Date = "Date",
    Diversion = "Diversion",
    ErrorInfo = "Error-Info",
    Event = "Event",
    Expires = "Expires",
    From = "From",
    HistoryInfo = "History-Info",
    Identity = "Identity",
    InReplyTo = "In-Reply-To",
    MaxForwards = "Max-Forwards",
    MimeVersion = "MIME-Version",
    MinExpires = "Min-Expires",
    MinSe = "Min-SE",
    Organization = "Organization",
    PAssertedIdentity = "P-Asserted-Identity",
    PPreferredIdentity = "P-Preferred-Identity",
    Path = "Path",
    Priority = "Priority",
    Privacy = "Privacy",
    ProxyAuthenticate = "Proxy-Authenticate",
    ProxyAuthorization = "Proxy-Authorization",
    ProxyRequire = "Proxy-Require",
    RAck = "RAck",
    Reason = "Reason",
    RecordRoute = "Record-Route",
    ReferSub = "Refer-Sub",
    ReferTo = "Refer-To",
    ReferredBy = "Referred-By",
    RejectContact = "Reject-Contact",
    RemotePartyId = "Remote-Party-ID",
    Replaces = "Replaces",
    ReplyTo = "Reply-To",
    RequestDisposition = "Request-Disposition",
    Require = "Require",
    RetryAfter = "Retry-After",
    Route = "Route",
    RSeq = "RSeq",
    Server = "Server",
    ServiceRoute = "Service-Route",
    SessionExpires = "Session-Expires",
    SipETag = "SIP-ETag",
    SipIfMatch = "SIP-If-Match",
    Subject = "Subject",
    SubscriptionState = "Subscription-State",
    Supported = "Supported",
    TargetDialog = "Target-Dialog",
    Timestamp = "Timestamp",
    To = "To",
    Unsupported = "Unsupported",
    UserAgent = "User-Agent",
    UserToUser = "User-to-User",
    Via = "Via",
    Warning = "Warning",
    WwwAuthenticate = "WWW-Authenticate",
}

/// Places of the lookup table: a power of two, a few times as many as there are names.
const PLACES: usize = 512;

/// Which name stands where: its index in [`ALL`] and one; 0 for nobody. Names that fall on one place take the next free.
const TABLE: [u8; PLACES] = table();

const fn table() -> [u8; PLACES] {
    let mut table = [0; PLACES];
    let mut i = 0_u8;
    while (i as usize) < ALL.len() {
        let mut place = place(ALL[i as usize].1.as_bytes());
        while table[place] != 0 {
            place = (place + 1) % PLACES;
        }
        i += 1;
        table[place] = i;
    }
    table
}

/// Where a name is looked for first: made of its length and three of its letters, in any case.
const fn place(name: &[u8]) -> usize {
    (name.len() * 37
        + ((name[0] | 0x20) as usize) * 5
        + ((name[name.len() / 2] | 0x20) as usize) * 11
        + ((name[name.len() - 1] | 0x20) as usize) * 3)
        % PLACES
}

impl Name {
    /// How many there are.
    pub(super) const COUNT: usize = ALL.len();

    /// Finds a name in any case, long or compact; `None` for one that is not in the catalogue.
    pub fn new(text: &str) -> Option<Self> {
        Self::of(text.as_bytes())
    }

    /// The same for octets that may be no text.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        if name.len() < 2 {
            return Self::compact(*name.first()?);
        }
        let mut place = place(name);
        loop {
            let (found, known) = ALL[usize::from(TABLE[place].checked_sub(1)?)];
            // Most peers write the canonical spelling, which is the cheaper comparison.
            if known.as_bytes() == name || known.as_bytes().eq_ignore_ascii_case(name) {
                return Some(found);
            }
            place = (place + 1) % PLACES;
        }
    }

    /// The one-letter forms (RFC 3261 §7.3.3 and the IANA registry).
    fn compact(letter: u8) -> Option<Self> {
        Some(match letter.to_ascii_lowercase() {
            b'a' => Self::AcceptContact,
            b'b' => Self::ReferredBy,
            b'c' => Self::ContentType,
            b'd' => Self::RequestDisposition,
            b'e' => Self::ContentEncoding,
            b'f' => Self::From,
            b'i' => Self::CallId,
            b'j' => Self::RejectContact,
            b'k' => Self::Supported,
            b'l' => Self::ContentLength,
            b'm' => Self::Contact,
            b'o' => Self::Event,
            b'r' => Self::ReferTo,
            b's' => Self::Subject,
            b't' => Self::To,
            b'u' => Self::AllowEvents,
            b'v' => Self::Via,
            b'x' => Self::SessionExpires,
            b'y' => Self::Identity,
            _ => return None,
        })
    }

    /// The canonical long spelling.
    pub const fn as_str(self) -> &'static str {
        ALL[self as usize].1
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for &(name, text) in ALL {
            assert_eq!(name.as_str(), text);
            assert_eq!(Name::new(text), Some(name));
            assert_eq!(Name::new(&text.to_ascii_lowercase()), Some(name));
            assert_eq!(Name::new(&text.to_ascii_uppercase()), Some(name));
        }
    }

    #[test]
    fn few_names_share_a_place() {
        let mut places: Vec<_> = ALL.iter().map(|(_, text)| place(text.as_bytes())).collect();
        places.sort_unstable();
        places.dedup();
        let shared = ALL.len() - places.len();
        assert!(
            shared <= ALL.len() / 8,
            "{shared} of {} names share",
            ALL.len()
        );
        // A search ends at a free place, so there must always be one.
        const { assert!(ALL.len() < PLACES / 4) };
    }

    #[test]
    fn compact_forms_mean_their_long_forms() {
        for (short, name) in [
            ("v", Name::Via),
            ("F", Name::From),
            ("t", Name::To),
            ("i", Name::CallId),
            ("m", Name::Contact),
            ("c", Name::ContentType),
            ("l", Name::ContentLength),
            ("k", Name::Supported),
            ("s", Name::Subject),
            ("e", Name::ContentEncoding),
            ("r", Name::ReferTo),
            ("b", Name::ReferredBy),
            ("o", Name::Event),
            ("u", Name::AllowEvents),
            ("x", Name::SessionExpires),
        ] {
            assert_eq!(Name::new(short), Some(name), "{short}");
        }
    }

    #[test]
    fn unknown_names_are_not_guessed() {
        for text in [
            "",
            "z",
            "X-Session-Key",
            "Vi",
            "Viaa",
            "é",
            "1",
            "[",
            "Content_Length",
        ] {
            assert_eq!(Name::new(text), None, "{text}");
        }
    }
}
