//! What one core reads and writes: an INVITE as a large carrier sends it, 979 octets.

use baton_core::sip::message::{Message, Name, Request, Response};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const INVITE: &str = "INVITE sip:bot@voice.example.com:5061;transport=tls SIP/2.0\r\n\
    Record-Route: <sip:192.0.2.60:5061;transport=tls;r2=on;lr>\r\n\
    CSeq: 29044 INVITE\r\n\
    From: \"+15559870000\" <sip:+15559870000@sip.example.com>;tag=08601002_c3356d0b_6b0f\r\n\
    To: <sip:bot@voice.example.com;transport=tls>\r\n\
    Max-Forwards: 60\r\n\
    Call-ID: 7f0c1d2e3a4b5c6d7e8f90a1b2c3d4e5@0.0.0.0\r\n\
    Via: SIP/2.0/TLS 192.0.2.60:5061;branch=z9hG4bK1dc3.f822.0\r\n\
    Contact: <sip:+15559870000@172.25.75.240:5060;transport=udp>\r\n\
    Allow: ACK,BYE,CANCEL,INVITE,OPTIONS,REFER,NOTIFY\r\n\
    User-Agent: Gateway\r\n\
    X-CallSid: CA000000000000000000002\r\n\
    x-session-key: k-42\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 333\r\n\
    \r\n\
    v=0\r\n\
    o=root 1311022221 1311022221 IN IP4 172.18.165.214\r\n\
    s=Gateway\r\n\
    c=IN IP4 192.0.2.121\r\n\
    t=0 0\r\n\
    m=audio 12692 RTP/SAVP 0 8 101\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\n\
    a=ptime:20\r\n\
    a=sendrecv\r\n";

fn request(octets: &Bytes) -> Request {
    match Message::parse(octets) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

/// The ten fields a call wants of its INVITE.
fn read_ten(request: &Request) -> usize {
    let headers = request.headers();
    let branch = headers
        .via()
        .ok()
        .and_then(|via| via.branch().map(str::len));
    let from = headers
        .from()
        .ok()
        .and_then(|from| from.tag().map(str::len));
    let to = headers.to().map_or(0, |to| to.uri.len());
    let contact = headers.contact().map_or(0, |contact| contact.uri.len());
    let cseq = headers.cseq().map_or(0, |cseq| cseq.number as usize);
    let forwards = headers.max_forwards().ok().flatten().map_or(0, usize::from);
    let texts = [
        headers.call_id().unwrap_or_default(),
        headers.get(Name::RecordRoute).unwrap_or_default(),
        headers.content_type().unwrap_or_default(),
        headers.named("X-Session-Key").unwrap_or_default(),
    ];
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    branch.unwrap_or(0) + from.unwrap_or(0) + to + contact + cseq + forwards + texts
}

/// Every field through the builder, and the body.
fn write_back(request: &Request) -> Bytes {
    let mut builder = Request::builder(request.method().clone(), request.uri());
    for (name, value) in request.headers().iter() {
        if name != "Content-Type" {
            builder = builder.header(name, value);
        }
    }
    let content_type = request.headers().get(Name::ContentType).unwrap_or_default();
    match builder.body(content_type, request.body().clone()).build() {
        Ok(written) => written.to_bytes(),
        Err(error) => panic!("{error}"),
    }
}

fn answer(request: &Request) -> Bytes {
    let response = Response::builder_for(request, 200)
        .to_tag("our1")
        .source(([192, 0, 2, 60], 40000).into())
        .copy(Name::RecordRoute)
        .header(Name::Contact, "<sip:bot@192.0.2.10:5061;transport=tls>")
        .body("application/sdp", request.body().clone())
        .build();
    match response {
        Ok(response) => response.to_bytes(),
        Err(error) => panic!("{error}"),
    }
}

fn messages(c: &mut Criterion) {
    let datagram = Bytes::from_static(INVITE.as_bytes());
    assert_eq!(datagram.len(), 979);
    assert_eq!(request(&datagram).validate(), Ok(()));
    assert_eq!(write_back(&request(&datagram)).len(), datagram.len());
    let folded = Bytes::from(INVITE.replace("To: ", "To:\r\n "));

    let mut group = c.benchmark_group("invite_979");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse", |b| b.iter(|| Message::parse(black_box(&datagram))));
    group.bench_function("parse_folded", |b| {
        b.iter(|| Message::parse(black_box(&folded)));
    });
    group.bench_function("parse_validate", |b| {
        b.iter(|| request(black_box(&datagram)).validate());
    });
    group.bench_function("parse_read10", |b| {
        b.iter(|| read_ten(&request(black_box(&datagram))));
    });
    group.bench_function("parse_read10_write", |b| {
        b.iter(|| {
            let request = request(black_box(&datagram));
            (read_ten(&request), write_back(&request))
        });
    });
    group.bench_function("parse_validate_answer", |b| {
        b.iter(|| {
            let request = request(black_box(&datagram));
            (request.validate(), answer(&request))
        });
    });
    group.finish();
}

criterion_group!(benches, messages);
criterion_main!(benches);
