//! What every message must have before anyone acts on it (RFC 3261 §8.1.1, §8.2, §16.3 step 1).

use super::error::{Fault, ParseError};
use super::headers::Headers;
use super::method::Method;
use super::name::Name;
use super::uri::Uri;
use super::via::Via;

/// Fields of which a message has exactly one.
const ONCE: [Name; 4] = [Name::From, Name::To, Name::CallId, Name::CSeq];

/// Fields of which a message has at most one, and which we act on.
const AT_MOST_ONCE: [Name; 5] = [
    Name::MaxForwards,
    Name::ContentType,
    Name::Event,
    Name::ReferTo,
    Name::SubscriptionState,
];

/// Checks a request: what is wrong is what it is answered with.
pub(super) fn request(method: &Method, uri: &str, headers: &Headers) -> Result<(), Fault> {
    match Uri::parse(uri) {
        Ok(_) => {}
        Err(_) => return Err(Fault::RequestUri),
    }
    let cseq = common(headers)?;
    if cseq != *method {
        return Err(Fault::Method);
    }
    Ok(())
}

/// Checks a response: one with a fault is dropped.
pub(super) fn response(headers: &Headers) -> Result<(), Fault> {
    common(headers).map(drop)
}

fn common(headers: &Headers) -> Result<Method, Fault> {
    if headers.get(Name::Via).is_none() {
        return Err(Fault::Missing(Name::Via));
    }
    if !headers
        .values(Name::Via)
        .all(|via| Via::parse(via).is_some())
    {
        return Err(Fault::Malformed(Name::Via));
    }
    for name in ONCE {
        match headers.all(name).take(2).count() {
            0 => return Err(Fault::Missing(name)),
            1 => {}
            _ => return Err(Fault::Multiple(name)),
        }
    }
    for name in AT_MOST_ONCE {
        if headers.all(name).nth(1).is_some() {
            return Err(Fault::Multiple(name));
        }
    }
    headers.from().map_err(fault)?;
    headers.to().map_err(fault)?;
    headers.call_id().map_err(fault)?;
    headers.max_forwards().map_err(fault)?;
    Ok(headers.cseq().map_err(fault)?.method)
}

fn fault(error: ParseError) -> Fault {
    match error {
        ParseError::Missing(name) => Fault::Missing(name),
        ParseError::Malformed(name) => Fault::Malformed(name),
        ParseError::Empty | ParseError::TooLarge | ParseError::NotSip | ParseError::Status => {
            Fault::StartLine
        }
    }
}
