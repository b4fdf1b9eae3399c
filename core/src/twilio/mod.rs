//! What Twilio speaks beside SIP: Media Streams frames, TwiML, and the signature on its webhooks.

pub mod media_streams;
pub mod twiml;
pub mod webhook_signature;
