//! The offer/answer model (RFC 3264): which stream, which codec, which way.

use std::net::SocketAddr;
use std::time::Duration;

use super::parse::{Encoding, Media, Offer, Transport};
use super::{Codec, Direction, Local, Refusal, print};
use crate::vocab::PTIME;

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The answer to send; empty when the answer was theirs.
    pub body: String,
    /// Where our RTP goes. Its address is unspecified under the old kind of hold; then `send` is false.
    pub remote: SocketAddr,
    /// Where our RTCP goes: `a=rtcp` (RFC 3605), else the next port. `None` when there is no next port.
    pub rtcp: Option<SocketAddr>,
    /// The codec both ways.
    pub codec: Codec,
    /// Its payload type: the offerer's number.
    pub payload_type: u8,
    /// Payload type of RFC 4733 digits; `None`: the peer takes them another way.
    pub telephone_event: Option<u8>,
    /// Payload type of RFC 3389 comfort noise.
    pub comfort_noise: Option<u8>,
    /// What the peer wants in a packet; 20 ms when it did not say.
    pub ptime: Duration,
    /// Whether we may send.
    pub send: bool,
    /// Whether the peer sends.
    pub receive: bool,
    /// The peer does not listen to us: `sendonly`, `inactive`, or the old `c=0.0.0.0` (RFC 3264 §8.4).
    pub hold: bool,
}

/// The stream an answer takes up, in the terms of the offer.
pub(super) struct Chosen {
    pub(super) index: usize,
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) telephone_event: Option<u8>,
    pub(super) comfort_noise: Option<u8>,
    pub(super) direction: Direction,
}

/// Answers an offer: the first audio stream we can use, one codec in the offerer's order of preference, its own
/// payload numbers, its direction mirrored; every other stream refused with port 0.
///
/// # Errors
/// What stood in the way of the audio stream that came nearest; 488 says so.
pub fn answer(offer: &Offer, local: &Local) -> Result<Negotiated, Refusal> {
    let mut refusal = Refusal::NoAudio;
    for (index, media) in offer.media.iter().enumerate() {
        if media.kind != "audio" || media.port == 0 {
            continue;
        }
        match choose(index, media, local) {
            Ok((chosen, remote)) => {
                let body = print::answer(local, &offer.media, &chosen);
                return Ok(Negotiated::new(body, media, remote, &chosen));
            }
            // The first one tells most: it is the one the offerer would rather have.
            Err(why) if refusal == Refusal::NoAudio => refusal = why,
            Err(_) => {}
        }
    }
    Err(refusal)
}

impl Negotiated {
    /// Reads the answer to our offer ([`super::offer`] of the same `local`).
    ///
    /// # Errors
    /// When it is not an answer to that offer, or cannot be used; the caller hangs up.
    pub fn from_answer(theirs: &Offer, local: &Local) -> Result<Self, Refusal> {
        let [media] = theirs.media.as_slice() else {
            return Err(Refusal::NotAnAnswer("it must have one stream"));
        };
        if media.kind != "audio" {
            return Err(Refusal::NotAnAnswer("its stream is not audio"));
        }
        if media.port == 0 {
            return Err(Refusal::NoAudio);
        }
        let (chosen, remote) = choose(0, media, local)?;
        Ok(Self::new(String::new(), media, remote, &chosen))
    }

    fn new(body: String, media: &Media, remote: SocketAddr, chosen: &Chosen) -> Self {
        // RFC 3264 §8.4: to c=0.0.0.0 neither RTP nor RTCP is sent.
        let reachable = !remote.ip().is_unspecified();
        let next_port = remote.port().checked_add(1);
        Self {
            body,
            remote,
            rtcp: media
                .rtcp
                .or_else(|| next_port.map(|port| SocketAddr::new(remote.ip(), port)))
                .filter(|_| reachable),
            codec: chosen.codec,
            payload_type: chosen.payload_type,
            telephone_event: chosen.telephone_event,
            comfort_noise: chosen.comfort_noise,
            ptime: media.ptime.unwrap_or(PTIME),
            send: chosen.direction.sends() && reachable,
            receive: chosen.direction.receives(),
            hold: !media.direction.receives() || !reachable,
        }
    }
}

/// What we would make of one of their streams.
fn choose(index: usize, media: &Media, local: &Local) -> Result<(Chosen, SocketAddr), Refusal> {
    if media.transport != Transport::Avp {
        return Err(Refusal::Transport(media.transport.to_string()));
    }
    let ip = media.ip()?;
    if ip.is_ipv4() != local.address.is_ipv4() {
        return Err(Refusal::AddressFamily(ip));
    }
    let (payload_type, codec) =
        choose_codec(media, local).ok_or_else(|| Refusal::NoCommonCodec(media.format_names()))?;
    let of = |wanted: bool, encoding| media.payload_type(encoding).filter(|_| wanted);
    let chosen = Chosen {
        index,
        codec,
        payload_type,
        telephone_event: of(local.telephone_event, Encoding::TelephoneEvent),
        comfort_noise: of(local.comfort_noise, Encoding::ComfortNoise),
        direction: media.direction.mirrored().limited_to(local.direction),
    };
    Ok((chosen, SocketAddr::new(ip, media.port)))
}

