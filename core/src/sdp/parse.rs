//! Lines to what we need of them. `sdp-types` reads the lines; the bounds and the meaning are ours.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sdp_types::{Connection, Media as RawMedia, RtpMap, Session as Raw};

use super::{Codec, Direction, Refusal};

/// Octets of a description we read; a browser's largest are about 10 KiB, a trunk's 500 octets.
pub const MAX_LEN: usize = 16 * 1024;
/// Lines of a description.
pub const MAX_LINES: usize = 512;
/// `m=` lines: each must come back in the answer.
pub const MAX_MEDIA: usize = 16;
/// Formats of one `m=` line; there are only 128 payload types.
pub const MAX_FORMATS: usize = 128;

/// Not a description, or one beyond our bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// No octets, where a description was due.
    #[error("empty")]
    Empty,
    /// More than [`MAX_LEN`] octets.
    #[error("longer than 16384 octets")]
    TooLong,
    /// More than [`MAX_LINES`] lines.
    #[error("more than 512 lines")]
    TooManyLines,
    /// More than [`MAX_MEDIA`] streams.
    #[error("more than 16 streams")]
    TooManyMedia,
    /// More than [`MAX_FORMATS`] formats in one stream.
    #[error("more than 128 formats in a stream")]
    TooManyFormats,
    /// A line breaks the grammar of RFC 8866.
    #[error("{0}")]
    Syntax(String),
}

/// A parsed description: an offer, or an answer to ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub(super) media: Vec<Media>,
}

/// One `m=` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Media {
    /// `audio`, `video`, `image`, ..
    pub(super) kind: String,
    /// 0: switched off.
    pub(super) port: u16,
    pub(super) transport: Transport,
    /// As written, one space between: an answer repeats them when it refuses the stream.
    pub(super) formats: String,
    pub(super) address: Address,
    pub(super) direction: Direction,
    /// How much audio the describer wants in a packet.
    pub(super) ptime: Option<Duration>,
    /// `a=rtcp` (RFC 3605): where RTCP goes when not to the next port.
    pub(super) rtcp: Option<SocketAddr>,
    /// Audio formats in the describer's order of preference; only those we can name.
    pub(super) mapped: Vec<(u8, Encoding)>,
}

/// The transport of a stream; encrypted ones find their place here when crypto is negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transport {
    /// `RTP/AVP`.
    Avp,
    /// As written.
    Other(String),
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avp => f.write_str("RTP/AVP"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// Where a stream is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// An address; `0.0.0.0` and `::` are the old way to say hold.
    Ip(IpAddr),
    /// No `c=` in the stream nor in the session.
    Missing,
    /// Something we cannot send to, as written.
    Unusable(String),
}

/// What a payload type stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Codec(Codec),
    TelephoneEvent,
    ComfortNoise,
}

impl Offer {
    /// Reads a description, an offer or an answer.
    ///
    /// Unknown lines, attributes and formats are passed over; octets that are not UTF-8 (they occur in `s=`) are
    /// replaced. A stream that cannot be used is no error here: [`super::answer`] refuses it.
    ///
    /// # Errors
    /// Octets that are no description, or one beyond our bounds.
    pub fn parse(octets: &[u8]) -> Result<Self, ParseError> {
        if octets.iter().all(u8::is_ascii_whitespace) {
            return Err(ParseError::Empty);
        }
        if octets.len() > MAX_LEN {
            return Err(ParseError::TooLong);
        }
        if octets.split(|octet| *octet == b'\n').count() > MAX_LINES {
            return Err(ParseError::TooManyLines);
        }
        let text = String::from_utf8_lossy(octets);
        let raw = Raw::parse(text.as_bytes()).map_err(|e| ParseError::Syntax(e.to_string()))?;
        if raw.medias.len() > MAX_MEDIA {
            return Err(ParseError::TooManyMedia);
        }
        let media: Result<_, _> = raw.medias.iter().map(|m| Media::read(&raw, m)).collect();
        Ok(Self { media: media? })
    }
}

impl Media {
    fn read(session: &Raw, raw: &RawMedia) -> Result<Self, ParseError> {
        let formats: Vec<&str> = raw.fmt.split_ascii_whitespace().collect();
        if formats.len() > MAX_FORMATS {
            return Err(ParseError::TooManyFormats);
        }
        let connection = raw.connections.first().or(session.connection.as_ref());
        let address = connection.map_or(Address::Missing, read_address);
        let direction_of = |attributes: &[sdp_types::Attribute]| {
            attributes
                .iter()
                .find_map(|a| Direction::from_attribute(&a.attribute))
        };
        let direction = direction_of(&raw.attributes)
            .or_else(|| direction_of(&session.attributes))
            .unwrap_or_default();
        Ok(Self {
            kind: raw.media.to_ascii_lowercase(),
            port: raw.port,
            transport: if raw.proto.eq_ignore_ascii_case("RTP/AVP") {
                Transport::Avp
            } else {
                Transport::Other(raw.proto.clone())
            },
            mapped: map_formats(raw, &formats),
            formats: formats.join(" "),
            rtcp: read_rtcp(raw, &address),
            address,
            direction,
            ptime: read_ptime(raw),
        })
    }

