//! A URI and an address: read, equal to itself, written as it was read.
#![no_main]

use baton_core::sip::message::{NameAddr, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    assert_eq!(Uri::check(text).is_ok(), Uri::parse(text).is_ok());
    if let Ok(uri) = Uri::parse(text) {
        let written = uri.to_string();
        let read = Uri::parse(&written).expect("what is written can be read");
        assert_eq!(read, uri);
        assert_eq!(read.to_string(), written);
        assert!(written.len() <= text.len());
        assert!(!written.contains(|c: char| c <= ' ' || c == '\x7f'));
        for (name, _) in uri.headers() {
            let _ = uri.header(name);
        }
        for (name, _) in uri.params() {
            let _ = uri.param(name);
        }
        let bare = uri.clone().without_headers().to_string();
        assert_eq!(Uri::parse(&bare).expect("a URI").headers().count(), 0);
        if let Some(user) = uri.user().filter(|_| uri.is_sip()) {
            if let Ok(again) = uri.clone().with_user(&user) {
                // U+FFFD stands for octets that are no text; they do not come back.
                assert_eq!(again.user().as_deref(), Some(&*user));
            }
        }
    }
    if let Some(address) = NameAddr::parse(text) {
        assert!(text.contains(address.uri) && address.uri.contains(':'));
        let written = format!(
            "{} <{}>{}",
            address.display_as_written(),
            address.uri,
            address.params.as_str()
        );
        let read = NameAddr::parse(&written).expect("what is written can be read");
        assert_eq!((read.uri, read.tag()), (address.uri, address.tag()));
        assert_eq!(read.display_name(), address.display_name());
    }
});
