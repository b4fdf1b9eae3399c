//! A stream cut in any way gives the same messages, errors and pings, and each message is one to the parser too.
//!
//! First octet: how the stream is cut.
#![no_main]

use baton_core::sip::message::{Framer, FramingError, Message, limits};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

type Seen = (Vec<Result<Bytes, FramingError>>, usize);

fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut framer = Framer::new();
    let mut seen = Vec::new();
    for piece in pieces {
        framer.push(piece);
        while let Some(message) = framer.poll_message() {
            seen.push(message);
        }
    }
    (seen, framer.take_pings())
}

fuzz_target!(|data: &[u8]| {
    let [step, stream @ ..] = data else {
        return;
    };
    let (whole, pings) = cut(std::iter::once(stream));
    for step in [1, usize::from(*step) + 1] {
        let (pieces, pings_then) = cut(stream.chunks(step));
        // A head without end is given up at the limit, which small pieces reach with fewer octets.
        if stream.len() <= limits::MESSAGE {
            assert_eq!(pieces, whole, "pieces of {step}");
            assert_eq!(pings_then, pings);
        }
    }
    for message in whole.iter().flatten() {
        let read = Message::parse(message).expect("a framed message can be read");
        assert_eq!(read.to_bytes().len(), message.len());
        assert!(message.len() <= limits::MESSAGE);
    }
    let errors = whole.iter().filter(|message| message.is_err()).count();
    assert!(
        errors <= 1
            && whole
                .iter()
                .take(whole.len().saturating_sub(1))
                .all(Result::is_ok)
    );
});