    /// The first payload type that stands for `encoding`.
    pub(super) fn payload_type(&self, encoding: Encoding) -> Option<u8> {
        self.mapped
            .iter()
            .find(|(_, e)| *e == encoding)
            .map(|(payload_type, _)| *payload_type)
    }

    /// Names of what was offered, for a refusal.
    pub(super) fn format_names(&self) -> String {
        let mut names: String = self.formats.chars().take(120).collect();
        if names.is_empty() {
            names.push_str("nothing");
        }
        names
    }

    /// The address, or why it cannot be used.
    pub(super) fn ip(&self) -> Result<IpAddr, Refusal> {
        match &self.address {
            Address::Ip(ip) => Ok(*ip),
            Address::Missing => Err(Refusal::NoAddress),
            Address::Unusable(text) => Err(Refusal::Address(text.clone())),
        }
    }
}

/// Host names are refused: resolving one would let an offer choose how long an answer takes.
fn read_address(connection: &Connection) -> Address {
    let text = connection.connection_address.as_str();
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_multicast() || ip.is_broadcast() => {
            Address::Unusable(text.into())
        }
        Ok(IpAddr::V6(ip)) if ip.is_multicast() => Address::Unusable(text.into()),
        Ok(ip) => Address::Ip(ip),
        Err(_) => Address::Unusable(text.into()),
    }
}

/// Payload types in `m=` order, each with what its rtpmap, or RFC 3551 for want of one, says it is.
fn map_formats(media: &RawMedia, formats: &[&str]) -> Vec<(u8, Encoding)> {
    let maps: Vec<RtpMap> = media
        .attributes_typed::<RtpMap>()
        .filter_map(Result::ok)
        .collect();
    formats
        .iter()
        .filter_map(|format| format.parse::<u8>().ok().filter(|pt| *pt < 128))
        .filter_map(|payload_type| {
            let map = maps.iter().find(|m| m.payload_type == payload_type);
            let encoding = match map {
                Some(map) => read_encoding(map),
                None => static_encoding(payload_type),
            };
            encoding.map(|encoding| (payload_type, encoding))
        })
        .collect()
}

fn read_encoding(map: &RtpMap) -> Option<Encoding> {
    let mono = map.encoding_params.as_deref().is_none_or(|p| p == "1");
    if map.clock_rate != 8000 || !mono {
        return None;
    }
    if map.encoding_name.eq_ignore_ascii_case("telephone-event") {
        return Some(Encoding::TelephoneEvent);
    }
    if map.encoding_name.eq_ignore_ascii_case("CN") {
        return Some(Encoding::ComfortNoise);
    }
    Codec::from_name(&map.encoding_name).map(Encoding::Codec)
}

fn static_encoding(payload_type: u8) -> Option<Encoding> {
    if payload_type == 13 {
        return Some(Encoding::ComfortNoise);
    }
    Codec::ALL
        .into_iter()
        .find(|codec| codec.static_payload_type() == payload_type)
        .map(Encoding::Codec)
}

/// 10 to 120 ms; what is outside, or not a number, is as good as absent.
fn read_ptime(media: &RawMedia) -> Option<Duration> {
    let text = media.get_first_attribute_value("ptime")??;
    let ms: u64 = text.trim().split('.').next()?.parse().ok()?;
    (10..=120).contains(&ms).then(|| Duration::from_millis(ms))
}

