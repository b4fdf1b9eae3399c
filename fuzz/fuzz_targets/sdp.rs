//! A session description as offer and as answer: what we say to it can be read, and fits it.
#![no_main]

use baton_core::sdp::{Local, MAX_LEN, Negotiated, Offer, answer, offer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(theirs) = Offer::parse(data) else {
        return;
    };
    assert!(data.len() <= MAX_LEN);
    let local = Local::new([192, 0, 2, 9].into(), 20_000, 1);
    if let Ok(agreed) = answer(&theirs, &local) {
        let ours = Offer::parse(agreed.body.as_bytes()).expect("what we say can be read");
        let medias = |text: &[u8]| {
            text.split(|o| *o == b'\n')
                .filter(|line| line.starts_with(b"m="))
                .count()
        };
        assert_eq!(
            medias(agreed.body.as_bytes()),
            medias(data),
            "as many streams as were offered"
        );
        // The offerer, which is we now, can use what the answerer said.
        drop(Negotiated::from_answer(&ours, &local));
        assert!(!agreed.body.replace("\r\n", "").contains(['\r', '\n']));
    }
    let _ = Negotiated::from_answer(&theirs, &local);
    Offer::parse(offer(&local).as_bytes()).expect("our own offer can be read");
});
