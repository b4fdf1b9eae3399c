//! Challenges and credentials: read, written as they were read, answered and verified without a panic.
#![no_main]

use std::sync::Arc;

use baton_core::sip::auth::{Account, Challenge, Counted, Credentials};
use baton_core::sip::message::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let account = Arc::new(Account::new("bridge", "s3cret"));
    for challenge in Challenge::parse_all(text).unwrap_or_default() {
        let mut read = Challenge::parse_all(&challenge.to_string()).expect("what is written");
        let mut read = read.pop().expect("one challenge");
        // Without a hash that we know, or with a protection that we lack, less is written than was read.
        if challenge.answerable().is_some() {
            assert_eq!(read, challenge);
        }
        read.stale = false;
        let counted = Counted {
            cnonce: "c".to_owned(),
            nc: 1,
        };
        let asked = (&Method::Invite, "sip:bot@192.0.2.10");
        let answer = Credentials::answer(&challenge, &account, asked, counted);
        assert_eq!(answer.is_some(), challenge.answerable().is_some());
        if let Some(answer) = answer {
            assert_eq!(Credentials::parse(&answer.to_string()), Ok(answer));
        }
    }
    if let Ok(credentials) = Credentials::parse(text) {
        let written = credentials.to_string();
        if credentials.algorithm.is_some() && !credentials.response.contains(['"', '\\']) {
            assert_eq!(Credentials::parse(&written), Ok(credentials));
        }
    }
});