fn choose_codec(media: &Media, local: &Local) -> Option<(u8, Codec)> {
    let kept = local
        .keep
        .and_then(|codec| Some((media.payload_type(Encoding::Codec(codec))?, codec)));
    kept.or_else(|| {
        media
            .mapped
            .iter()
            .find_map(|(number, encoding)| match encoding {
                Encoding::Codec(codec) if local.codecs.contains(codec) => Some((*number, *codec)),
                Encoding::Codec(_) | Encoding::TelephoneEvent | Encoding::ComfortNoise => None,
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Local {
        Local::new("192.0.2.10".parse().unwrap(), 10_000, 84)
    }

    fn parse(connection: &str, media: &str) -> Offer {
        Offer::parse(
            format!(
                "v=0\r\no=root 1 1 IN IP4 172.18.0.2\r\ns=Twilio Media Gateway\r\nc=IN {connection}\r\nt=0 0\r\n{media}"
            )
            .as_bytes(),
        )
        .unwrap()
    }

    fn answer_to(media: &str) -> Result<Negotiated, Refusal> {
        answer(&parse("IP4 192.0.2.121", media), &local())
    }

    const TRUNK: &str = "m=audio 12692 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:20\r\na=sendrecv\r\n";

    #[test]
    fn a_trunks_offer_is_answered_in_full() {
        let negotiated = answer_to(TRUNK).unwrap();
        assert_eq!(
            negotiated.body,
            "v=0\r\no=baton 42 1 IN IP4 192.0.2.10\r\ns=baton\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
             m=audio 10000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        assert_eq!(negotiated.remote, "192.0.2.121:12692".parse().unwrap());
        assert_eq!(negotiated.rtcp, Some("192.0.2.121:12693".parse().unwrap()));
        assert_eq!(
            (negotiated.codec, negotiated.payload_type),
            (Codec::Pcmu, 0)
        );
        assert_eq!(negotiated.telephone_event, Some(101));
        assert_eq!(negotiated.comfort_noise, None);
        assert_eq!(negotiated.ptime, PTIME);
        assert!(negotiated.send && negotiated.receive && !negotiated.hold);
    }

    #[test]
    fn the_offerers_order_decides_and_its_numbers_are_kept() {
        let negotiated = answer_to(
            "m=audio 4000 RTP/AVP 18 98 0 97 13\r\na=rtpmap:98 PCMA/8000\r\na=rtpmap:97 telephone-event/8000\r\n",
        )
        .unwrap();
        assert_eq!(
            (negotiated.codec, negotiated.payload_type),
            (Codec::Pcma, 98)
        );
        assert!(
            negotiated
                .body
                .contains("m=audio 10000 RTP/AVP 98 13 97\r\n")
        );
        assert!(negotiated.body.contains("a=rtpmap:98 PCMA/8000\r\n"));
        assert_eq!(negotiated.comfort_noise, Some(13));
    }

    #[test]
    fn only_configured_codecs_are_taken() {
        let mut local = local();
        local.codecs = vec![Codec::Pcma];
        local.telephone_event = false;
        let negotiated = answer(&parse("IP4 192.0.2.1", TRUNK), &local).unwrap();
        assert_eq!(negotiated.codec, Codec::Pcma);
        assert_eq!(negotiated.telephone_event, None);
        assert!(!negotiated.body.contains("telephone-event"));
    }

    #[test]
    fn directions_are_mirrored() {
        for (theirs, ours, send, receive, hold) in [
            ("sendrecv", "sendrecv", true, true, false),
            ("sendonly", "recvonly", false, true, true),
            ("recvonly", "sendonly", true, false, false),
            ("inactive", "inactive", false, false, true),
        ] {
            let n = answer_to(&format!("m=audio 4000 RTP/AVP 0\r\na={theirs}\r\n")).unwrap();
            assert!(n.body.ends_with(&format!("a={ours}\r\n")), "{theirs}");
            assert_eq!(
                (n.send, n.receive, n.hold),
                (send, receive, hold),
                "{theirs}"
            );
        }
    }

    #[test]
    fn an_unspecified_address_is_the_old_hold() {
        let n = answer(&parse("IP4 0.0.0.0", TRUNK), &local()).unwrap();
        assert!(n.hold && !n.send && n.receive);
        assert_eq!(n.rtcp, None);
    }

    #[test]
    fn every_other_stream_is_refused_in_its_place() {
        let n = answer_to(
            "m=video 5000 RTP/AVP 96 97\r\na=rtpmap:96 VP8/90000\r\nm=audio 5002 RTP/SAVP 0\r\nm=audio 5004 RTP/AVP 8\r\n\
             m=audio 5006 RTP/AVP 0\r\nm=image 5008 udptl t38\r\n",
        )
        .unwrap();
        let lines: Vec<&str> = n.body.lines().filter(|l| l.starts_with("m=")).collect();
        assert_eq!(
            lines,
            [
                "m=video 0 RTP/AVP 96 97",
                "m=audio 0 RTP/SAVP 0",
                "m=audio 10000 RTP/AVP 8",
                "m=audio 0 RTP/AVP 0",
                "m=image 0 udptl t38"
            ]
        );
        assert_eq!(n.remote.port(), 5004);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (media, refusal) in [
            ("", Refusal::NoAudio),
            ("m=video 5000 RTP/AVP 96\r\n", Refusal::NoAudio),
            ("m=audio 0 RTP/AVP 0\r\n", Refusal::NoAudio),
            (
                "m=audio 5000 RTP/SAVP 0\r\n",
                Refusal::Transport("RTP/SAVP".into()),
            ),
            (
                "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
                Refusal::Transport("UDP/TLS/RTP/SAVPF".into()),
            ),
            (
                "m=audio 5000 RTP/AVP 18 3 101\r\na=rtpmap:101 telephone-event/8000\r\n",
                Refusal::NoCommonCodec("18 3 101".into()),
            ),
        ] {
            assert_eq!(answer_to(media), Err(refusal), "{media}");
        }
        assert_eq!(
            answer(&parse("IP6 2001:db8::1", TRUNK), &local()),
            Err(Refusal::AddressFamily("2001:db8::1".parse().unwrap()))
        );
        let bare = Offer::parse(
            format!("v=0\r\no=- 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\n{TRUNK}").as_bytes(),
        );
        assert_eq!(answer(&bare.unwrap(), &local()), Err(Refusal::NoAddress));
    }

    #[test]
    fn ipv6_is_answered_with_ipv6() {
        let mut local = local();
        local.address = "2001:db8::10".parse().unwrap();
        let n = answer(&parse("IP6 2001:db8::1", TRUNK), &local).unwrap();
        assert_eq!(n.remote, "[2001:db8::1]:12692".parse().unwrap());
        assert!(n.body.contains("c=IN IP6 2001:db8::10\r\n"));
    }

    #[test]
    fn the_last_port_has_no_rtcp_port_behind_it() {
        assert_eq!(answer_to("m=audio 65535 RTP/AVP 0\r\n").unwrap().rtcp, None);
    }

    #[test]
    fn foreign_attributes_are_passed_over() {
        let n = answer_to(
            "m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\na=rtcp:4100 IN IP4 192.0.2.121\r\na=ice-ufrag:x\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\na=mid:0\r\na=ssrc:1 cname:x\r\n",
        )
        .unwrap();
        assert_eq!(n.rtcp, Some("192.0.2.121:4100".parse().unwrap()));
        assert!(!n.body.contains("rtcp-mux") && !n.body.contains("crypto"));
    }

    #[test]
    fn rtcp_cannot_be_aimed_at_another_host() {
        let n = answer_to("m=audio 4000 RTP/AVP 0\r\na=rtcp:4100 IN IP4 198.51.100.1\r\n").unwrap();
        assert_eq!(n.rtcp, Some("192.0.2.121:4001".parse().unwrap()));
    }

    #[test]
    fn an_answer_to_our_offer_is_read_as_seen_by_us() {
        let theirs = parse(
            "IP4 192.0.2.7",
            "m=audio 7000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:30\r\na=recvonly\r\n",
        );
        let n = Negotiated::from_answer(&theirs, &local()).unwrap();
        assert_eq!((n.codec, n.payload_type), (Codec::Pcma, 8));
        assert!(n.send && !n.receive && n.body.is_empty());
        assert_eq!(n.ptime, Duration::from_millis(30));
    }

    #[test]
    fn what_is_no_answer_to_our_offer_is_refused() {
        for (media, refusal) in [
            ("", Refusal::NotAnAnswer("it must have one stream")),
            (
                "m=audio 7000 RTP/AVP 0\r\nm=audio 7002 RTP/AVP 0\r\n",
                Refusal::NotAnAnswer("it must have one stream"),
            ),
            (
                "m=video 7000 RTP/AVP 0\r\n",
                Refusal::NotAnAnswer("its stream is not audio"),
            ),
            ("m=audio 0 RTP/AVP 0\r\n", Refusal::NoAudio),
            (
                "m=audio 7000 RTP/AVP 9\r\n",
                Refusal::NoCommonCodec("9".into()),
            ),
        ] {
            let theirs = parse("IP4 192.0.2.7", media);
            assert_eq!(
                Negotiated::from_answer(&theirs, &local()),
                Err(refusal),
                "{media}"
            );
        }
    }
}
