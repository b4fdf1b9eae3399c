//! Why a description cannot be used, and how a 488 says so (RFC 3261 §20.43, §21.4.26).

use super::ParseError;

/// A description we cannot work with. Peer's fault or plain disagreement, never ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not SDP, or beyond our bounds.
    #[error("session description: {0}")]
    Unreadable(#[from] ParseError),
    /// No audio stream at all, or only streams switched off with port 0.
    #[error("no audio stream")]
    NoAudio,
    /// Audio, but over a transport we do not speak (`RTP/SAVP`, `UDP/TLS/RTP/SAVPF`, ..).
    #[error("transport {0} is not supported, use RTP/AVP")]
    Transport(String),
    /// Audio we could carry, but no codec in common; the text lists what was named.
    #[error("no common codec among {0}")]
    NoCommonCodec(String),
    /// No `c=` line covers the stream.
    #[error("no connection address")]
    NoAddress,
    /// A host name, a multicast group, a broadcast address, or another network.
    #[error("connection address {0} cannot be used")]
    Address(String),
    /// They are IPv6 and we are IPv4, or the other way round.
    #[error("address family of {0} differs from ours")]
    AddressFamily(std::net::IpAddr),
    /// An answer that is not one to our offer.
    #[error("answer does not match the offer: {0}")]
    NotAnAnswer(&'static str),
}

impl Refusal {
    /// The status of our answer: 488 Not Acceptable Here.
    pub const STATUS: u16 = 488;

    /// The warn-code (RFC 3261 §20.43).
    pub const fn warning_code(&self) -> u16 {
        match self {
            Self::Unreadable(_) => 307,
            Self::NoAudio => 304,
            Self::Transport(_) => 302,
            Self::NoCommonCodec(_) => 305,
            Self::NoAddress | Self::Address(_) => 300,
            Self::AddressFamily(_) => 301,
            Self::NotAnAnswer(_) => 399,
        }
    }

    /// The value of a Warning header: code, `agent` (our host, or a pseudonym) and the text, quoted.
    ///
    /// The text may repeat what the peer wrote, so quotes, backslashes and control characters in it are replaced.
    pub fn warning(&self, agent: &str) -> String {
        let text: String = self
            .to_string()
            .chars()
            .take(200)
            .map(|c| match c {
                '"' | '\\' => '\'',
                c if c.is_control() => ' ',
                c => c,
            })
            .collect();
        format!("{} {agent} \"{text}\"", self.warning_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_the_fault_and_cannot_be_broken_out_of() {
        let hostile = Refusal::Transport("RTP/SAVP\"\r\nEvil: yes\\".into());
        assert_eq!(
            hostile.warning("baton"),
            "302 baton \"transport RTP/SAVP'  Evil: yes' is not supported, use RTP/AVP\""
        );
        assert!(
            Refusal::NoCommonCodec("G729 ".repeat(500))
                .warning("b")
                .len()
                < 220
        );
    }

    #[test]
    fn codes_are_those_of_rfc_3261() {
        assert_eq!(Refusal::NoAudio.warning_code(), 304);
        assert_eq!(Refusal::NoCommonCodec("G729".into()).warning_code(), 305);
        assert_eq!(Refusal::Unreadable(ParseError::Empty).warning_code(), 307);
    }
}