/// `a=rtcp:port [IN IP4 address]`. Another host than the stream's is not believed: RTCP could be aimed at anybody.
fn read_rtcp(media: &RawMedia, address: &Address) -> Option<SocketAddr> {
    let Address::Ip(ip) = *address else {
        return None;
    };
    let value = media.get_first_attribute_value("rtcp")??;
    let mut words = value.split_ascii_whitespace();
    let port: u16 = words.next()?.parse().ok().filter(|port| *port != 0)?;
    let same = words.nth(2).is_none_or(|own| own.parse() == Ok(ip));
    same.then_some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    fn parse(rest: &str) -> Result<Offer, ParseError> {
        Offer::parse(format!("{HEAD}{rest}").as_bytes())
    }

    fn first(rest: &str) -> Media {
        parse(rest).unwrap().media.remove(0)
    }

    #[test]
    fn what_is_not_sdp_is_refused() {
        assert_eq!(Offer::parse(b""), Err(ParseError::Empty));
        assert_eq!(Offer::parse(b"\r\n\r\n"), Err(ParseError::Empty));
        for junk in [
            &b"hello"[..],
            b"\0\0\0\0",
            b"<xml/>",
            b"v=1\r\n",
            b"m=audio\r\nv=0\r\n",
            b"v=0\r\nm=audio 99999 RTP/AVP 0\r\n",
            b"v=0\r\nm=audio -1 RTP/AVP 0\r\n",
        ] {
            assert!(
                matches!(Offer::parse(junk), Err(ParseError::Syntax(_))),
                "{}",
                String::from_utf8_lossy(junk)
            );
        }
    }

    #[test]
    fn what_is_huge_is_refused() {
        assert_eq!(parse(&"a=x\r\n".repeat(600)), Err(ParseError::TooManyLines));
        assert_eq!(parse(&"a".repeat(MAX_LEN)), Err(ParseError::TooLong));
        assert_eq!(
            parse(&"m=audio 4000 RTP/AVP 0\r\n".repeat(17)),
            Err(ParseError::TooManyMedia)
        );
        let formats = " 0".repeat(129);
        assert_eq!(
            parse(&format!("m=audio 4000 RTP/AVP{formats}\r\n")),
            Err(ParseError::TooManyFormats)
        );
    }

    #[test]
    fn bare_line_feeds_latin_1_and_unknown_lines_are_read() {
        let text = b"v=0\no=- 1 1 IN IP4 192.0.2.1\ns=Gr\xfc\xdfe\nc=IN IP4 192.0.2.1\nt=0 0\nx=what\nm=audio 4000 RTP/AVP 0\na=what:\xff\n";
        let offer = Offer::parse(text).unwrap();
        assert_eq!(offer.media[0].port, 4000);
        assert_eq!(offer.media[0].mapped, [(0, Encoding::Codec(Codec::Pcmu))]);
    }

    #[test]
    fn payload_types_mean_what_their_rtpmap_says() {
        let media = first(
            "m=audio 4000 RTP/AVP 96 8 0 101 102 13 200 x\r\na=rtpmap:96 pcmu/8000/1\r\na=rtpmap:0 G729/8000\r\n\
             a=rtpmap:101 telephone-event/48000\r\na=rtpmap:102 TELEPHONE-EVENT/8000\r\n",
        );
        assert_eq!(
            media.mapped,
            [
                (96, Encoding::Codec(Codec::Pcmu)),
                (8, Encoding::Codec(Codec::Pcma)),
                (102, Encoding::TelephoneEvent),
                (13, Encoding::ComfortNoise)
            ]
        );
    }

    #[test]
    fn stereo_and_wideband_are_not_ours() {
        let media = first(
            "m=audio 4000 RTP/AVP 96 97\r\na=rtpmap:96 PCMU/8000/2\r\na=rtpmap:97 PCMA/16000\r\n",
        );
        assert_eq!(media.mapped, []);
    }

    #[test]
    fn the_streams_own_address_and_direction_win() {
        let media = first(
            "a=sendonly\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::7\r\na=recvonly\r\na=ptime:30\r\na=rtcp:4007\r\n",
        );
        assert_eq!(media.address, Address::Ip("2001:db8::7".parse().unwrap()));
        assert_eq!(media.direction, Direction::RecvOnly);
        assert_eq!(media.ptime, Some(Duration::from_millis(30)));
        assert_eq!(media.rtcp, Some("[2001:db8::7]:4007".parse().unwrap()));
    }

    #[test]
    fn the_sessions_direction_holds_for_a_silent_stream() {
        assert_eq!(
            first("a=inactive\r\nm=audio 4000 RTP/AVP 0\r\n").direction,
            Direction::Inactive
        );
    }

    #[test]
    fn nonsense_attributes_count_as_absent() {
        for ptime in ["0", "-20", "99999999999999999999", "abc", "200", ""] {
            let media = first(&format!("m=audio 4000 RTP/AVP 0\r\na=ptime:{ptime}\r\n"));
            assert_eq!(media.ptime, None, "{ptime}");
        }
        for rtcp in ["0", "x", "70000", ""] {
            let media = first(&format!("m=audio 4000 RTP/AVP 0\r\na=rtcp:{rtcp}\r\n"));
            assert_eq!(media.rtcp, None, "{rtcp}");
        }
    }

    #[test]
    fn host_names_and_groups_are_no_addresses() {
        for address in [
            "media.example.com",
            "224.2.1.1/127/3",
            "239.1.1.1",
            "255.255.255.255",
            "ff02::1",
            "1.2.3",
        ] {
            let text = format!(
                "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
            );
            let offer = Offer::parse(text.as_bytes()).unwrap();
            assert_eq!(
                offer.media[0].ip(),
                Err(Refusal::Address(address.into())),
                "{address}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(octets: Vec<u8>) {
            let _ = Offer::parse(&octets);
        }

        #[test]
        fn a_mutated_offer_never_panics(at in 0usize..200, octet: u8) {
            let mut text = format!("{HEAD}m=audio 4000/2 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:4001 IN IP4 192.0.2.9\r\n").into_bytes();
            let at = at % text.len();
            text[at] = octet;
            if let Ok(offer) = Offer::parse(&text) {
                let local = super::super::Local::new("192.0.2.2".parse().unwrap(), 4000, 1);
                let _ = super::super::answer(&offer, &local);
            }
        }
    }
}
