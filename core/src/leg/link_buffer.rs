//! What the dialect wants sent to its agent, between two visits of whoever owns the socket.
//!
//! One arena of octets and a list of ranges in it: in steady state nothing is allocated. It is drained after every
//! input, so it holds what one input caused; the queue that waits for a slow agent belongs to the socket's owner.

use std::ops::Range;

use crate::agent::dialect::MessageKind;
use crate::agent::{LinkOutput, Message};

/// Octets kept for the next time; a burst beyond this gives its memory back.
const KEEP: usize = 4 * 1024;

/// Messages and, at the end, a close.
#[derive(Debug, Default)]
pub(super) struct LinkBuffer {
    octets: Vec<u8>,
    entries: Vec<Entry>,
    next: usize,
    closed: bool,
}

#[derive(Debug)]
enum Entry {
    Text(Range<usize>, MessageKind),
    Binary(Range<usize>, MessageKind),
    Close(u16),
}

impl LinkBuffer {
    /// Nothing is taken after a close.
    pub(super) fn push(&mut self, message: Message<'_>, kind: MessageKind) {
        if self.closed {
            return;
        }
        let entry = match message {
            Message::Text(text) => Entry::Text(self.append(text.as_bytes()), kind),
            Message::Binary(octets) => Entry::Binary(self.append(octets), kind),
        };
        self.entries.push(entry);
    }

    /// Closes the socket behind what was pushed; only the first counts.
    pub(super) fn close(&mut self, code: u16) {
        if !self.closed {
            self.closed = true;
            self.entries.push(Entry::Close(code));
        }
    }

    /// The socket is gone.
    pub(super) fn forget(&mut self) {
        self.closed = true;
        self.reset();
    }

    /// The oldest one; the buffer is empty again after the last.
    pub(super) fn pop(&mut self) -> Option<LinkOutput<'_>> {
        if self.next == self.entries.len() {
            self.reset();
            return None;
        }
        self.next += 1;
        Some(match &self.entries[self.next - 1] {
            Entry::Text(range, kind) => {
                let text = str::from_utf8(&self.octets[range.clone()]).unwrap_or_default();
                LinkOutput::Send {
                    message: Message::Text(text),
                    kind: *kind,
                }
            }
            Entry::Binary(range, kind) => LinkOutput::Send {
                message: Message::Binary(&self.octets[range.clone()]),
                kind: *kind,
            },
            Entry::Close(code) => LinkOutput::Close {
                code: *code,
                reason: "",
            },
        })
    }

    fn append(&mut self, octets: &[u8]) -> Range<usize> {
        let start = self.octets.len();
        self.octets.extend_from_slice(octets);
        start..self.octets.len()
    }

    fn reset(&mut self) {
        self.octets.clear();
        self.octets.shrink_to(KEEP);
        self.entries.clear();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(buffer: &mut LinkBuffer) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(output) = buffer.pop() {
            seen.push(match output {
                LinkOutput::Send {
                    message: Message::Text(text),
                    ..
                } => text.to_owned(),
                LinkOutput::Send {
                    message: Message::Binary(octets),
                    ..
                } => format!("{octets:?}"),
                LinkOutput::Close { code, .. } => format!("close {code}"),
            });
        }
        seen
    }

    #[test]
    fn messages_leave_in_order_and_nothing_after_the_close() {
        let mut buffer = LinkBuffer::default();
        buffer.push(Message::Binary(&[1, 2]), MessageKind::Audio);
        buffer.push(Message::Text("mark"), MessageKind::Control);
        buffer.close(1000);
        buffer.push(Message::Text("late"), MessageKind::Control);
        buffer.close(1011);
        assert_eq!(drain(&mut buffer), ["[1, 2]", "mark", "close 1000"]);
        assert_eq!(drain(&mut buffer), [""; 0]);
    }

    #[test]
    fn a_socket_that_is_gone_gets_nothing() {
        let mut buffer = LinkBuffer::default();
        buffer.push(Message::Text("x"), MessageKind::Control);
        buffer.forget();
        buffer.push(Message::Text("y"), MessageKind::Control);
        assert_eq!(drain(&mut buffer), [""; 0]);
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut buffer = LinkBuffer::default();
        buffer.push(Message::Binary(&vec![0; 100_000]), MessageKind::Audio);
        assert_eq!(drain(&mut buffer).len(), 1);
        assert!(buffer.octets.capacity() <= KEEP);
    }
}
