//! What is asked of the DNS and what it says, as values: nothing here sends a packet.

use std::net::IpAddr;

/// Which records are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Which services a domain has (RFC 3403).
    Naptr,
    /// Which hosts offer a service (RFC 2782).
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

impl Kind {
    /// As zone files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Naptr => "NAPTR",
            Self::Srv => "SRV",
            Self::A => "A",
            Self::Aaaa => "AAAA",
        }
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// Lower case, without the final dot.
    pub name: String,
    /// Which records.
    pub kind: Kind,
}

impl Question {
    /// Asks for records of this name; `None` for what no name can be (RFC 1035 §2.3.4).
    pub fn new(name: &str, kind: Kind) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let speakable = name.len() <= 253 && name.split('.').all(is_label);
        speakable.then(|| Self {
            name: name.to_ascii_lowercase(),
            kind,
        })
    }
}

/// What a label may be here: no more than hosts and services are made of. What else a zone may hold (RFC 2181 §11) is
/// never the name of a SIP server, and would have to be escaped in every place that prints it.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

/// A NAPTR record (RFC 3403 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower first, and a higher one only when nothing of the lower can be used.
    pub order: u16,
    /// Within one order, lower first.
    pub preference: u16,
    /// `s`: the replacement has SRV records.
    pub flags: String,
    /// `SIP+D2U`, `SIP+D2T`, `SIPS+D2T`, …
    pub services: String,
    /// Not used by SIP: what has one is not for us.
    pub regexp: String,
    /// The name to ask next.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower first.
    pub priority: u16,
    /// The share of the calls among those of one priority.
    pub weight: u16,
    /// Where the service listens.
    pub port: u16,
    /// The host; `.` or empty: the service is decidedly not available.
    pub target: String,
}

/// What the DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Kind::Naptr`].
    Naptr(Vec<Naptr>),
    /// To [`Kind::Srv`].
    Srv(Vec<Srv>),
    /// To [`Kind::A`] and [`Kind::Aaaa`].
    Addresses(Vec<IpAddr>),
    /// The name exists, and has no such records.
    NoRecords,
    /// The name does not exist (NXDOMAIN).
    NoSuchName,
    /// No answer, or SERVFAIL, or something that could not be read.
    Failed,
}

impl Answer {
    /// No record of any kind in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Naptr(records) => records.is_empty(),
            Self::Srv(records) => records.is_empty(),
            Self::Addresses(addresses) => addresses.is_empty(),
            Self::NoRecords | Self::NoSuchName | Self::Failed => true,
        }
    }

    /// The same with no more than `most` records: who sends a thousand is not worth a thousand's memory.
    #[must_use]
    pub fn truncated(mut self, most: usize) -> Self {
        match &mut self {
            Self::Naptr(records) => records.truncate(most),
            Self::Srv(records) => records.truncate(most),
            Self::Addresses(addresses) => addresses.truncate(most),
            Self::NoRecords | Self::NoSuchName | Self::Failed => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_lower_case_and_without_their_final_dot() {
        let one = Question::new("PBX.Example.COM.", Kind::A);
        assert_eq!(one, Question::new("pbx.example.com", Kind::A));
        assert_eq!(one.unwrap().name, "pbx.example.com");
        assert!(Question::new("_sip._udp.example.com", Kind::Srv).is_some());
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for name in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b.c",
            "a\0.b",
            "ü.example",
            "a\n.b",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Question::new(name, Kind::A), None, "{name:?}");
        }
    }
}
