//! By which ways a request may go, best first.

use std::collections::VecDeque;

use super::event::Flow;

/// The way a request goes, and the others for when that one fails (RFC 3263 §4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    now: Flow,
    then: VecDeque<Flow>,
}

impl Ways {
    /// This way only.
    pub const fn only(flow: Flow) -> Self {
        Self {
            now: flow,
            then: VecDeque::new(),
        }
    }

    /// This way, then these.
    #[must_use]
    pub fn then(mut self, others: impl IntoIterator<Item = Flow>) -> Self {
        self.then.extend(others);
        self
    }

    /// The way taken now.
    pub const fn flow(&self) -> Flow {
        self.now
    }

    /// Gives the way taken now up.
    ///
    /// * returns `false`, and changes nothing, when it was the last one.
    pub fn advance(&mut self) -> bool {
        match self.then.pop_front() {
            Some(next) => {
                self.now = next;
                true
            }
            None => false,
        }
    }
}

impl IntoIterator for Ways {
    type Item = Flow;
    type IntoIter =
        std::iter::Chain<std::iter::Once<Flow>, std::collections::vec_deque::IntoIter<Flow>>;

    /// The ways left, the one taken now first.
    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.now).chain(self.then)
    }
}

impl From<Flow> for Ways {
    fn from(flow: Flow) -> Self {
        Self::only(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::endpoint::Transport;

    fn flow(port: u16) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: ([192, 0, 2, 1], 5060).into(),
            remote: ([192, 0, 2, 2], port).into(),
        }
    }

    #[test]
    fn ways_are_taken_in_order_and_the_last_one_is_kept() {
        let mut ways = Ways::only(flow(1)).then([flow(2), flow(3)]);
        assert_eq!(ways.flow(), flow(1));
        assert!(ways.advance());
        assert!(ways.advance());
        assert_eq!(ways.flow(), flow(3));
        assert!(!ways.advance());
        assert_eq!(ways.flow(), flow(3));
    }
}
