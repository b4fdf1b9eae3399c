//! A datagram: what is read lies within it, means the same when read again, and can be answered.
#![no_main]

use baton_core::sip::message::{Fault, Message, Name, Request, Response, Uri, Via, limits};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let wire = Bytes::copy_from_slice(data);
    let Ok(message) = Message::parse(&wire) else {
        return;
    };
    let headers = message.headers();
    assert!(headers.len() <= limits::HEADERS);
    for (name, value) in headers.iter() {
        assert!(!name.is_empty() && !name.contains([' ', ':', '\r', '\n']));
        assert!(!value.contains(['\r', '\n']));
        assert!(value.len() <= limits::HEADER);
    }
    for via in headers.values(Name::Via).filter_map(Via::parse) {
        assert!(
            via.branch()
                .is_none_or(|branch| via.params.as_str().contains(branch))
        );
    }
    assert!(data.len() >= message.to_bytes().len());
    assert!(message.to_bytes().ends_with(message.body()));
    let again = Message::parse(&message.to_bytes()).expect("what was read can be read again");
    assert!(headers.iter().eq(again.headers().iter()));
    assert_eq!(again.body(), message.body());
    assert_eq!(again.to_bytes(), message.to_bytes());
    if message.validate().is_ok() {
        assert_eq!(again.validate(), Ok(()));
        assert!(headers.via().is_ok() && headers.from().is_ok() && headers.to().is_ok());
        assert!(headers.call_id().is_ok() && headers.cseq().is_ok());
    }
    if let Message::Request(request) = &message {
        if request.validate().is_ok() {
            Uri::parse(request.uri()).expect("a fit request has a URI");
            written_again(request);
        }
        answered(request);
    }
});

/// Through the builder: the same fields, with Content-Length counted anew.
fn written_again(request: &Request) {
    let fields: Vec<(String, String)> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let built = Request::builder(request.method().clone(), request.uri())
        .headers(&fields)
        .build();
    let Ok(built) = built else {
        return; // NUL within quotes is legal, and more fields than a message of ours may have
    };
    let is_length = |name: &str| Name::new(name) == Some(Name::ContentLength);
    let said = fields.iter().filter(|(name, _)| !is_length(name));
    let heard = built.headers().iter().filter(|(name, _)| !is_length(name));
    assert!(said.map(|(n, v)| (n.as_str(), v.as_str())).eq(heard));
    let again = Message::parse(&built.to_bytes()).expect("what we write can be read");
    assert_eq!(again.validate(), Ok(()));
}

fn answered(request: &Request) {
    let status = request.validate().map_or_else(Fault::status, |()| 200);
    let source = ([192, 0, 2, 1], 5060).into();
    let answer = Response::builder_for(request, status)
        .to_tag("ours")
        .source(source)
        .build();
    if let Ok(answer) = answer {
        let read = Message::parse(&answer.to_bytes()).expect("our answer can be read");
        let vias = |headers: &baton_core::sip::message::Headers| headers.count(Name::Via);
        assert_eq!(vias(read.headers()), vias(request.headers()));
        assert_eq!(
            read.headers().get(Name::CallId),
            request.headers().get(Name::CallId)
        );
    }
}
