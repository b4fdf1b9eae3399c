//! The node's one SIP core: datagrams in; transmits, events and deadlines out.

pub mod event;

pub use event::{
    Command, DialogEvent, DialogId, Event, Flow, Invited, NotifyState, Transmit, Transport,
};
