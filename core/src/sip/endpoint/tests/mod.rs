//! Behaviour of the endpoint, one file each. [`pair`] wires two of them back to back; [`raw`] plays the far end by hand.

mod pair;
mod raw;

mod acknowledgement;
mod admission;
mod authenticated;
mod belief;
mod bodies;
mod call;
mod cancel;
mod challenged;
mod connections;
mod dialog_order;
mod early;
mod failover;
mod flood;
mod glare;
mod locating;
mod loss;
mod placing;
mod readiness;
mod refer;
mod refer_as_transferee;
mod refused;
mod registrations;
mod reliable;
mod session_timer;
mod twilio;
