//! Our descriptions as text.

use std::fmt::Write;
use std::net::IpAddr;

use super::offer_answer::Chosen;
use super::parse::Media;
use super::{Codec, Direction, Local};

/// The payload type our own offers give telephone-event: what trunks use themselves.
const TELEPHONE_EVENT: u8 = 101;
/// RFC 3551's own for comfort noise.
const COMFORT_NOISE: u8 = 13;

/// Our offer: for a late offer (the INVITE had none), a re-INVITE of ours, and calls we place.
pub fn offer(local: &Local) -> String {
    let mut text = head(local);
    let codecs: Vec<(u8, Codec)> = local
        .codecs
        .iter()
        .map(|codec| (codec.static_payload_type(), *codec))
        .collect();
    let formats = Formats {
        codecs: &codecs,
        telephone_event: local.telephone_event.then_some(TELEPHONE_EVENT),
        comfort_noise: local.comfort_noise.then_some(COMFORT_NOISE),
    };
    audio(&mut text, local.port, &formats, local.direction);
    text
}

/// Our answer: a line for each of theirs, in their order, all refused but the chosen one.
pub(super) fn answer(local: &Local, theirs: &[Media], chosen: &Chosen) -> String {
    let mut text = head(local);
    for (index, media) in theirs.iter().enumerate() {
        if index == chosen.index {
            let formats = Formats {
                codecs: &[(chosen.payload_type, chosen.codec)],
                telephone_event: chosen.telephone_event,
                comfort_noise: chosen.comfort_noise,
            };
            audio(&mut text, local.port, &formats, chosen.direction);
        } else {
            line(
                &mut text,
                format_args!("m={} 0 {} {}", media.kind, media.transport, media.formats),
            );
        }
    }
    text
}

/// The formats of one audio stream.
struct Formats<'a> {
    codecs: &'a [(u8, Codec)],
    telephone_event: Option<u8>,
    comfort_noise: Option<u8>,
}

fn head(local: &Local) -> String {
    let mut text = String::with_capacity(320);
    let (family, address) = match local.address {
        IpAddr::V4(_) => ("IP4", local.address),
        IpAddr::V6(_) => ("IP6", local.address),
    };
    line(&mut text, format_args!("v=0"));
    line(
        &mut text,
        format_args!(
            "o=baton {} {} IN {family} {address}",
            local.session_id, local.version
        ),
    );
    line(&mut text, format_args!("s=baton"));
    line(&mut text, format_args!("c=IN {family} {address}"));
    line(&mut text, format_args!("t=0 0"));
    text
}

fn audio(text: &mut String, port: u16, formats: &Formats<'_>, direction: Direction) {
    let mut numbers = String::new();
    let mut maps = String::new();
    let mut add = |number: u8, name: &str| {
        let _ = write!(numbers, " {number}"); // writing to a String cannot fail
        line(&mut maps, format_args!("a=rtpmap:{number} {name}/8000"));
    };
    for (number, codec) in formats.codecs {
        add(*number, codec.name());
    }
    if let Some(number) = formats.comfort_noise {
        add(number, "CN");
    }
    if let Some(number) = formats.telephone_event {
        add(number, "telephone-event");
        line(&mut maps, format_args!("a=fmtp:{number} 0-16"));
    }
    line(text, format_args!("m=audio {port} RTP/AVP{numbers}"));
    text.push_str(&maps);
    line(text, format_args!("a=ptime:20"));
    line(text, format_args!("a={}", direction.as_str()));
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(content);
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_offer_is_what_trunks_expect() {
        let local = Local::new("192.0.2.10".parse().unwrap(), 10_000, 84);
        assert_eq!(
            offer(&local),
            "v=0\r\no=baton 42 1 IN IP4 192.0.2.10\r\ns=baton\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
             m=audio 10000 RTP/AVP 0 8 13 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
             a=rtpmap:13 CN/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
             a=ptime:20\r\na=sendrecv\r\n"
        );
    }

    #[test]
    fn an_offer_leaves_out_what_is_switched_off() {
        let mut local = Local::new("2001:db8::1".parse().unwrap(), 10_000, 84);
        local.codecs = vec![Codec::Pcma];
        local.telephone_event = false;
        local.comfort_noise = false;
        local.direction = Direction::SendOnly;
        let text = offer(&local);
        assert!(text.contains("c=IN IP6 2001:db8::1\r\n"));
        assert!(text.contains(
            "m=audio 10000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\na=sendonly\r\n"
        ));
    }
}
